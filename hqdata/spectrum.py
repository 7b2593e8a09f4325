"""What a picture's power spectra measure: missing octaves, poor directions, noise, patterns, grids.

Spectra are taken in overlapping blocks of 32 pixels of the picture and of its halvings, so that a sharp face in front
of a soft background counts as sharp, and what is everywhere (noise, a dot screen) stands apart from what is somewhere.
Frequencies are in cycles per pixel, powers such that white noise of variance v has power v at every frequency.
Judgement of the measurements: `hqdata.quality`. Derivation: docs/decisions/0005-spectral-quality.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8
from scipy import fft, ndimage

__all__ = ["BLOCK", "Measured", "measure"]

BLOCK = 32
"""Side of a local spectrum in pixels: fine enough for half octaves, small enough to lie inside one texture."""
MANY_BLOCKS, ENOUGH_BLOCKS = 32, 16
"""Blocks along a side, at most: to find the sharpest spot, and to see what is everywhere. This bounds the cost."""
NUM_DIRECTIONS = 4
BUSY = 0.97
"""Quantile of blocks that shows what detail there is."""
ROUNDING_POWER = 0.02
"""Added to every power before a logarithm or ratio: a quarter of the 1/12 that rounding to uint8 leaves."""

NATURAL_DROP_DB = 21.0
"""Drop from the octave around 1/8 to the finest half octave, measured 15 to 23 in sharp photos at any scale."""
FAINTEST_BODY = 300.0
"""Least power around 1/8 that a photo of anything has in its busiest blocks: a third of the faintest of 85 crops.

Without it an almost flat picture would lack no detail, because none would be expected of it.
"""
SOFT_DB, DEEPEST_DB = 2.0, 30.0
"""Softness of the corner at `NATURAL_DROP_DB`, and the deficit at which an octave counts as absent."""
NOISE_MARGIN = 1.6
"""Power of white noise in its busiest blocks against its mean."""
LUMA_GATE, COLOUR_GATE = 0.4, 0.5
"""Ratio of two octave-apart powers that counts half as noise; white noise has 1, detail below 0.2."""
LUMA_SHARE, COLOUR_SHARE = 0.75, 0.5
"""Quantile of blocks that shows the noise: three of four blocks may hide it under detail, in colour one of two."""
LUMA_OF_COLOUR = 0.299**2 + 0.587**2 + 0.114**2
"""Variance of luma where each channel has independent noise of variance 1."""

PATTERN_BLOCK = 64
LOWEST_PATTERN = 0.1
"""Patterns are looked for from 10 pixels' distance down to 2; coarser ones are things in the picture."""
GRID_TILE, GRID_TILES = 112, 6
"""Side of the parts whose spectra are averaged in the search for a grid, and how many along a side at most.

One spectrum of everything would find ever fainter grids in ever larger pictures.
"""
GRID_PERIODS = (4.0, 10.0)
"""Pixels between the lines of a grid: 8 for JPEG, scaled as the crop scales its photo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Plain measurements of one picture, before any judgement."""

    missing_db: Float64[np.ndarray, "octaves directions"]
    """0..30: by octave from the finest down and by direction, the power that a sharp photo has and this one lacks."""
    noise_levels: float
    """Standard deviation of the noise that is all over the picture, 0..127."""
    pattern: float
    """Decades of power by which the strongest isolated frequency rises above its neighbours in the mean block, >= 0."""
    steps: float
    """Decades by which the strongest frequency in the map of steps between pixels rises above its surroundings."""
    blocks: float
    """Nats by which a square lattice and its first harmonics do so in the map of bends, on average over the lattice."""


