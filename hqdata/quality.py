"""The spectral quality of a crop: is its power spectrum broad and round, without patterns or noise?

Karras et al. 2018, appendix C, rank crops by a score that prefers a power spectrum which is broad and nearly radially
symmetric, and give no formula. Ours, its constants and what was rejected: docs/decisions/0005-spectral-quality.md.
The measurements themselves are in `hqdata.spectrum`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from hqdata import spectrum

__all__ = ["SMALLEST_SIDE", "SpectralParts", "spectral_parts", "spectral_quality"]

SMALLEST_SIDE = spectrum.BLOCK // 2
"""Pixels; below this there is no octave left to judge."""

GRID = 2.0**-14
"""Results are rounded to this grid, a billion times the last-bit differences between builds of numpy and scipy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralParts:
    """Why a crop scores as it does. Compare only crops of one size."""

    score: float
    """0..100, higher is better; 0 for a flat picture: 100 / (1 + the faults' costs). Compare crops of one size."""
    breadth: float
    """0..1: the share of octaves, up to the finest that the pixels can hold, with the detail of a sharp photo."""
    anisotropy: float
    """0..23 dB: what the poorest direction lacks against the mean of all; 1 is natural, 7 motion blur."""
    noise: float
    """0..255 levels: the standard deviation of noise that is all over the picture; below 3 in clean photos."""
    pattern: float
    """0..12 decades of power: how far a repeating pattern (halftone, scan lines) stands out; 0.3 is natural."""
    grid: float
    """0..12 decades of power: how regularly steps between pixels repeat, as in enlarged pixels; 1.1 is natural."""
    blocks: float
    """0..30 nats of power: how well detail fits a lattice, as JPEG's blocks do at any angle; 1.4 is natural."""


def spectral_quality(crop: UInt8[np.ndarray, "s s 3"]) -> float:
    """Return the score of `spectral_parts` alone: 0..100, higher is better."""
    return spectral_parts(crop).score


def spectral_parts(crop: UInt8[np.ndarray, "s s 3"]) -> SpectralParts:
    """Return the spectral quality of a crop and its parts; see `SpectralParts` for their ranges.

    Computed in float64 on the final pixels and rounded to a grid of 2**-14, so that every machine and any number of
    threads gives the same bits. It sees spectra only: a sharp picture of something else than a face scores high.

    Args:
        crop: RGB, at least 16 pixels a side.

    Raises:
        ValueError: when `crop` is not a square uint8 RGB picture of at least 16 pixels.
    """
    _require_square_rgb(crop)
    measured = spectrum.measure(crop)
    missing = measured.missing_db
    return SpectralParts(
        score=_rounded(0.0 if bool((crop == crop[0, 0]).all()) else _score(measured)),
        breadth=_rounded(1 - float(missing.mean()) / spectrum.DEEPEST_DB),
        anisotropy=_rounded(_anisotropy_db(measured)),
        noise=_rounded(measured.noise_levels),
        pattern=_rounded(measured.pattern),
        grid=_rounded(max(0.0, measured.steps)),
        blocks=_rounded(measured.blocks),
    )


def _require_square_rgb(crop: np.ndarray) -> None:
    if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8:
        got = getattr(crop, "dtype", type(crop).__name__)
        raise ValueError(f"crop must be a uint8 array, got {got}; pass stored pixels, not a network's tensor")
    if crop.ndim != 3 or crop.shape[2] != 3 or crop.shape[0] != crop.shape[1] or crop.shape[0] < SMALLEST_SIDE:
        raise ValueError(
            f"crop must be (s, s, 3) with s >= {SMALLEST_SIDE}, got {crop.shape}; align and crop the face first"
        )


def _score(measured: spectrum.Measured) -> float:
    """Return 0..100: every part costs nothing while it is natural and ever more beyond."""
    cost = (
        float(measured.missing_db.mean(axis=1).sum()) / 6
        + _excess(_anisotropy_db(measured), natural=5.0, width=1.5)
        + _excess(measured.noise_levels, natural=3.5, width=1.0)
        + _excess(measured.pattern, natural=0.55, width=0.14)
        + _excess(measured.steps, natural=1.6, width=0.2)
        + _excess(measured.blocks, natural=1.8, width=0.2)
    )
    return 100.0 / (1.0 + cost)


def _anisotropy_db(measured: spectrum.Measured) -> float:
    """Return what the poorest direction lacks against the mean, in the worse of the two finest octaves."""
    fine = measured.missing_db[:2]
    return float((fine.max(axis=1) - fine.mean(axis=1)).max())


def _excess(value: float, *, natural: float, width: float) -> float:
    """Return a smooth max(0, (value - natural) / width), never flat, so that worse is always worse."""
    return float(np.logaddexp(0.0, (value - natural) / width))


def _rounded(value: float) -> float:
    return float(np.rint(value / GRID)) * GRID
