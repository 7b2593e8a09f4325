"""ProGAN's sliced Wasserstein distance written out with numpy and scipy: slow, and short enough to be checked by eye.

Karras et al. 2018, section 5 and appendix. Patches and directions are the caller's, so that the sums can be compared.
"""

import numpy as np
from scipy import ndimage

TAPS = np.array([1, 4, 6, 4, 1], dtype=np.float32)
KERNEL = (np.outer(TAPS, TAPS) / 256)[None, None]


def down(images: np.ndarray) -> np.ndarray:
    """(n, c, h, w) -> (n, c, h/2, w/2)."""
    return ndimage.convolve(images, KERNEL, mode="mirror")[:, :, ::2, ::2]


def up(images: np.ndarray) -> np.ndarray:
    """(n, c, h, w) -> (n, c, 2h, 2w)."""
    n, c, h, w = images.shape
    spread = np.zeros((n, c, 2 * h, 2 * w), dtype=images.dtype)
    spread[:, :, ::2, ::2] = images
    return ndimage.convolve(spread, 4 * KERNEL, mode="mirror")


def pyramid(images: np.ndarray, smallest: int = 16) -> list[np.ndarray]:
    """uint8 (n, 3, s, s), s a power of two -> one float32 array for each level, finest first."""
    coarse = images.astype(np.float32)
    levels = []
    while coarse.shape[2] > smallest:
        fine, coarse = coarse, down(coarse)
        levels.append(fine - up(coarse))
    return [*levels, coarse]


def patches(level: np.ndarray, tops: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """(n, 3, h, w) and corners (n, p) -> (n * p, 3, 7, 7)."""
    cut = [
        level[i, :, top : top + 7, left : left + 7]
        for i in range(len(level))
        for top, left in zip(tops[i], lefts[i], strict=True)
    ]
    return np.stack(cut)


def normalised(descriptors: np.ndarray) -> np.ndarray:
    """(m, 3, 7, 7) -> (m, 147) with every colour channel of mean 0 and standard deviation 1 over the whole set."""
    mean = descriptors.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    deviation = descriptors.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    return ((descriptors - mean) / deviation).astype(descriptors.dtype).reshape(len(descriptors), -1)


def sliced(a: np.ndarray, b: np.ndarray, directions: np.ndarray) -> float:
    """(m, d), (m, d), (k, d) -> mean |difference| of the sorted projections."""
    first = np.sort(a @ directions.T.astype(a.dtype), axis=0)
    second = np.sort(b @ directions.T.astype(b.dtype), axis=0)
    return float(np.abs(first - second).mean(dtype=np.float64))


def line_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Integral of |F_a - F_b| of two samples of any sizes, from one jump of either function to the next."""
    places = np.sort(np.concatenate([a, b]))
    below_a = np.array([(a <= place).mean() for place in places[:-1]])
    below_b = np.array([(b <= place).mean() for place in places[:-1]])
    return float((np.abs(below_a - below_b) * np.diff(places)).sum())