def measure(image: UInt8[np.ndarray, "s s 3"]) -> Measured:
    """Return the measurements of a square RGB picture of at least 16 pixels."""
    red, green, blue = (image[..., channel].astype(np.float64) for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    spectra = _block_spectra(luma, most=MANY_BLOCKS)
    colour = max(_colour_noise(_block_spectra(plane)) for plane in (red - green, blue - green))
    noise = _luma_noise(spectra)
    steps, bends = _detail_maps(luma)
    return Measured(
        missing_db=_missing_db(luma, spectra, max(noise, LUMA_OF_COLOUR * colour)),
        noise_levels=float(np.sqrt(max(noise, colour))),
        pattern=_pattern(luma),
        steps=_peak(_prominence(steps)),
        blocks=_lattice(_prominence(bends)),
    )


def _luma_noise(spectra: Float64[np.ndarray, "blocks n half"]) -> float:
    """Return the variance of white noise: beyond 1/2, in the corners, detail has far less power than around 0.3."""
    return _shared_noise(_ring_power(spectra, 0.5, 1.0), _ring_power(spectra, 2**-2, 2**-1.5), LUMA_GATE, LUMA_SHARE)


def _colour_noise(spectra: Float64[np.ndarray, "blocks n half"]) -> float:
    """Return the variance of noise per channel from the spectra of a difference of two channels.

    Colour has little detail of its own, so bands below the corners do, where resampled noise still is.
    """
    fine, coarse = _ring_power(spectra, 2**-2, 2**-1.5), _ring_power(spectra, 2**-3, 2**-2.5)
    return _shared_noise(fine, coarse, COLOUR_GATE, COLOUR_SHARE) / 2


def _shared_noise(
    fine: Float64[np.ndarray, " blocks"], coarse: Float64[np.ndarray, " blocks"], gate: float, share: float
) -> float:
    """Return the quantile `share` of the fine band's power, where blocks whose spectrum falls count for little."""
    flatness = (fine / (coarse + ROUNDING_POWER)) ** 4
    return float(np.quantile(fine * flatness / (flatness + gate**4), share))


def _missing_db(
    luma: Float64[np.ndarray, "s s"], spectra: Float64[np.ndarray, "blocks n half"], noise: float
) -> Float64[np.ndarray, "octaves directions"]:
    fine, coarse = [], []
    while True:
        detail, body = (np.quantile(band, BUSY, axis=0) for band in _detail_and_body(spectra))
        # Halving averages four pixels, so white noise loses three quarters of its power per octave.
        fine.append(np.maximum(detail - NOISE_MARGIN * noise / 4 ** len(fine), 0.0))
        coarse.append(body.mean())
        if luma.shape[0] < 4 * BLOCK:
            break
        luma = _halved(luma)
        spectra = _block_spectra(luma, most=MANY_BLOCKS)
    # The strongest coarser octave says how much detail to expect: blur takes the fine ones, never the coarse.
    expected = np.maximum.accumulate(np.array(coarse)[::-1])[::-1]
    drop = _decibels(np.maximum(expected, FAINTEST_BODY))[:, None] - _decibels(np.stack(fine)) - NATURAL_DROP_DB
    return np.minimum(SOFT_DB * np.logaddexp(0.0, drop / SOFT_DB), DEEPEST_DB)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + ROUNDING_POWER)


