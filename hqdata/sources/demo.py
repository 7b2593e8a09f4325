"""A CelebA-layout folder drawn from one public-domain portrait, with the truth about every photo written beside it.

The portrait is NASA's Eileen Collins, which scikit-image ships as `astronaut`. Every photo places it anew (rotation,
mirror, scale, a little shear), cuts it by a random frame, changes the light, and spoils it in at most one known way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image
from skimage import data as portraits

from hqdata.atomic import write_bytes, write_json
from hqdata.crop_plan import crop_side
from hqdata.sources.degradations import DEGRADATIONS
from hqdata.sources.source import first_few

__all__ = ["PORTRAIT_LANDMARKS", "STRENGTHS", "TRUTH_FILE", "write_demo_source"]

PORTRAIT_LANDMARKS = ((202.9, 100.7), (246.4, 102.6), (223.5, 126.7), (202.6, 139.0), (244.4, 140.0))
"""Left eye, right eye, nose, left and right mouth corner in `astronaut`, pixel centres at integers, by eye to 1 px."""
PORTRAIT_FACE_PX = 89
"""Side of the box that a face detector draws around the portrait's face."""
TRUTH_FILE = "truth.json"
TRUTH_VERSION = 1
BACKGROUNDS = ("coffee", "rocket", "immunohistochemistry")
"""Colour pictures of scikit-image without anything like a face."""

PRISTINE_SHARE, TINY_SHARE = 0.40, 0.04
"""Photos left unspoilt: with faces of at least `PRISTINE_FACE_PX`, and with smaller ones. The rest is spoilt."""
FACE_PX_RANGE = (60.0, 2000.0)
PRISTINE_FACE_PX = 72.0
"""Its crop has 141 pixels of the portrait, more than an output of 128 needs."""
LARGEST_SIDE_PX = 4600
JPEG_PARAMETERS = [
    *(cv2.IMWRITE_JPEG_QUALITY, 96),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]

STRENGTHS: dict[str, tuple[float, float]] = {
    "blur": (1.2, 3.5),
    "gaussian_noise": (8, 30),
    "halftone": (0.5, 1.0),
    "jpeg": (10, 90),
    "motion_blur": (5, 14),
    "scan_lines": (0.25, 0.7),
    "upsampled": (2, 5),
}
"""The range of each, drawn evenly in its logarithm; for blurs, in pixels of a crop of 128."""
PER_CROP_OF_128 = ("blur", "motion_blur")
BLURRED = ("blur", "motion_blur", "upsampled")

LANDMARK_COLUMNS = [
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
]
ATTRIBUTE_COLUMNS = ["Blurry", "Eyeglasses", "Male", "Smiling", "Young"]

Image8 = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How one photo is made. Geometry maps the portrait's pixel centres to those of the picture that is spoilt."""

    degradation: str
    face_px: float
    rotation_deg: float
    mirrored: bool
    matrix: Float64[np.ndarray, "2 3"]
    size: tuple[int, int]
    enlargement: float


def write_demo_source(folder: Path, *, num_photos: int = 200, seed: int = 0) -> Path:
    """Write the photos, CelebA's tables and the truth below `folder`; return the truth file's path.

    The truth holds, for each photo: degradation ("none" for unspoilt) and strength, exact landmarks, `face_px`,
    `crop_px` (side of the CelebA-HQ crop in the photo), `effective_px` (real pixels of the portrait along that side:
    a photo is pristine for an output size if degradation is "none" and `effective_px` reaches that size), and geometry.
    A folder that this function finished with the same arguments is left as it is. The same arguments give the same
    bytes with the same versions of OpenCV, Pillow, NumPy and scikit-image.

    Raises:
        ValueError: if `num_photos` is below 1, or the folder holds another demo or anything else.
    """
    if num_photos < 1:
        raise ValueError(f"num_photos must be at least 1, got {num_photos}")
    truth_path = folder / TRUTH_FILE
    made_from = {"version": TRUTH_VERSION, "num_photos": num_photos, "seed": seed}
    if _is_finished(folder, made_from):
        return truth_path
    write_json(truth_path, made_from)
    photos = list(_write_photos(folder / "img_celeba", num_photos, seed))
    _write_tables(folder, photos)
    # "photos" marks the folder as finished, so it comes last.
    write_json(truth_path, {**made_from, "portrait": "skimage.data.astronaut", "photos": photos})
    return truth_path


