"""Peak signal-to-noise ratio of pictures, one number each."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Real

from metrics.pairs import check_pair

__all__ = ["psnr"]


def psnr(
    images: Real[np.ndarray, "n c h w"], reference: Real[np.ndarray, "n c h w"], *, data_range: float
) -> Float64[np.ndarray, " n"]:
    """Return each picture's PSNR in dB: 10 log10(data_range^2 / mean squared error over all its channels and pixels).

    Says how far pixels are off, not how it looks: blur scores better than a sharp guess.

    Args:
        images: pictures to judge, uint8, or float such as `matlab_luma`'s.
        reference: what they should be, in the same order and of the same shape.
        data_range: width of the interval of possible levels; 255 for uint8, and by custom also for luma of 16..235.

    Returns:
        dB, higher is nearer; infinity for equal pictures.

    Raises:
        ValueError: when the two cannot be compared; see `metrics.pairs.check_pair`.

    >>> black = np.zeros((1, 3, 8, 8), dtype=np.uint8)
    >>> psnr(black + np.uint8(1), black, data_range=255).round(3).tolist()
    [48.131]
    """
    given, wanted = check_pair(images, reference, data_range=data_range)
    errors = np.mean((given - wanted) ** 2, axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(data_range**2 / errors)
