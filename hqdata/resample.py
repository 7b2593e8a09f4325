"""Resolution levels of a finished picture: the 2x2 box pyramid that the training levels are made of."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

__all__ = ["box_pyramid"]


def box_pyramid(image: UInt8[np.ndarray, "a b c"], min_size: int = 4) -> list[UInt8[np.ndarray, "a2 b2 c2"]]:
    """Return the picture and its halvings, from full size down to `min_size`.

    Each level is the mean of 2x2 blocks of the *unrounded* level above (Karras et al. 2018, section 3); only the stored
    copy is rounded, half to even. A mean of 4^n integers below 256 has at most 8 + 2n bits, so float32 carries every
    level exactly up to 256 px blocks, and float64 is used for deeper pyramids.

    Args:
        image: uint8 (size, size, channels) or (channels, size, size), channels 1 or 3, size a power of two.
        min_size: size of the last level, a power of two of at most `size`.

    Returns:
        log2(size / min_size) + 1 arrays in the layout of `image`; the first is a copy of it.

    Raises:
        ValueError: if the picture is not square, its size not a power of two, or `min_size` does not divide it.
    """
    channels_first = _channels_first(image)
    size = image.shape[1]
    if not _is_power_of_two(min_size) or min_size > size:
        raise ValueError(f"min_size must be a power of two of at most {size}, got {min_size}")
    levels = [image.copy()]
    blocks = image.astype(np.float64 if size // min_size > 256 else np.float32)
    while size > min_size:
        size //= 2
        blocks = _halved_planes(blocks) if channels_first else _halved_rows(blocks)
        levels.append(np.rint(blocks).astype(np.uint8))
    return levels


def _channels_first(image: UInt8[np.ndarray, "a b c"]) -> bool:
    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(
            f"image must be uint8 of shape (size, size, 3) or (3, size, size), got {image.dtype} {image.shape}"
        )
    for channels, height, width, first in ((image.shape[2], *image.shape[:2], False), (*image.shape, True)):
        if channels in (1, 3) and height == width:
            if not _is_power_of_two(height):
                raise ValueError(f"image must have a power of two as its size, got {height}; resize it first")
            return first
    raise ValueError(f"image must be square with 1 or 3 channels, got shape {image.shape}; crop it first")


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _halved_planes(planes: np.ndarray) -> np.ndarray:
    pairs = planes[:, 0::2] + planes[:, 1::2]
    return (pairs[:, :, 0::2] + pairs[:, :, 1::2]) * planes.dtype.type(0.25)


def _halved_rows(rows: np.ndarray) -> np.ndarray:
    pairs = rows[0::2] + rows[1::2]
    return (pairs[:, 0::2] + pairs[:, 1::2]) * rows.dtype.type(0.25)
