"""How well the spectral score tells photos from spoilt copies of them, and what it costs.

    python benchmarks/bench_quality.py [FOLDER] [--sizes 128,256,512] [--demo 200]

Each photo below FOLDER (default: those that scikit-image ships) is reduced at least three times, so that no trace of
its sensor or compression is left, and its middle is cut out at each size that it still fills. Printed for every
degradation and strength: the AUC of all pristine crops against all spoilt ones (whatever the picture), and the share of
spoilt crops that score below their own original. `--demo` does the first for that many demo photos, as a build sees
them: cropped at 128 pixels by their annotated landmarks, pristine where the photo holds as many pixels.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from hqdata.align import crop_face
from hqdata.pixels import decode_photo
from hqdata.quality import spectral_quality
from hqdata.record import Refused
from hqdata.sources import degradations
from hqdata.sources.demo import STRENGTHS, write_demo_source

SMALLEST_REDUCTION, LARGEST_REDUCTION = 3.0, 8.0
SHIPPED = ("astronaut", "camera", "coffee", "hubble_deep_field", "moon", "retina", "rocket", "stereo_motorcycle")
DEMO_SIZE = 128
JPEG_BANDS = (40, 70, 101)

Spoiler = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def nearest(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    size = image.shape[0]
    small = cv2.resize(image, (-(-size // int(factor)),) * 2, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small.repeat(int(factor), axis=0).repeat(int(factor), axis=1)[:size, :size])


def lanczos(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    size = image.shape[0]
    small = Image.fromarray(image).resize((round(size / factor),) * 2, Image.Resampling.LANCZOS)
    return np.asarray(small.resize((size, size), Image.Resampling.LANCZOS))


def dot_screen(image: np.ndarray, period: float, rng: np.random.Generator) -> np.ndarray:
    """Return `image` printed in one ink of dots `period` pixels apart, at a random angle."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] * (2 * np.pi / period)
    angle = rng.uniform(0, np.pi / 2)
    c, s = np.cos(angle), np.sin(angle)
    screen = 0.5 + 0.25 * (np.cos(x * c + y * s) + np.cos(y * c - x * s))
    tone = image / 255
    return to_uint8(255 * (tone + 0.6 * (np.clip((tone - screen[..., None]) * 3 + 0.5, 0, 1) - tone)))


def dark_rows(image: np.ndarray, period: float, rng: np.random.Generator) -> np.ndarray:
    return to_uint8(image * (1 - 0.35 * (np.arange(image.shape[0]) % int(period) == 0))[:, None, None])