def _is_finished(folder: Path, made_from: dict[str, int]) -> bool:
    """Return whether the demo is there; False for an empty folder or the same demo unfinished, else ValueError."""
    others = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if not others:
        return False
    if TRUTH_FILE not in others:
        raise ValueError(f"{folder}: holds {first_few(others)}; name an empty or new folder")
    found = json.loads((folder / TRUTH_FILE).read_text())
    found_from = {key: found.get(key) for key in made_from}
    if found_from != made_from:
        raise ValueError(f"{folder}: holds another demo, {found_from}; want {made_from}: name a new folder")
    return "photos" in found


def _write_photos(folder: Path, num_photos: int, seed: int) -> Iterator[dict[str, Any]]:
    portrait = portraits.astronaut()
    for index, (degradation, face_px) in enumerate(_drawn_kinds(num_photos, seed)):
        rng = np.random.default_rng([seed, index])
        plan = _plan(degradation, face_px, rng)
        strength = _strength(plan, rng)
        image = _render(portrait, plan, rng)
        if strength is not None:
            image = DEGRADATIONS[degradation](image, strength, rng)
        image = _enlarge(image, plan.enlargement)
        write_bytes(folder / f"{index + 1:06d}.jpg", _encode_jpeg(image))
        yield _truth(f"{index + 1:06d}", plan, strength, image.shape[:2])


def _drawn_kinds(num_photos: int, seed: int) -> list[tuple[str, float]]:
    """Return each photo's degradation and face size: exact shares, in random order."""
    rng = np.random.default_rng([seed, num_photos, 1])
    num_pristine, num_tiny = round(PRISTINE_SHARE * num_photos), round(TINY_SHARE * num_photos)
    num_spoilt = num_photos - num_pristine - num_tiny
    names = sorted(DEGRADATIONS)
    kinds = [("none", size) for size in _sizes(num_pristine, PRISTINE_FACE_PX, FACE_PX_RANGE[1])]
    kinds += [("none", size) for size in _sizes(num_tiny, FACE_PX_RANGE[0], 64.0)]
    spoilt_sizes = rng.permutation(_sizes(num_spoilt, *FACE_PX_RANGE))
    kinds += [(names[index % len(names)], float(size)) for index, size in enumerate(spoilt_sizes)]
    return [kinds[index] for index in rng.permutation(num_photos)]


def _sizes(count: int, smallest: float, largest: float) -> list[float]:
    """Return sizes from `smallest` to `largest`, both included, most of them small as in a collection of photos."""
    quantiles = np.linspace(0, 1, count) if count > 1 else np.zeros(count)
    return [float(size) for size in smallest * (largest / smallest) ** (quantiles**3.5)]


def _plan(degradation: str, face_px: float, rng: np.random.Generator) -> _Plan:
    scale = face_px / PORTRAIT_FACE_PX
    # Spoilt near the size at which a crop of 128 sees it: a coarser picture would hide it when it is reduced.
    made_at = min(scale, 1.0 if degradation == "none" else rng.uniform(0.75, 1))
    rotation_deg = float(np.clip(rng.normal(0, 10), -30, 30))
    mirrored = bool(rng.random() < 0.5)
    linear = _linear(made_at, rotation_deg, mirrored, rng)
    crop_px = made_at * crop_side(np.array(PORTRAIT_LANDMARKS))
    widest = max(1.15, min(2.6, LARGEST_SIDE_PX / (crop_px * scale / made_at)))
    width, height = (round(crop_px * rng.uniform(1.1, widest)) for _ in range(2))
    centre = np.array(PORTRAIT_LANDMARKS)[[0, 1, 3, 4]].mean(axis=0)
    offset = _face_place(width, height, crop_px, rng) - linear @ centre
    return _Plan(
        degradation=degradation,
        face_px=face_px,
        rotation_deg=rotation_deg,
        mirrored=mirrored,
        matrix=np.column_stack([linear, offset]),
        size=(height, width),
        enlargement=scale / made_at,
    )


