"""What a picture's local and global power spectra say: missing octaves, poor directions, noise, patterns, grids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from scipy import fft, ndimage

__all__ = ["BLOCK", "Measured", "measure"]

BLOCK = 32
"""Side of a local spectrum in pixels: fine enough for eight half octaves, small enough to lie inside one texture."""
BLOCKS_PER_SIDE = 32
"""At most; they overlap by half while the picture is small and spread out when it is large: bounded cost."""
NUM_DIRECTIONS = 4
ROUNDING_POWER = 0.02
"""Power below which a spectrum is rounding: uint8 adds 1/12, and a fifth of it survives the subtraction of noise."""
NATURAL_DROP_DB = 20.0
"""Median drop from the band around 1/8 cycle per pixel to the finest half octave, in sharp photos."""
DEEPEST_DB = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Plain measurements of one picture, before any judgement."""

    flat: bool
    missing_db: float
    breadth: float
    anisotropy_db: float
    noise_levels: float
    pattern: float
    grid: float


def measure(image: UInt8[np.ndarray, "s s 3"]) -> Measured:
    """Return the measurements of a square RGB picture of at least 16 pixels."""
    red, green, blue = (image[..., c].astype(np.float64) for c in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    missing = _missing_detail_db(luma)
    return Measured(
        flat=bool(image.min() == image.max()) or float(np.ptp(luma)) == 0.0,
        missing_db=float(missing.mean(axis=1).sum()),
        breadth=float(1 - missing.mean() / DEEPEST_DB),
        anisotropy_db=float((missing.max(axis=1) - missing.mean(axis=1))[:2].max()),
        noise_levels=_noise_levels(luma, red - green, blue - green),
        pattern=_pattern(luma),
        grid=_grid(luma),
    )


def _missing_detail_db(luma: Float64[np.ndarray, "s s"]) -> Float64[np.ndarray, "octaves directions"]:
    """Return, for each octave from the finest down and each direction, the power that a sharp photo has and this lacks."""
    rows: list[np.ndarray] = []
    while True:
        bands = _bands(_block_spectra(luma, min(BLOCK, luma.shape[0])))
        low, high = np.quantile(bands, 0.1, axis=0), np.quantile(bands, 0.97, axis=0)
        detail = np.maximum(high - 2 * low, 0.0) + ROUNDING_POWER
        rows.append(10 * np.log10(np.stack([detail[0], high[1] + ROUNDING_POWER])))
        if luma.shape[0] < 2 * BLOCK:
            break
        luma = _halved(luma)
    fine = np.stack([row[0] for row in rows])
    coarse = np.stack([row[1] for row in rows]).mean(axis=1)
    deeper = np.arange(len(rows))
    # The strongest coarser octave says how much detail to expect: blur takes the fine ones, never the coarse.
    expected = np.array([np.max(coarse[k:] - 9.0 * deeper[: len(rows) - k]) for k in range(len(rows))])
    drop = expected[:, None] - fine - NATURAL_DROP_DB
    return np.minimum(4 * np.logaddexp(0.0, (drop - 4) / 4), DEEPEST_DB)


def _noise_levels(*planes: Float64[np.ndarray, "s s"]) -> float:
    powers = []
    for plane, gain in zip(planes, (1.0, 2.0, 2.0), strict=True):
        bands = _bands(_block_spectra(plane, min(BLOCK, plane.shape[0]))).mean(axis=2)
        fine, coarse = bands[:, 0], bands[:, 1]
        quiet = np.argsort(fine, kind="stable")[: max(1, len(fine) // 10)]
        flatness = fine[quiet].mean() / (coarse[quiet].mean() + ROUNDING_POWER)
        powers.append(fine[quiet].mean() / gain * min(1.0, flatness * 4))
    return float(np.sqrt(max(powers)))


def _pattern(luma: Float64[np.ndarray, "s s"]) -> float:
    """Return how far the strongest isolated frequency rises above its neighbours, in decades, as a mean over blocks."""
    n = max(m for m in (16, 32, 64) if m <= luma.shape[0])
    half = np.log10(_block_spectra(luma, n) + 1e-3).mean(axis=0)
    full = _whole_plane(half)
    rise = np.full(full.shape, np.inf)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        beside = np.maximum(np.roll(full, (3 * dy, 3 * dx), (0, 1)), np.roll(full, (-3 * dy, -3 * dx), (0, 1)))
        rise = np.minimum(rise, full - beside)
    frequency = np.fft.fftfreq(n)
    return float(max(0.0, rise[np.hypot(frequency[:, None], frequency[None]) >= 0.1].max()))


def _grid(luma: Float64[np.ndarray, "s s"]) -> float:
    """Return the decades by which the strongest frequency in the map of local detail rises above its surroundings."""
    detail = np.abs(4 * luma[1:-1, 1:-1] - luma[:-2, 1:-1] - luma[2:, 1:-1] - luma[1:-1, :-2] - luma[1:-1, 2:])
    n = fft.prev_fast_len(detail.shape[0], real=True)
    power = _whole_plane(_block_spectra(np.log(detail[:n, :n] + 1), n)[0])
    near, wide = (ndimage.uniform_filter(power, k, mode="wrap") * k * k for k in (5, 15))
    frequency = np.fft.fftfreq(n)
    ratio = (power + 1e-9) / ((wide - near) / 200 + 1e-9)
    return float(max(0.0, np.log10(ratio[np.hypot(frequency[:, None], frequency[None]) >= 0.1].max())))


def _block_spectra(plane: Float64[np.ndarray, "s s"], n: int) -> Float64[np.ndarray, "blocks n half"]:
    """Return the power spectra of windowed blocks of `n` pixels; white noise of variance v gives v everywhere."""
    size = plane.shape[0]
    count = min(BLOCKS_PER_SIDE, (size - n) // (n // 2) + 1)
    starts = np.rint(np.linspace(0, size - n, count)).astype(np.intp)
    window = _window(n)
    blocks = np.lib.stride_tricks.sliding_window_view(plane, (n, n))[np.ix_(starts, starts)].reshape(-1, n, n)
    means = (blocks * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    spectra = fft.rfft2((blocks - means) * window, workers=1)
    return (spectra.real**2 + spectra.imag**2) / (window**2).sum()


def _bands(spectra: Float64[np.ndarray, "blocks n half"]) -> Float64[np.ndarray, "blocks 2 directions"]:
    """Return the mean power of the finest half octave and of the octave around 1/8 cycle per pixel, by direction."""
    masks = _band_masks(spectra.shape[1])
    return np.stack([[spectra[:, mask].mean(axis=1) for mask in ring] for ring in masks]).transpose(2, 0, 1)


def _halved(plane: Float64[np.ndarray, "s s"]) -> Float64[np.ndarray, "t t"]:
    n = plane.shape[0] // 2 * 2
    p = plane[:n, :n]
    return (p[0::2, 0::2] + p[1::2, 0::2] + p[0::2, 1::2] + p[1::2, 1::2]) / 4


def _whole_plane(half: Float64[np.ndarray, "n half"]) -> Float64[np.ndarray, "n n"]:
    n = half.shape[0]
    mirrored = half[(-np.arange(n)) % n][:, 1 : n - half.shape[1] + 1][:, ::-1]
    return np.concatenate([half, mirrored], axis=1)


@lru_cache(maxsize=16)
def _window(n: int) -> Float64[np.ndarray, "n n"]:
    rise = np.hanning(n + 1)[:n]
    return np.outer(rise, rise)


@lru_cache(maxsize=4)
def _band_masks(n: int) -> list[list[Bool[np.ndarray, "n half"]]]:
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    radius, angle = np.hypot(fy, fx), np.arctan2(fy, fx) % np.pi
    step = np.pi / NUM_DIRECTIONS
    sector = np.floor((angle + step / 2) % np.pi / step).astype(int)
    rings = [(radius >= 2**-1.5) & (radius < 0.5), (radius >= 2**-3.5) & (radius < 2**-2.5)]
    return [[ring & (sector == k) for k in range(NUM_DIRECTIONS)] for ring in rings]
