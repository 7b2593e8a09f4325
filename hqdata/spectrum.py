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
BUSY = 0.97
"""Quantile of blocks that shows what detail there is: sharp eyes in front of a soft background are sharp."""
NOISE_MARGIN = 1.6
"""Power of white noise in its busiest blocks against its mean."""
NATURAL_DROP_DB = 21.0
"""Drop from the band around 1/8 cycle per pixel to the finest half octave: 15 to 23 in sharp photos at any scale."""
SOFT_DB = 2.0
DEEPEST_DB = 30.0
FLAT = 0.4
"""Ratio of the power beyond 1/2 cycle per pixel to that around 0.3: 0.1 in sharp detail, 1 in white noise."""
GRID_SIDE = 512
"""Pixels in the middle that are searched for a grid; a compressed photo has it everywhere."""


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
    noise = _noise_power(luma, share=0.75)
    colour_noise = max(_noise_power(plane, share=0.5) / 2 for plane in (red - green, blue - green))
    missing = _missing_detail_db(luma, noise)
    return Measured(
        flat=bool(image.min() == image.max()) or float(np.ptp(luma)) == 0.0,
        missing_db=float(missing.mean(axis=1).sum()),
        breadth=float(1 - missing.mean() / DEEPEST_DB),
        anisotropy_db=float((missing.max(axis=1) - missing.mean(axis=1))[:2].max()),
        noise_levels=float(np.sqrt(max(noise, colour_noise))),
        pattern=_pattern(luma),
        grid=_grid(luma),
    )


def _noise_power(plane: Float64[np.ndarray, "s s"], share: float) -> float:
    """Return the variance of the white noise that all but `share` of the blocks exceed; their structure does not count.

    Beyond 1/2 cycle per pixel, in the spectrum's corners, structure has far less power than around 0.3; noise has
    as much.
    """
    spectra = _block_spectra(plane, min(BLOCK, plane.shape[0]))
    corner, ring = (spectra[:, mask].mean(axis=1) for mask in _flatness_masks(spectra.shape[1]))
    flatness = (corner / (ring + ROUNDING_POWER)) ** 4
    return float(np.quantile(corner * flatness / (flatness + FLAT**4), share))


def _missing_detail_db(luma: Float64[np.ndarray, "s s"], noise: float) -> Float64[np.ndarray, "octaves directions"]:
    """Return the power, by octave from the finest down and by direction, that a sharp photo has and this lacks."""
    fine, coarse = [], []
    while True:
        bands = _bands(_block_spectra(luma, min(BLOCK, luma.shape[0])))
        top = np.quantile(bands, BUSY, axis=0)
        # Halving averages four pixels, so white noise loses three quarters of its power per octave.
        fine.append(np.maximum(top[0] - NOISE_MARGIN * noise / 4 ** len(fine), 0.0))
        coarse.append(top[1].mean())
        if luma.shape[0] < 4 * BLOCK:
            break
        luma = _halved(luma)
    # The strongest coarser octave says how much detail to expect: blur takes the fine ones, never the coarse.
    expected = np.maximum.accumulate(np.array(coarse)[::-1])[::-1]
    drop = _decibels(expected)[:, None] - _decibels(np.stack(fine)) - NATURAL_DROP_DB
    return np.minimum(SOFT_DB * np.logaddexp(0.0, drop / SOFT_DB), DEEPEST_DB)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + ROUNDING_POWER)


def _pattern(luma: Float64[np.ndarray, "s s"]) -> float:
    """Return how far the strongest isolated frequency rises above its neighbours, in decades, as a mean over blocks."""
    n = max(m for m in (16, 32, 64) if m <= luma.shape[0])
    half = np.log10(_block_spectra(luma, n) + 1e-3).mean(axis=0)
    full = _whole_plane(half)
    rise = np.full(full.shape, np.inf)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        beside = np.maximum(np.roll(full, (3 * dy, 3 * dx), (0, 1)), np.roll(full, (-3 * dy, -3 * dx), (0, 1)))
        rise = np.minimum(rise, full - beside)
    return float(max(0.0, rise[_radius(n) >= 0.1].max()))


def _grid(luma: Float64[np.ndarray, "s s"]) -> float:
    """Return the decades by which the strongest frequency in the map of local steps rises above its surroundings."""
    n = fft.prev_fast_len(min(luma.shape[0] - 2, GRID_SIDE), real=True)
    first = (luma.shape[0] - 2 - n) // 2
    middle = luma[first : first + n + 2, first : first + n + 2]
    here, right, below = middle[1:-1, 1:-1], middle[1:-1, 2:], middle[2:, 1:-1]
    steps = np.log(np.abs(right - here) + 1) + np.log(np.abs(below - here) + 1)
    bends = np.log(np.abs(4 * here - right - below - middle[1:-1, :-2] - middle[:-2, 1:-1]) + 1)
    return max(_grid_of(steps), _grid_of(bends))


def _grid_of(detail: Float64[np.ndarray, "n n"]) -> float:
    n = detail.shape[0]
    power = _whole_plane(_block_spectra(detail, n)[0])
    near, wide = (ndimage.uniform_filter(power, k, mode="wrap") * k * k for k in (5, 15))
    ratio = (power + 1e-9) / ((wide - near) / 200 + 1e-9)
    return float(max(0.0, np.log10(ratio[_radius(n) >= 0.1].max())))


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


def _radius(n: int) -> Float64[np.ndarray, "n n"]:
    frequency = np.fft.fftfreq(n)
    return np.hypot(frequency[:, None], frequency[None])


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


@lru_cache(maxsize=4)
def _flatness_masks(n: int) -> tuple[Bool[np.ndarray, "n half"], Bool[np.ndarray, "n half"]]:
    radius = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None])
    return radius >= 0.5, (radius >= 2**-2) & (radius < 2**-1.5)
