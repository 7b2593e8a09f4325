"""Known ways to spoil a photo: pure functions (image, strength, rng) -> image, for the demo source and for benchmarks.

Each takes and returns uint8 (h, w, 3) RGB of the same size and leaves its argument alone. What `strength` means and in
which direction it gets worse stands in each docstring. All random choices (angles, phases, periods) come from `rng`.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

__all__ = [
    "DEGRADATIONS",
    "blur",
    "gaussian_noise",
    "halftone",
    "jpeg",
    "motion_blur",
    "scan_lines",
    "upsampled",
]

Image = UInt8[np.ndarray, "h w 3"]
Degradation = Callable[[Image, float, np.random.Generator], Image]

SCREEN_ANGLES_DEG = (15.0, 75.0, 0.0)
"""Angles between the screens of the three inks, cyan, magenta and yellow, as printers choose them."""


def blur(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return `image` out of focus: a Gaussian of `strength` pixels standard deviation, above 0."""
    _require(strength > 0, "blur", strength, "a standard deviation in pixels above 0")
    return cv2.GaussianBlur(image, (0, 0), strength, borderType=cv2.BORDER_REFLECT_101)


def motion_blur(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return `image` smeared along a straight line of `strength` pixels (at least 1) at a random angle."""
    _require(strength >= 1, "motion_blur", strength, "a length of at least 1 pixel")
    angle = rng.uniform(0, np.pi)
    return cv2.filter2D(image, -1, _line_kernel(strength, angle), borderType=cv2.BORDER_REFLECT_101)


def halftone(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return `image` printed in three inks of dots, 3 to 5 pixels apart, at a random angle.

    Args:
        image: the photo.
        strength: 0..1, how far the dots replace the continuous tone; 1 is newsprint.
        rng: chooses the dots' distance, angle and phase.
    """
    _require(0 <= strength <= 1, "halftone", strength, "a depth of 0 to 1")
    period, angle, phase = rng.uniform(3, 5), rng.uniform(0, np.pi / 2), rng.uniform(0, 2 * np.pi, 2)
    tone = image.astype(np.float32) / 255
    screens = [_screen(image.shape[:2], period, angle + np.deg2rad(ink), phase) for ink in SCREEN_ANGLES_DEG]
    # A steep ramp in place of a hard threshold: dots keep soft edges, as ink and a scanner leave them.
    dots = np.clip((tone - np.stack(screens, axis=2)) * 3 + 0.5, 0, 1)
    return _to_uint8((tone + strength * (dots - tone)) * 255)


def scan_lines(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return `image` with dark horizontal lines every 2 to 4 rows, as taken from an interlaced screen.

    Args:
        image: the photo.
        strength: 0..1, how much light the darkest row loses.
        rng: chooses the lines' distance and phase.
    """
    _require(0 <= strength <= 1, "scan_lines", strength, "a depth of 0 to 1")
    period, phase = rng.uniform(2, 4), rng.uniform(0, 2 * np.pi)
    rows = np.arange(image.shape[0], dtype=np.float32)
    gain = 1 - strength * (0.5 + 0.5 * np.cos(2 * np.pi * rows / period + phase))
    return _to_uint8(image * gain[:, None, None].astype(np.float32))


def jpeg(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return `image` after JPEG with halved colour resolution at quality `strength`, 1 (worst) to 100.

    The grid of 8x8 blocks is cut off at a random offset, as in a photo cropped after it was compressed.
    """
    _require(1 <= strength <= 100, "jpeg", strength, "a quality of 1 to 100")
    top, left = (int(n) for n in rng.integers(0, 8, 2))
    shifted = np.pad(image, ((top, 0), (left, 0), (0, 0)), mode="edge")
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(shifted, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, round(strength)]
    )
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))
    return np.ascontiguousarray(decoded[top:, left:])


def upsampled(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return `image` reduced `strength` times (at least 1) by area and enlarged again, linear or cubic at random."""
    _require(strength >= 1, "upsampled", strength, "a factor of at least 1")
    height, width = image.shape[:2]
    small_size = (max(1, round(width / strength)), max(1, round(height / strength)))
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA)
    kernel = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    return cv2.resize(small, (width, height), interpolation=kernel)


def gaussian_noise(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Return `image` with independent noise of `strength` standard deviation, in levels of 255, on each channel."""
    _require(strength >= 0, "gaussian_noise", strength, "a standard deviation of at least 0")
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return _to_uint8(image + np.float32(strength) * noise)


DEGRADATIONS: dict[str, Degradation] = {
    "blur": blur,
    "gaussian_noise": gaussian_noise,
    "halftone": halftone,
    "jpeg": jpeg,
    "motion_blur": motion_blur,
    "scan_lines": scan_lines,
    "upsampled": upsampled,
}
"""Every degradation by its name."""


def _require(holds: bool, name: str, strength: float, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name}: strength must be {wanted}, got {strength}")


def _line_kernel(length: float, angle: float) -> Float32[np.ndarray, "k k"]:
    """Return a line of `length` pixels through the centre, one pixel thick with soft edges, summing to 1."""
    radius = int(np.ceil(length / 2))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return (inside / inside.sum()).astype(np.float32)


def _screen(size: tuple[int, int], period: float, angle: float, phase: np.ndarray) -> Float32[np.ndarray, "h w"]:
    """Return thresholds 0..1 of a dot screen: a product of two crossed cosines."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    turn = 2 * np.pi / period
    u = turn * (x * np.cos(angle) + y * np.sin(angle)) + phase[0]
    v = turn * (y * np.cos(angle) - x * np.sin(angle)) + phase[1]
    return (0.5 + 0.25 * (np.cos(u) + np.cos(v))).astype(np.float32)


def _to_uint8(levels: np.ndarray) -> Image:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