def _linear(scale: float, rotation_deg: float, mirrored: bool, rng: np.random.Generator) -> Float64[np.ndarray, "2 2"]:
    angle = np.deg2rad(rotation_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    skew = np.array([[1, rng.uniform(-0.03, 0.03)], [0, rng.uniform(0.97, 1.03)]])
    return scale * rotation @ skew @ np.diag([-1.0 if mirrored else 1.0, 1.0])


def _face_place(width: int, height: int, crop_px: float, rng: np.random.Generator) -> Float64[np.ndarray, " 2"]:
    """Return where the face's centre goes: anywhere that keeps the crop inside, or, for one in four, cut by a frame."""
    size = np.array([width, height], dtype=np.float64)
    place = crop_px / 2 + rng.random(2) * np.maximum(size - crop_px, 0)
    if rng.random() < 0.25:
        axis = int(rng.integers(2))
        inside = crop_px * rng.uniform(0.22, 0.45)  # the eyes and mouth reach 0.13 from the centre
        place[axis] = inside if rng.random() < 0.5 else size[axis] - inside
    return place


def _strength(plan: _Plan, rng: np.random.Generator) -> float | None:
    if plan.degradation == "none":
        return None
    low, high = STRENGTHS[plan.degradation]
    strength = low * (high / low) ** rng.random()
    if plan.degradation in PER_CROP_OF_128:
        strength *= _made_crop_px(plan) / 128
    return round(float(strength), 3)


def _made_crop_px(plan: _Plan) -> float:
    return min(plan.face_px / plan.enlargement / PORTRAIT_FACE_PX, 1.0) * crop_side(np.array(PORTRAIT_LANDMARKS))


def _render(portrait: Image8, plan: _Plan, rng: np.random.Generator) -> Image8:
    """Return the portrait in its frame, sampled twice as fine and reduced, so that nothing aliases or softens."""
    height, width = plan.size
    doubled = 2 * plan.matrix + np.array([[0, 0, 0.5], [0, 0, 0.5]])  # pixel centres: x becomes 2x + 0.5
    fine_size = (2 * width, 2 * height)
    face = cv2.warpAffine(portrait, doubled, fine_size, flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(_soft_frame(portrait.shape[:2]), doubled, fine_size, flags=cv2.INTER_LINEAR)[:, :, None]
    scene = _background(fine_size, rng)
    mixed = np.rint(scene + share * (face.astype(np.float32) - scene)).astype(np.uint8)
    reduced = np.asarray(Image.fromarray(mixed).resize((width, height), Image.Resampling.LANCZOS))
    return _relight(reduced, rng)


def _soft_frame(size: tuple[int, int], *, fade_px: int = 10) -> np.ndarray:
    """Return 1 inside the portrait, falling to 0 at its frame, so that no straight edge crosses a photo."""
    y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in size)
    return np.clip(np.minimum(y[:, None], x[None, :]) / fade_px, 0, 1).astype(np.float32)


def _background(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a random part of another picture as float32, stretched to `size`, (width, height)."""
    picture = getattr(portraits, BACKGROUNDS[rng.integers(len(BACKGROUNDS))])()
    share = rng.uniform(0.5, 1)
    height, width = (max(1, int(n * share)) for n in picture.shape[:2])
    top, left = (
        int(rng.integers(whole - part + 1)) for whole, part in zip(picture.shape, (height, width), strict=False)
    )
    part = picture[top : top + height, left : left + width]
    return cv2.resize(np.ascontiguousarray(part), size, interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _relight(image: Image8, rng: np.random.Generator) -> Image8:
    """Return the picture under modestly different light: gamma, contrast, brightness and a tint."""
    levels = np.arange(256) / 255
    curve = (levels ** rng.uniform(0.85, 1.2) - 0.5) * rng.uniform(0.85, 1.1) + 0.5 + rng.uniform(-0.05, 0.05)
    tables = curve[:, None] * rng.uniform(0.96, 1.04, 3)
    channels = np.clip(np.rint(255 * tables), 0, 255).astype(np.uint8)
    return np.stack([channels[:, c][image[:, :, c]] for c in range(3)], axis=2)


def _enlarge(image: Image8, factor: float) -> Image8:
    if factor <= 1:
        return image
    height, width = (max(1, round(n * factor)) for n in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LANCZOS4)


def _encode_jpeg(image: Image8) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), JPEG_PARAMETERS)
    return data.tobytes()


def _truth(photo_id: str, plan: _Plan, strength: float | None, size: tuple[int, int]) -> dict[str, Any]:
    # The rounded sizes decide the true factors; pixel centres: x becomes (x + 0.5) * factor - 0.5.
    factors = np.array([size[1] / plan.size[1], size[0] / plan.size[0]])
    matrix = plan.matrix * factors[:, None]
    matrix[:, 2] += (factors - 1) / 2
    points = np.array(PORTRAIT_LANDMARKS)
    landmarks = points @ matrix[:, :2].T + matrix[:, 2]
    if plan.mirrored:
        landmarks = landmarks[[1, 0, 2, 4, 3]]
    crop_px = crop_side(landmarks)
    made_crop_px = crop_px / float(factors.mean())
    return {
        "id": photo_id,
        "degradation": plan.degradation,
        "strength": strength,
        "face_px": round(plan.face_px, 2),
        "crop_px": round(crop_px, 2),
        "effective_px": round(min(made_crop_px, crop_side(points)), 2),
        "height": size[0],
        "width": size[1],
        "rotation_deg": round(plan.rotation_deg, 3),
        "mirrored": plan.mirrored,
        "portrait_to_photo": matrix.tolist(),
        "landmarks": landmarks.tolist(),
    }


def _write_tables(folder: Path, photos: list[dict[str, Any]]) -> None:
    names = [f"{photo['id']}.jpg" for photo in photos]
    points = [" ".join(str(round(number)) for point in photo["landmarks"] for number in point) for photo in photos]
    traits = [" ".join(f"{trait:2d}" for trait in _attributes(photo)) for photo in photos]
    _write_lines(folder / "Anno" / "list_landmarks_celeba.txt", names, points, head=LANDMARK_COLUMNS)
    _write_lines(folder / "Anno" / "list_attr_celeba.txt", names, traits, head=ATTRIBUTE_COLUMNS)
    _write_lines(folder / "Anno" / "identity_CelebA.txt", names, ["1"] * len(names))
    parts = [str(max(0, index % 10 - 7)) for index in range(len(names))]  # 8 of 10 training, 1 validation, 1 test
    _write_lines(folder / "Eval" / "list_eval_partition.txt", names, parts)


def _attributes(photo: dict[str, Any]) -> list[int]:
    return [1 if photo["degradation"] in BLURRED else -1, -1, -1, 1, 1]


def _write_lines(path: Path, names: list[str], rows: list[str], *, head: list[str] | None = None) -> None:
    lines = [f"{name} {row}" for name, row in zip(names, rows, strict=True)]
    if head is not None:
        lines = [str(len(names)), " ".join(head), *lines]
    write_bytes(path, ("\n".join(lines) + "\n").encode())
