"""Luma as published PSNR and SSIM figures use it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

__all__ = ["matlab_luma"]

WEIGHTS = np.array([65.481, 128.553, 24.966])
"""Of red, green and blue in 0..1: ITU-R BT.601 in studio range, as MATLAB's rgb2ycbcr rounds it."""
BLACK = 16.0


def matlab_luma(images: UInt8[np.ndarray, "n 3 h w"]) -> Float64[np.ndarray, "n 1 h w"]:
    """Return the luma of MATLAB's `rgb2ycbcr`, 16..235, not rounded.

    Not OpenCV's or JPEG's, which fill 0..255: PSNR between those is about 1.3 dB lower, and no published figure agrees.

    Args:
        images: uint8 RGB.

    Raises:
        TypeError: when the images are not uint8.
        ValueError: when they have another shape than (n, 3, h, w).

    >>> white = np.full((1, 3, 1, 1), 255, dtype=np.uint8)
    >>> matlab_luma(white).round(3).tolist()
    [[[[235.0]]]]
    """
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8 RGB, got {images.dtype}; levels 0..255 are meant, so round them first")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must have shape (n, 3, height, width), got {images.shape}")
    return BLACK + np.tensordot(images / 255.0, WEIGHTS, axes=(1, 0))[:, None]
