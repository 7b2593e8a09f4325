"""MS-SSIM written out in float64 from Wang, Simoncelli and Bovik 2003, and ProGAN's variant: slow and plain."""

import numpy as np
from scipy import signal

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def gaussian(side: int) -> np.ndarray:
    """side x side window whose deviation is 1.5 at 11 pixels."""
    places = np.arange(side) - (side - 1) / 2
    squares = places[:, None] ** 2 + places[None, :] ** 2
    weights = np.exp(-squares / (2 * (1.5 * side / 11) ** 2))
    return weights / weights.sum()


def maps(a: np.ndarray, b: np.ndarray, side: int, data_range: float) -> tuple[np.ndarray, np.ndarray]:
    """Two (h, w) planes -> luminance and contrast-structure wherever the window lies inside."""
    window = gaussian(side)

    def mean(plane: np.ndarray) -> np.ndarray:
        return signal.convolve2d(plane, window, mode="valid")

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance, (2 * covariance + c2) / (variance_a + variance_b + c2)


def halved(plane: np.ndarray) -> np.ndarray:
    """Mean of 2 x 2 pixels; an odd side is mirrored by one pixel, its last one included."""
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="symmetric")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def scales(a: np.ndarray, b: np.ndarray, data_range: float, shrink: bool) -> np.ndarray:
    """(h, w) planes -> (5,) means: contrast-structure at four scales, then times luminance."""
    means = []
    for scale in range(5):
        side = min(11, *a.shape) if shrink else 11
        luminance, contrast = maps(a, b, side, data_range)
        means.append((luminance * contrast if scale == 4 else contrast).mean())
        a, b = halved(a), halved(b)
    return np.array(means)


def wang(a: np.ndarray, b: np.ndarray, data_range: float = 255.0) -> float:
    """(c, h, w) pictures -> clip and multiply in each channel, then average the channels."""
    pairs = zip(a.astype(np.float64), b.astype(np.float64), strict=True)
    channels = [scales(*pair, data_range, shrink=False) for pair in pairs]
    return float(np.mean([np.prod(np.maximum(means, 0) ** WEIGHTS) for means in channels]))


def progan(a: np.ndarray, b: np.ndarray, data_range: float = 255.0) -> float:
    """(c, h, w) pictures -> average the channels at each scale, then clip and multiply."""
    pairs = zip(a.astype(np.float64), b.astype(np.float64), strict=True)
    means = np.mean([scales(*pair, data_range, shrink=True) for pair in pairs], axis=0)
    return float(np.prod(np.maximum(means, 0) ** WEIGHTS))