def shot_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Return `image` with photon noise of `sigma` levels at level 128."""
    photons = 128 / sigma**2
    return to_uint8(rng.poisson(image * photons) / photons)


def grey_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return to_uint8(image + sigma * rng.standard_normal(image.shape[:2])[..., None])


def colour_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float64)
    planes[..., 1:] += sigma * rng.standard_normal(planes[..., 1:].shape)
    return cv2.cvtColor(to_uint8(planes), cv2.COLOR_YCrCb2RGB)


def salt_and_pepper(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    draw = rng.random(image.shape[:2])[..., None]
    return np.where(draw < share / 2, 0, np.where(draw > 1 - share / 2, 255, image)).astype(np.uint8)


def to_uint8(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


SPOILERS: tuple[tuple[str, Spoiler, tuple[float, ...]], ...] = (
    ("blur, sigma px", degradations.blur, (1, 2, 4)),
    ("motion blur, px", degradations.motion_blur, (5, 9, 25)),
    ("upsampled, linear or cubic", degradations.upsampled, (2, 3, 4)),
    ("upsampled, lanczos", lanczos, (2, 4)),
    ("upsampled, nearest", nearest, (2, 4)),
    ("halftone, depth", degradations.halftone, (0.3, 0.6, 1)),
    ("dot screen, period px", dot_screen, (4, 6, 8)),
    ("scan lines, depth", degradations.scan_lines, (0.2, 0.5)),
    ("dark rows, period px", dark_rows, (2, 4)),
    ("JPEG, quality", degradations.jpeg, (10, 20, 30, 50, 80)),
    ("noise, sigma", degradations.gaussian_noise, (6, 12, 25)),
    ("grey noise, sigma", grey_noise, (12, 25)),
    ("colour noise, sigma", colour_noise, (12, 25)),
    ("shot noise, sigma", shot_noise, (12, 25)),
    ("salt and pepper, share", salt_and_pepper, (0.01, 0.05)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="photos; JPEG, PNG, WebP, TIFF")
    parser.add_argument("--sizes", default="128,256,512")
    parser.add_argument("--demo", type=int, metavar="PHOTOS", help="also measure a demo source of so many photos")
    given = parser.parse_args()
    crops = dict(pristine_crops(given.folder, tuple(int(size) for size in given.sizes.split(","))))
    if not crops:
        parser.error(f"no photo in {given.folder} is three times as large as the sizes {given.sizes}")
    print_photos(crops)
    if given.demo:
        print_demo(given.demo)
    print_cost()


def pristine_crops(folder: Path | None, sizes: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for name, photo in photos(folder):
        shorter = min(photo.shape[:2])
        for size in sizes:
            factor = max(SMALLEST_REDUCTION, min(shorter / (1.25 * size), LARGEST_REDUCTION))
            height, width = (round(n / factor) for n in photo.shape[:2])
            if min(height, width) >= size:
                reduced = Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS)
                top, left = (height - size) // 2, (width - size) // 2
                yield f"{name}@{size}", np.asarray(reduced)[top : top + size, left : left + size]


def photos(folder: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    if folder is None:
        for name in SHIPPED:
            picture = getattr(data, name)()
            picture = picture[0] if isinstance(picture, tuple) else picture
            yield name, np.stack([picture] * 3, axis=2) if picture.ndim == 2 else np.ascontiguousarray(picture[..., :3])
        return
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            yield path.stem, decode_photo(path.read_bytes())
        except Refused as refused:
            print(f"skipped {path}: {refused}")


def print_photos(crops: dict[str, np.ndarray]) -> None:
    pristine = {name: spectral_quality(crop) for name, crop in crops.items()}
    num_photos = len({name.split("@")[0] for name in crops})
    low, middle, high = np.quantile(list(pristine.values()), (0.05, 0.5, 0.95))
    print(f"{len(crops)} pristine crops of {num_photos} photos: score {middle:.1f} ({low:.1f} to {high:.1f})")
    lowest = sorted(pristine, key=pristine.__getitem__)[:5]
    print("lowest: " + ", ".join(f"{name} {pristine[name]:.1f}" for name in lowest))
    print(f"{'degradation':28} {'strength':>8} {'AUC':>7} {'below own':>10} {'median':>7}")
    below = total = 0
    for name, spoil, strengths in SPOILERS:
        for strength in strengths:
            spoilt = {
                key: spectral_quality(spoil(crop, strength, np.random.default_rng([index, crop.shape[0]])))
                for index, (key, crop) in enumerate(crops.items())
            }
            wins = sum(spoilt[key] < pristine[key] for key in crops)
            below, total = below + wins, total + len(crops)
            area = auc(list(pristine.values()), list(spoilt.values()))
            middle = np.median(list(spoilt.values()))
            print(f"{name:28} {strength:8g} {area:7.4f} {wins / len(crops):10.3f} {middle:7.1f}", flush=True)
    print(f"{below} of {total} spoilt crops score below their own original ({below / total:.4f})")


def print_demo(num_photos: int) -> None:
    groups: dict[str, list[float]] = defaultdict(list)
    below: dict[str, list[bool]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        truth = write_demo_source(Path(folder) / "demo", num_photos=num_photos)
        for photo in json.loads(truth.read_text())["photos"]:
            image = decode_photo((truth.parent / "img_celeba" / f"{photo['id']}.jpg").read_bytes())
            crop = crop_face(image, np.array(photo["landmarks"], dtype=np.float64), DEMO_SIZE)
            groups[demo_group(photo)].append(spectral_quality(crop))
            if demo_group(photo) == "pristine":
                for name, won in spoilt_below(crop, int(photo["id"])):
                    below[name].append(won)
    print(f"demo source of {num_photos} photos at {DEMO_SIZE} px")
    for name in sorted(groups):
        print(f"{name:28} n={len(groups[name]):4} AUC {auc(groups['pristine'], groups[name]):.4f}")
    print("pristine demo crops, spoilt at random strengths of the demo source: share below their own original")
    print(", ".join(f"{name} {np.mean(won):.3f}" for name, won in below.items()) + f" (n={len(groups['pristine'])})")


def spoilt_below(crop: np.ndarray, seed: int) -> Iterator[tuple[str, bool]]:
    """Yield each of the demo source's degradations with whether it lowered the score of `crop`."""
    original = spectral_quality(crop)
    for index, (name, limits) in enumerate(sorted(STRENGTHS.items())):
        rng = np.random.default_rng([seed, index])
        spoilt = degradations.DEGRADATIONS[name](crop, float(rng.uniform(*limits)), rng)
        yield name, spectral_quality(spoilt) < original


def demo_group(photo: dict) -> str:
    if photo["degradation"] == "none":
        return "pristine" if photo["effective_px"] >= DEMO_SIZE else "too small a face"
    if photo["degradation"] == "jpeg":
        return f"jpeg below quality {next(band for band in JPEG_BANDS if photo['strength'] < band)}"
    return photo["degradation"]


def print_cost() -> None:
    rng = np.random.default_rng(0)
    for size in (128, 256, 512, 1023, 1024):
        crop = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        spectral_quality(crop)
        times = []
        for _ in range(5):
            start = time.process_time()
            spectral_quality(crop)
            times.append(time.process_time() - start)
        print(f"{size:5} px: {1000 * min(times):6.1f} ms of one core per crop")


def auc(pristine: list[float], spoilt: list[float]) -> float:
    """Return the chance that a pristine crop beats a spoilt one, ties counted half."""
    better, worse = np.array(pristine)[:, None], np.array(spoilt)[None]
    return float((better > worse).mean() + (better == worse).mean() / 2)


if __name__ == "__main__":
    main()
