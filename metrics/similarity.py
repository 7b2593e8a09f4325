"""Structural similarity of pictures, one number each (Wang, Bovik, Sheikh and Simoncelli 2004)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Real
from scipy import ndimage

from metrics.pairs import check_pair

__all__ = ["WINDOW", "ssim"]

WINDOW = 11
"""Side of the Gaussian window, section III-C."""
SIGMA = 1.5
K1, K2 = 0.01, 0.03
"""Stabilisers, equation 12."""


def ssim(
    images: Real[np.ndarray, "n c h w"], reference: Real[np.ndarray, "n c h w"], *, data_range: float
) -> Float64[np.ndarray, " n"]:
    """Return each picture's mean SSIM over its channels and over all places where the window lies inside (equation 13).

    Computed at the size given; the authors' advice to shrink large pictures first is the caller's to follow.

    Args:
        images: pictures to judge, uint8, or float such as `matlab_luma`'s.
        reference: what they should be, in the same order and of the same shape; at least 11 x 11 pixels.
        data_range: width of the interval of possible levels; 255 for uint8 and for luma of uint8.

    Returns:
        At most 1, which equal pictures have; symmetric in the two arguments.

    Raises:
        ValueError: when a side is shorter than the window, or the two cannot be compared; see
            `metrics.pairs.check_pair`.
    """
    given, wanted = check_pair(images, reference, data_range=data_range)
    if min(given.shape[2:]) < WINDOW:
        raise ValueError(f"images must be at least {WINDOW} x {WINDOW} pixels, got {given.shape[2]} x {given.shape[3]}")
    return np.array([_mean_ssim(a, b, data_range) for a, b in zip(given, wanted, strict=True)])


def _mean_ssim(a: Float64[np.ndarray, "c h w"], b: Float64[np.ndarray, "c h w"], data_range: float) -> float:
    """Return equation 13 over equation-12 maps; variances are the window's own, without Bessel's correction."""
    mean_a, mean_b = _windowed(a), _windowed(b)
    variance_a = _windowed(a * a) - mean_a**2
    variance_b = _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    alike = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    scale = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return float(np.mean(alike / scale))


def _windowed(planes: Float64[np.ndarray, "c h w"]) -> Float64[np.ndarray, "c h-10 w-10"]:
    """Return the Gaussian-weighted mean around each place whose window lies inside the picture."""
    places = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(places**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    down = ndimage.correlate1d(planes, weights, axis=1, mode="nearest")
    both = ndimage.correlate1d(down, weights, axis=2, mode="nearest")
    edge = WINDOW // 2
    return both[:, edge:-edge, edge:-edge]
