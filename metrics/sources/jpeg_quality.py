"""The quality setting that a JPEG was written with, judged by its quantisation table."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float64

__all__ = ["estimated_quality"]

LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
"""ITU-T T.81, table K.1, row by row."""


@lru_cache(maxsize=256)
def estimated_quality(table: tuple[int, ...]) -> int:
    """Return the libjpeg quality, 1..100, whose luminance table is nearest to `table` (64 steps, row by row).

    Exact for files written by libjpeg and its kin; a camera's own tables get the quality of the like coarseness.
    """
    steps = np.sort(np.asarray(table, dtype=np.float64))
    return int(np.argmin(np.abs(_tables() - steps).sum(axis=1))) + 1


@lru_cache(maxsize=1)
def _tables() -> Float64[np.ndarray, "100 64"]:
    """Return libjpeg's tables of all qualities, sorted, so that a table's order does not matter (jpeg_set_quality)."""
    quality = np.arange(1, 101)
    percent = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    scaled = (np.array(LUMINANCE) * percent[:, None] + 50) // 100
    return np.sort(np.clip(scaled, 1, 255), axis=1).astype(np.float64)
