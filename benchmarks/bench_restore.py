"""JPEG removal against its input, and 4x enlargement against bicubic, on photos that no training run saw.

    python benchmarks/bench_restore.py [--sets FOLDER] [--json FILE]

scikit-image's photos are always measured. FOLDER may hold `classic5/` and `set5/`; these are for measuring only. Every
network is measured beside its baseline in the same run.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data

from hqdata import restore, upscale
from hqdata.pixels import to_image, to_tensor
from hqdata.restore.degrade import jpeg, shrink
from hqdata.tiling import TiledPicture
from hqdata.weights import Network

QUALITIES = (10, 20, 40, 60, 80, 95)
PHOTOS = ("astronaut", "coffee", "chelsea", "stereo_motorcycle")
CHAIN_QUALITIES = (30, 50, 75)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=Path, help="folder with classic5/ and set5/")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--restorer", default=restore.DEFAULT)
    parser.add_argument("--generator", default=upscale.DEFAULT)
    given = parser.parse_args()
    torch.set_num_threads(1)
    restorer, generator = restore.load(given.restorer), upscale.load(given.generator)
    photos = {name: photo(name) for name in PHOTOS}
    figures = {
        "skimage": {**restored_gains(photos, restorer, "colour"), **enlarged_gains(photos, generator, restorer)},
        "megapixels_per_second": speeds(photos["astronaut"], restorer, generator),
    }
    for name, measure in (("classic5", "grey"), ("set5", "enlarge")):
        folder = given.sets / name if given.sets else None
        if folder is None or not folder.is_dir():
            print(f"{name}: skipped, no folder given with it (--sets)")
            continue
        pictures = read_folder(folder)
        if measure == "grey":
            figures[name] = restored_gains(pictures, restorer, "grey")
        else:
            figures[name] = enlarged_gains(pictures, generator, restorer)
    print(json.dumps(figures, indent=2))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


def photo(name: str) -> np.ndarray:
    loaded = getattr(data, name)()
    return np.asarray(loaded[0] if isinstance(loaded, tuple) else loaded)


def restored_gains(photos: dict, restorer: Network, kind: str) -> dict:
    """PSNR in dB of the JPEG input and of the restored picture, over all channels, as published for grey pictures."""
    figures = {}
    for quality in (*QUALITIES, None):
        before, after = [], []
        for clean in photos.values():
            damaged = clean if quality is None else compressed(clean, quality, kind)
            fixed = to_image(restore.apply(to_tensor(damaged), restorer))
            before.append(min(psnr(damaged, clean), 60.0))
            after.append(min(psnr(fixed, clean), 60.0))
        name = "clean" if quality is None else f"jpeg{quality}"
        figures[name] = {"input": mean(before), "restored": mean(after), "gain": mean(np.subtract(after, before))}
    return figures


def enlarged_gains(photos: dict, generator: Network, restorer: Network) -> dict:
    """Luma PSNR in dB without 4 border pixels of bicubic, of the generator, and of the generator after the restorer."""
    figures = {}
    for quality in (None, *CHAIN_QUALITIES):
        rows = []
        for photo in photos.values():
            clean = crop_to_multiple(photo, 4)
            small = shrink(clean, 4)
            damaged = small if quality is None else jpeg(small, quality)
            height, width = clean.shape[:2]
            bicubic = np.asarray(Image.fromarray(damaged).resize((width, height), Image.Resampling.BICUBIC))
            alone = to_image(upscale.apply(to_tensor(damaged), generator))
            chain = TiledPicture(TiledPicture(to_tensor(damaged), restorer), generator)
            both = to_image(chain.whole())
            rows.append([psnr_luma(picture, clean, border=4) for picture in (bicubic, alone, both)])
        means = np.mean(rows, axis=0)
        name = "x4_clean" if quality is None else f"x4_jpeg{quality}"
        figures[name] = {
            key: round(float(value), 2) for key, value in zip(("bicubic", "x4", "restored_x4"), means, strict=True)
        }
    return figures


def speeds(photo: np.ndarray, restorer: Network, generator: Network) -> dict:
    """Megapixels per second: of the photo for the restorer, of the result for the generator."""
    image = to_tensor(photo)
    figures = {}
    for name, run, pixels in (
        ("restore", lambda: restore.apply(image, restorer), photo.shape[0] * photo.shape[1]),
        ("upscale", lambda: upscale.apply(image, generator), 16 * photo.shape[0] * photo.shape[1]),
    ):
        begun = time.perf_counter()
        run()
        figures[name] = round(pixels / (time.perf_counter() - begun) / 1e6, 3)
    return figures


def compressed(clean: np.ndarray, quality: int, kind: str) -> np.ndarray:
    """JPEG of a colour picture with halved colour planes, or of a grey picture with its one plane."""
    if kind == "colour":
        return jpeg(clean, quality, "4:2:0")
    return grey_jpeg(clean[..., 0], quality)


def grey_jpeg(plane: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(plane).save(stream, format="JPEG", quality=quality)
    return np.repeat(np.asarray(Image.open(stream))[..., None], 3, axis=2)


def read_folder(folder: Path) -> dict:
    return {path.stem: np.array(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())}


def crop_to_multiple(image: np.ndarray, factor: int) -> np.ndarray:
    height, width = image.shape[:2]
    return image[: height - height % factor, : width - width % factor]


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    error = np.mean((image.astype(np.float64) - reference) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def psnr_luma(image: np.ndarray, reference: np.ndarray, border: int = 0) -> float:
    inner = slice(border, -border or None)
    difference = luma(image)[inner, inner] - luma(reference)[inner, inner]
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


def luma(image: np.ndarray) -> np.ndarray:
    """MATLAB's rgb2ycbcr luma, 16..235, which published figures use."""
    return 16 + image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255


def mean(values: object) -> float:
    return round(float(np.mean(values)), 3)


if __name__ == "__main__":
    main()