def _pattern(luma: Float64[np.ndarray, "s s"]) -> float:
    n = min(PATTERN_BLOCK, luma.shape[0] // 16 * 16)
    mean = _whole_plane(np.log10(_block_spectra(luma, n) + ROUNDING_POWER).mean(axis=0))
    rise = np.full(mean.shape, np.inf)
    # Along a line through an isolated peak both neighbours are lower, whatever the line; edges raise a whole line.
    for dy, dx in ((0, 3), (3, 0), (3, 3), (3, -3)):
        beside = np.maximum(np.roll(mean, (dy, dx), (0, 1)), np.roll(mean, (-dy, -dx), (0, 1)))
        rise = np.minimum(rise, mean - beside)
    return float(max(0.0, rise[_radius(n) >= LOWEST_PATTERN].max()))


def _detail_maps(luma: Float64[np.ndarray, "s s"]) -> tuple[Float64[np.ndarray, "t t"], Float64[np.ndarray, "t t"]]:
    """Return log maps of first and of second differences: enlarged pixels repeat in one, JPEG's blocks in the other."""
    here, left, right = luma[1:-1, 1:-1], luma[1:-1, :-2], luma[1:-1, 2:]
    above, below = luma[:-2, 1:-1], luma[2:, 1:-1]
    steps = np.log1p(np.abs(right - here)) + np.log1p(np.abs(below - here))
    bends = np.log1p(np.abs(2 * here - left - right)) + np.log1p(np.abs(2 * here - above - below))
    return steps, bends


def _prominence(detail: Float64[np.ndarray, "t t"]) -> Float64[np.ndarray, "n n"]:
    """Return the power at each frequency over the mean of 15x15 around it without the 5x5 next to it."""
    tile = min(GRID_TILE, detail.shape[0] // 2 * 2)
    power = _whole_plane(_block_spectra(detail, tile, GRID_TILES).mean(axis=0))
    near, wide = (ndimage.uniform_filter(power, k, mode="wrap") * k**2 for k in (5, 15))
    return (power + 1e-9) / (np.maximum(wide - near, 0.0) / (15**2 - 5**2) + 1e-9)


def _peak(prominence: Float64[np.ndarray, "n n"]) -> float:
    return float(np.log10(prominence[_radius(len(prominence)) >= LOWEST_PATTERN].max()))


def _lattice(prominence: Float64[np.ndarray, "n n"]) -> float:
    """Return the best square lattice's mean log prominence over its two axes and their double frequencies."""
    n = prominence.shape[0]
    rows, columns = _lattice_bins(n)
    if rows.size == 0:
        return 0.0
    return float(np.log1p(prominence)[rows, columns].mean(axis=0).max())


def _block_spectra(
    plane: Float64[np.ndarray, "s s"], n: int = BLOCK, most: int = ENOUGH_BLOCKS
) -> Float64[np.ndarray, "blocks n half"]:
    """Return the power spectra of windowed blocks of `n` pixels, or fewer in a smaller picture.

    They overlap by half; where that makes more than `most` along a side, they are spread out evenly.
    """
    n = min(n, plane.shape[0])
    spare = plane.shape[0] - n
    count = min(most, spare // (n // 2) + 1)
    starts = np.rint(np.linspace(0, spare, count)).astype(np.intp) if count > 1 else np.array([spare // 2])
    window = _window(n)
    blocks = np.lib.stride_tricks.sliding_window_view(plane, (n, n))[np.ix_(starts, starts)].reshape(-1, n, n)
    means = (blocks * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    spectra = np.asarray(fft.rfft2((blocks - means) * window, workers=1), dtype=np.complex128)
    return (spectra.real**2 + spectra.imag**2) / (window**2).sum()


def _detail_and_body(
    spectra: Float64[np.ndarray, "blocks n half"],
) -> tuple[Float64[np.ndarray, "blocks directions"], Float64[np.ndarray, "blocks directions"]]:
    """Return the mean power, by direction, of the finest half octave and of the octave around 1/8."""
    detail, body = (
        np.stack([spectra[:, mask].mean(axis=1) for mask in _sector_masks(spectra.shape[1], low, high)], axis=1)
        for low, high in ((2**-1.5, 0.5), (2**-3.5, 2**-2.5))
    )
    return detail, body


def _ring_power(
    spectra: Float64[np.ndarray, "blocks n half"], low: float, high: float
) -> Float64[np.ndarray, " blocks"]:
    return spectra[:, np.logical_or.reduce(_sector_masks(spectra.shape[1], low, high))].mean(axis=1)


def _halved(plane: Float64[np.ndarray, "s s"]) -> Float64[np.ndarray, "t t"]:
    n = plane.shape[0] // 2 * 2
    return (plane[0:n:2, 0:n:2] + plane[1:n:2, 0:n:2] + plane[0:n:2, 1:n:2] + plane[1:n:2, 1:n:2]) / 4


def _whole_plane(half: Float64[np.ndarray, "n half"]) -> Float64[np.ndarray, "n n"]:
    n = half.shape[0]
    mirrored = half[(-np.arange(n)) % n][:, 1 : n - half.shape[1] + 1][:, ::-1]
    return np.concatenate([half, mirrored], axis=1)


@lru_cache(maxsize=16)
def _window(n: int) -> Float64[np.ndarray, "n n"]:
    rise = np.hanning(n + 1)[:n]
    return np.outer(rise, rise)


@lru_cache(maxsize=16)
def _radius(n: int) -> Float64[np.ndarray, "n n"]:
    frequency = np.fft.fftfreq(n)
    return np.hypot(frequency[:, None], frequency[None])


@lru_cache(maxsize=64)
def _sector_masks(n: int, low: float, high: float) -> tuple[Bool[np.ndarray, "n half"], ...]:
    """Return the bins of one ring, low <= radius < high, by direction: along x, a diagonal, along y, the other."""
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    step = np.pi / NUM_DIRECTIONS
    sector = np.floor((np.arctan2(fy, fx) + step / 2) % np.pi / step).astype(np.intp)
    radius = np.hypot(fy, fx)
    return tuple((radius >= low) & (radius < high) & (sector == index) for index in range(NUM_DIRECTIONS))


@lru_cache(maxsize=16)
def _lattice_bins(n: int) -> tuple[Int64[np.ndarray, "4 lattices"], Int64[np.ndarray, "4 lattices"]]:
    """Return rows and columns of the four bins of every square lattice, turned by any angle, that `GRID_PERIODS` allow.

    Its axes are (u, v) and (-v, u) in bins, in half-bin steps over a quarter of the plane; the rest is symmetric.
    """
    steps = np.arange(0, n / GRID_PERIODS[0], 0.5)
    u, v = (axis.ravel() for axis in np.meshgrid(steps[1:], steps, indexing="ij"))
    inside = (np.hypot(u, v) >= n / GRID_PERIODS[1]) & (np.hypot(u, v) < n / GRID_PERIODS[0])
    u, v = u[inside], v[inside]
    columns, rows = np.stack([u, -v, 2 * u, -2 * v]), np.stack([v, u, 2 * v, 2 * u])
    return np.rint(rows).astype(np.int64) % n, np.rint(columns).astype(np.int64) % n
