"""Laplacian pyramids of pictures (Burt and Adelson 1983), filters and borders as in OpenCV's pyrDown and pyrUp."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from metrics.arrays import ArrayLike, checked_images
from metrics.bands import Band, band_of, down_columns, full_precision, over_rows

__all__ = ["cached_chunks", "laplacian_levels", "laplacian_pyramid", "level_shapes"]

KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
"""One side of the separable 5 x 5 filter."""
CHUNK_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}
"""Of finest float32 level filtered at once."""


def laplacian_pyramid(images: ArrayLike, min_size: int = 16) -> list[Float32[Tensor, "n 3 h w"]]:
    """Return what each scale adds to the next coarser one, finest first; the last is the low-pass picture itself.

    Level i is G_i - up(G_(i+1)) with G_0 the picture and G_(i+1) = down(G_i): down filters and takes every second
    sample, up puts zeros between and filters with four times the kernel; borders mirror about the outermost pixel
    (reflect-101). Equals `cv2.pyrDown` and `cv2.pyrUp`. Adding the levels up again gives the picture.

    Args:
        images: uint8 (n, 3, h, w); any sides, an odd one halves to the larger half as in OpenCV.
        min_size: shorter side below which no level is made, in pixels; Karras et al. 2018 stop at 16.

    Returns:
        Levels in grey levels, within -255..255, each half as large as the one before, on the pictures' device.

    Raises:
        TypeError: when the pictures are not uint8.
        ValueError: when their shape is another, or their shorter side is below `min_size`.
    """
    pictures = checked_images("images", images)
    shapes = level_shapes(pictures.shape[2], pictures.shape[3], min_size=min_size)
    out = [torch.empty((len(pictures), 3, *shape), device=pictures.device) for shape in shapes]
    done = 0
    for chunk in cached_chunks(pictures):
        for whole, level in zip(out, laplacian_levels(chunk, shapes), strict=True):
            whole[done : done + len(chunk)] = level.unflatten(1, (-1, 3)).permute(1, 2, 0, 3)
        done += len(chunk)
    return out


def cached_chunks(pictures: UInt8[Tensor, "n 3 h w"]) -> tuple[UInt8[Tensor, "m 3 h w"], ...]:
    """Return the pictures in runs that are filtered fast: what a core's cache holds, or what fills a GPU."""
    limit = CHUNK_BYTES.get(pictures.device.type, CHUNK_BYTES["cpu"])
    return pictures.split(max(1, limit // (4 * pictures[0].numel())))


def level_shapes(height: int, width: int, *, min_size: int) -> list[tuple[int, int]]:
    """Return (height, width) of every level, finest first.

    >>> level_shapes(96, 96, min_size=16)
    [(96, 96), (48, 48), (24, 24)]

    Raises:
        ValueError: when the shorter side is below `min_size`, or `min_size` is below 2.
    """
    if min_size < 2:
        raise ValueError(f"min_size must be at least 2 pixels, got {min_size}")
    if min(height, width) < min_size:
        raise ValueError(
            f"images must be at least {min_size} x {min_size} pixels, got {height} x {width}; give a smaller min_size"
        )
    shapes = []
    while min(height, width) >= min_size:
        shapes.append((height, width))
        height, width = (height + 1) // 2, (width + 1) // 2
    return shapes


def laplacian_levels(
    pictures: UInt8[Tensor, "n 3 h w"], shapes: list[tuple[int, int]]
) -> Iterator[Float32[Tensor, "hl 3n wl"]]:
    """Yield the levels one by one as (height, pictures and channels, width), the order in which filtering is cheap.

    Each is the caller's to keep or overwrite; no more than two are alive at once.
    """
    fine = pictures.permute(2, 0, 1, 3).flatten(1, 2).float().contiguous()
    for _ in shapes[1:]:
        coarse = _halved(fine)
        yield fine.sub_(_doubled(coarse, like=fine))
        fine = coarse
    yield fine


def _halved(planes: Float32[Tensor, "h p w"]) -> Float32[Tensor, "h/2 p w/2"]:
    with full_precision(planes.device):
        return over_rows(_down(planes.shape[2], planes.device), down_columns(_down(len(planes), planes.device), planes))


def _doubled(planes: Float32[Tensor, "h p w"], *, like: Float32[Tensor, "2h p 2w"]) -> Float32[Tensor, "2h p 2w"]:
    with full_precision(planes.device):
        return over_rows(_up(like.shape[2], planes.device), down_columns(_up(len(like), planes.device), planes))


@lru_cache(maxsize=64)
def _down(length: int, device: torch.device) -> Band:
    """Return the filter that keeps every second of `length` samples, the first among them."""
    matrix = np.zeros(((length + 1) // 2, length))
    for place in range(len(matrix)):
        for tap, weight in enumerate(KERNEL, start=-2):
            matrix[place, _mirrored(2 * place + tap, length)] += weight
    return band_of(matrix, device=device)


@lru_cache(maxsize=64)
def _up(length: int, device: torch.device) -> Band:
    """Return the filter that makes `length` samples of half as many with zeros put between; the last zero is cut last.

    So OpenCV does it: an odd length is what remains of the even one above it.
    """
    half = (length + 1) // 2
    matrix = np.zeros((2 * half, half))
    for place in range(2 * half):
        for tap, weight in enumerate(2 * KERNEL, start=-2):
            source = _mirrored(place + tap, 2 * half)
            if source % 2 == 0:
                matrix[place, source // 2] += weight
    return band_of(matrix[:length], device=device)


def _mirrored(place: int, length: int) -> int:
    """Return where a place outside lies after mirroring about the outermost sample."""
    period = max(2 * (length - 1), 1)
    place %= period
    return min(place, period - place)
