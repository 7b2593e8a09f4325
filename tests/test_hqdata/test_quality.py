"""Laws of the spectral score. Its figures on many photos: benchmarks/bench_quality.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import astuple, fields
from functools import cache

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8
from PIL import Image
from scipy import fft
from skimage import data

from hqdata.quality import GRID, SpectralParts, spectral_parts, spectral_quality
from hqdata.sources import degradations

Crop = UInt8[np.ndarray, "s s 3"]
PHOTOS = ("astronaut", "camera", "coffee", "hubble_deep_field", "moon", "retina", "rocket", "stereo_motorcycle")
SIDE = 128


def to_uint8(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


@cache
def photo(name: str) -> Crop:
    """Return the middle of a photo that was reduced at least three times, so that its pixels are sharp and clean."""
    picture = getattr(data, name)()
    picture = picture[0] if isinstance(picture, tuple) else picture
    picture = np.stack([picture] * 3, axis=2) if picture.ndim == 2 else np.ascontiguousarray(picture[..., :3])
    factor = max(3.0, min(picture.shape[:2]) / (1.25 * SIDE))
    height, width = (round(n / factor) for n in picture.shape[:2])
    reduced = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
    top, left = (height - SIDE) // 2, (width - SIDE) // 2
    return np.ascontiguousarray(reduced[top : top + SIDE, left : left + SIDE])


def enlarged(crop: Crop, factor: float, rng: np.random.Generator) -> Crop:
    small = cv2.resize(crop, (int(SIDE / factor),) * 2, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LANCZOS4)


def enlarged_pixels(crop: Crop, factor: float, rng: np.random.Generator) -> Crop:
    small = cv2.resize(crop, (int(SIDE / factor),) * 2, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def grey_noise(crop: Crop, sigma: float, rng: np.random.Generator) -> Crop:
    return to_uint8(crop + sigma * rng.standard_normal(crop.shape[:2])[..., None])


def shot_noise(crop: Crop, photons: float, rng: np.random.Generator) -> Crop:
    return to_uint8(rng.poisson(crop * photons) / photons)


def salt_and_pepper(crop: Crop, share: float, rng: np.random.Generator) -> Crop:
    draw = rng.random(crop.shape[:2])[..., None]
    return np.where(draw < share / 2, 0, np.where(draw > 1 - share / 2, 255, crop)).astype(np.uint8)


def colour_noise(crop: Crop, sigma: float, rng: np.random.Generator) -> Crop:
    planes = cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb).astype(np.float64)
    planes[..., 1:] += sigma * rng.standard_normal(planes[..., 1:].shape)
    return cv2.cvtColor(to_uint8(planes), cv2.COLOR_YCrCb2RGB)


SPOILERS: dict[str, tuple[Callable[[Crop, float, np.random.Generator], Crop], float]] = {
    "blur": (degradations.blur, 1.0),
    "motion blur": (degradations.motion_blur, 9),
    "upsampled": (degradations.upsampled, 2),
    "upsampled by lanczos": (enlarged, 2),
    "enlarged pixels": (enlarged_pixels, 2),
    "halftone": (degradations.halftone, 0.3),
    "scan lines": (degradations.scan_lines, 0.3),
    "JPEG": (degradations.jpeg, 30),
    "noise": (degradations.gaussian_noise, 12),
    "grey noise": (grey_noise, 12),
    "colour noise": (colour_noise, 12),
    "shot noise": (shot_noise, 0.5),
    "salt and pepper": (salt_and_pepper, 0.01),
}


def spoilt(photo_name: str, spoiler: str) -> Crop:
    spoil, strength = SPOILERS[spoiler]
    return spoil(photo(photo_name), strength, np.random.default_rng(PHOTOS.index(photo_name)))


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize("name", PHOTOS)
def test_a_spoilt_copy_scores_below_its_own_original(name: str, spoiler: str) -> None:
    assert spectral_quality(spoilt(name, spoiler)) < spectral_quality(photo(name))


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_pristine_photos_beat_spoilt_copies_of_any_photo(spoiler: str) -> None:
    pristine = np.array([spectral_quality(photo(name)) for name in PHOTOS])
    copies = np.array([spectral_quality(spoilt(name, spoiler)) for name in PHOTOS])
    area = (pristine[:, None] > copies[None]).mean()  # the AUC, without ties
    assert area >= 0.95  # 0.98 is asked of hundreds of pairs (the benchmark); one pair in 64 is 0.016


@pytest.mark.parametrize(
    ("spoiler", "strengths"),
    [
        ("blur", (0, 0.7, 1.5, 3)),
        ("motion blur", (0, 4, 9)),
        ("noise", (0, 8, 16, 32)),
        ("grey noise", (0, 8, 16, 32)),
        ("halftone", (0, 0.1, 0.3)),
        ("JPEG", (100, 60, 25)),
    ],
)
def test_the_stronger_the_lower(spoiler: str, strengths: tuple[float, ...]) -> None:
    spoil, original = SPOILERS[spoiler][0], photo("astronaut")
    scores = [spectral_quality(spoil(original, s, np.random.default_rng(3)) if s else original) for s in strengths]
    assert (np.diff(scores) < 0).all()


@pytest.mark.parametrize("sigma", [5.0, 12.0, 30.0])
def test_noise_on_a_flat_picture_is_measured_in_levels(sigma: float) -> None:
    crop = to_uint8(128 + sigma * np.random.default_rng(0).standard_normal((SIDE, SIDE))[..., None] * np.ones(3))
    # The gate takes a fortieth away and the upper quartile of the blocks adds a few hundredths.
    assert spectral_parts(crop).noise == pytest.approx(sigma, rel=0.1)


def test_noise_does_not_add_to_breadth() -> None:
    soft = degradations.blur(photo("astronaut"), 2.0, np.random.default_rng(0))
    noisy = degradations.gaussian_noise(soft, 15, np.random.default_rng(0))
    assert spectral_parts(noisy).breadth < spectral_parts(soft).breadth + 0.1
    assert spectral_quality(noisy) < spectral_quality(soft)


@pytest.mark.parametrize(
    ("part", "spoiler"),
    [
        ("anisotropy", "motion blur"),
        ("noise", "noise"),
        ("noise", "colour noise"),
        ("pattern", "halftone"),
        ("pattern", "scan lines"),
        ("grid", "enlarged pixels"),
        ("blocks", "JPEG"),
    ],
)
def test_each_part_rises_with_its_own_fault(part: str, spoiler: str) -> None:
    before, after = spectral_parts(photo("coffee")), spectral_parts(spoilt("coffee", spoiler))
    assert getattr(after, part) > 1.5 * getattr(before, part) + 0.2


def test_blur_takes_the_finest_octaves_from_breadth() -> None:
    blurred = degradations.blur(photo("coffee"), 2.0, np.random.default_rng(0))
    assert spectral_parts(blurred).breadth < spectral_parts(photo("coffee")).breadth - 0.3


def test_jpeg_blocks_are_found_in_a_turned_picture() -> None:
    large = np.asarray(Image.fromarray(data.astronaut()).resize((192, 192), Image.Resampling.LANCZOS))
    turn = cv2.getRotationMatrix2D((96, 96), 20, 1.0)
    turn[:, 2] -= (192 - SIDE) / 2
    clean, blocky = (
        cv2.warpAffine(picture, turn, (SIDE, SIDE), flags=cv2.INTER_CUBIC)
        for picture in (large, degradations.jpeg(large, 15, np.random.default_rng(0)))
    )
    assert spectral_parts(blocky).blocks > 2 > spectral_parts(clean).blocks


@pytest.mark.parametrize("name", ["astronaut", "rocket"])
@pytest.mark.parametrize("turn", [lambda c: c[::-1], lambda c: c[:, ::-1], lambda c: c.transpose(1, 0, 2)])
def test_mirrored_and_turned_pictures_score_about_the_same(name: str, turn: Callable[[Crop], Crop]) -> None:
    # Blocks begin at the top left and steps look right and down, so not exactly.
    assert spectral_quality(turn(photo(name))) == pytest.approx(spectral_quality(photo(name)), rel=0.1)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
@pytest.mark.parametrize("side", [16, 17, 64, 255])
def test_a_flat_picture_has_the_lowest_score(level: int, side: int) -> None:
    parts = spectral_parts(np.full((side, side, 3), level, np.uint8))
    assert parts.score == 0
    assert np.isfinite(astuple(parts)).all()


def test_a_flat_coloured_picture_has_the_lowest_score() -> None:
    assert spectral_quality(np.broadcast_to(np.array([200, 30, 90], np.uint8), (64, 64, 3))) == 0


@pytest.mark.parametrize("name", ["one spot", "ramp", "rounding"])
def test_an_almost_flat_picture_is_no_better_than_a_blurred_photo(name: str) -> None:
    grey = np.full((SIDE, SIDE, 1), 128.0)
    if name == "one spot":
        grey[60, 60] = 131
    elif name == "ramp":
        grey += np.linspace(-40, 40, SIDE)[:, None]
    else:
        grey += np.random.default_rng(0).integers(0, 2, grey.shape)
    blurred = min(spectral_quality(spoilt(photo_name, "blur")) for photo_name in PHOTOS)
    assert spectral_quality(np.repeat(to_uint8(grey), 3, axis=2)) < blurred


@pytest.mark.parametrize("side", [16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 127, 129, 255, 331])
@pytest.mark.parametrize("kind", ["noise", "one pixel", "step", "ramp"])
def test_any_size_and_content_gives_finite_parts_in_their_ranges(side: int, kind: str) -> None:
    grey = np.zeros((side, side))
    if kind == "noise":
        grey = np.random.default_rng(side).integers(0, 256, (side, side))
    elif kind == "one pixel":
        grey[side // 2, side // 2] = 255
    elif kind == "step":
        grey[:, side // 2 :] = 255
    else:
        grey[:] = np.linspace(0, 255, side)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = spectral_parts(np.repeat(to_uint8(grey)[..., None], 3, axis=2))
    limits = {"score": 100, "breadth": 1, "anisotropy": 30, "noise": 256, "pattern": 12, "grid": 16, "blocks": 40}
    assert set(limits) == {field.name for field in fields(SpectralParts)}
    assert all(0 <= getattr(parts, name) <= limit for name, limit in limits.items())


@pytest.mark.parametrize(
    ("crop", "said"),
    [
        (np.zeros((64, 64, 3), np.float32), "uint8 array, got float32"),
        (np.zeros((64, 64), np.uint8), r"got \(64, 64\)"),
        (np.zeros((64, 65, 3), np.uint8), r"got \(64, 65, 3\)"),
        (np.zeros((64, 64, 4), np.uint8), r"got \(64, 64, 4\)"),
        (np.zeros((15, 15, 3), np.uint8), r"s >= 16, got \(15, 15, 3\)"),
        (np.zeros((0, 0, 3), np.uint8), r"got \(0, 0, 3\)"),
        ([[1, 2, 3]], "got list"),
    ],
)
def test_anything_but_a_square_uint8_picture_is_refused(crop: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spectral_parts(crop)  # pyright: ignore[reportArgumentType]


def test_parts_lie_on_the_grid_that_hides_last_bits() -> None:
    values = np.array(astuple(spectral_parts(photo("coffee"))))
    np.testing.assert_array_equal(values, np.rint(values / GRID) * GRID)


def test_the_quality_is_the_score_of_the_parts_in_plain_floats() -> None:
    parts = spectral_parts(photo("coffee"))
    assert spectral_quality(photo("coffee")) == parts.score
    assert all(type(value) is float for value in astuple(parts))


def test_memory_layout_and_thread_count_change_no_bit() -> None:
    crop = photo("coffee")
    strided = np.repeat(crop, 2, axis=1)[:, ::2]
    with fft.set_workers(4):
        assert spectral_parts(strided) == spectral_parts(np.asfortranarray(crop)) == spectral_parts(crop)


def test_the_crop_is_left_alone() -> None:
    crop = photo("coffee").copy()
    crop.flags.writeable = False
    before = crop.tobytes()
    spectral_parts(crop)
    assert crop.tobytes() == before


def test_these_pixels_have_this_score_on_every_machine() -> None:
    # Integer arithmetic only: a disc, a ramp and a fixed hash as texture.
    y, x = np.mgrid[:97, :97].astype(np.int64)
    texture = ((x * 73856093) ^ (y * 19349663)) % 41
    grey = (x + y) // 2 + np.where((x - 40) ** 2 + (y - 55) ** 2 < 700, 90, 0) + texture // 4
    crop = np.stack([grey, grey * 3 // 4, grey // 2], axis=2).astype(np.uint8)
    assert astuple(spectral_parts(crop)) == (
        21.28692626953125,
        0.9892578125,
        0.2696533203125,
        4.67938232421875,
        0.811767578125,
        0.95843505859375,
        1.35308837890625,
    )
