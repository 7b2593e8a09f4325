"""Whether a picture that is taken as clean was a JPEG once: then its own artefacts count as truth.

JPEG rounds each coefficient of its 8 x 8 blocks to a multiple of a step (ITU-T T.81, A.3.4). As long as nothing has
resampled the decoded picture, the coefficients of its luma still lie on that lattice; no other picture's do.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.fft import dctn

__all__ = ["lattice_score", "was_jpeg"]

BLOCK = 8
FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 3), (3, 0))
"""(row, column) of the coefficients looked at: the largest ones beside the mean."""
STEPS = np.arange(3.0, 41.0)
"""Steps tried: qualities of about 10 to 90. Finer ones vanish in the rounding of RGB, and do little harm."""
LEAST_COEFFICIENTS = 60
"""Fewer say nothing."""
LOOKED_AT = 384
"""Pixels a side of the middle that is enough to tell."""
THRESHOLD = 0.5
"""Decoded JPEGs score about 0.9, others below 0.2."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Of red, green and blue in JPEG (JFIF 1.02)."""


def was_jpeg(image: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Return whether the picture is a decoded JPEG of quality 90 or less, not resized since.

    Args:
        image: uint8 RGB of at least 16 pixels a side.
    """
    return lattice_score(image) > THRESHOLD


def lattice_score(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Return how well the luma's coefficients lie on one lattice, 0..1, for the best of the 64 places of the grid.

    Costs about a second. Pictures with too little detail to tell score 0.

    Args:
        image: uint8 RGB of at least 16 pixels a side.
    """
    height, width = image.shape[:2]
    top, left = max(0, height - LOOKED_AT) // 2, max(0, width - LOOKED_AT) // 2
    luma = image[top : top + LOOKED_AT, left : left + LOOKED_AT] @ LUMA - 128.0
    return max(_grid_score(luma[row:, column:]) for row in range(BLOCK) for column in range(BLOCK))


def _grid_score(luma: Float64[np.ndarray, "h w"]) -> float:
    """Return the mean over the frequencies of the best step's score, for blocks that begin at the corner."""
    rows, columns = (side // BLOCK for side in luma.shape)
    blocks = luma[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)
    coefficients = np.asarray(dctn(blocks, axes=(2, 3), norm="ortho"))
    return float(np.mean([_step_score(coefficients[:, :, row, column].ravel()) for row, column in FREQUENCIES]))


def _step_score(values: Float64[np.ndarray, " n"]) -> float:
    """Return how near those values that a step does not round to zero lie to its multiples, for the best step: 0..1."""
    counted = np.abs(values) > 0.6 * STEPS[:, None]
    counts = counted.sum(axis=1)
    nearness = (np.cos(2 * np.pi * values / STEPS[:, None]) * counted).sum(axis=1) / np.maximum(counts, 1)
    return float(max(0.0, nearness[counts >= LEAST_COEFFICIENTS].max(initial=0.0)))
