"""What every comparison of pictures one by one asks of its two arguments."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Real

__all__ = ["check_pair"]


def check_pair(
    images: Real[np.ndarray, "n c h w"], reference: Real[np.ndarray, "n c h w"], *, data_range: float
) -> tuple[Float64[np.ndarray, "n c h w"], Float64[np.ndarray, "n c h w"]]:
    """Return both as float64, after checking that they can be compared picture by picture.

    Args:
        images: pictures to judge.
        reference: what they should be, in the same order and of the same shape.
        data_range: width of the interval of possible levels; 255 for uint8 and for luma of uint8.

    Raises:
        ValueError: when shapes differ or are no (n, c, h, w), or values span more than `data_range` or are NaN.
    """
    if images.shape != reference.shape:
        raise ValueError(f"images and reference must have the same shape, got {images.shape} and {reference.shape}")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must have shape (n, channels, height, width) without a zero, got {images.shape}")
    if not 0 < data_range < float("inf"):
        raise ValueError(f"data_range must be a positive number such as 255, got {data_range}")
    pair = np.asarray(images, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    for name, values in zip(("images", "reference"), pair, strict=True):
        if not np.isfinite(values).all():
            raise ValueError(
                f"{name} holds NaN or infinity in picture {_first_bad(values)}; look where it was computed"
            )
        if float(np.ptp(values)) > data_range:
            raise ValueError(
                f"{name} spans {values.min():g}..{values.max():g}, more than data_range {data_range:g};"
                " give the range that the levels really have"
            )
    return pair


def _first_bad(values: Float64[np.ndarray, "n c h w"]) -> int:
    return int(np.argmin(np.isfinite(values).all(axis=(1, 2, 3))))
