"""How much of a checkerboard a way of enlarging prints onto pictures, in four numbers (Odena et al. 2016).

Three are about the operation alone, before any training: whether its taps overlap unevenly (`uniform_overlap`,
`power_spread`), and whether its output phases can differ at all (`phase_variance`). The fourth, `stride_peaks`, is the
height of the peaks at the grid's frequencies in the spectrum of any pictures; that of generated pictures minus that of
real ones is worth logging while a generator learns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor
from torch.nn import functional

__all__ = [
    "UPSAMPLERS",
    "Peaks",
    "Upsampler",
    "has_grid",
    "phase_variance",
    "power_spread",
    "random_pictures",
    "stride_peaks",
    "uniform_overlap",
]

STRIDE = 2
LEAST_SIDE = 16
"""Smaller pictures have no spectrum beside the peaks."""
GRID = 8
"""Peaks are looked for at multiples of 1/8 of the sampling rate, where three enlargements leave their grids."""
NEAR, FAR = 2, 5
"""A peak is compared with bins this far from it, beyond the two that a Hann window smears it over."""
MARGIN = 6
"""Output pixels at the border of an impulse's surroundings, more than any kernel here reaches."""
SLOPE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsampler:
    """A layer that doubles height and width."""

    draw: Callable[[int, int, torch.Generator], Float[Tensor, "*shape"]]
    """Random weights of variance 1 for so many channels in and out."""
    apply: Callable[[Float[Tensor, "n c h w"], Float[Tensor, "*shape"]], Float[Tensor, "n e i j"]]
    """Enlarge maps with weights; (i, j) is at least twice (h, w), with the kernel's border."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Heights in decibels over the spectrum's surroundings; a checkerboard is some 15 or more, none is about 0."""

    nyquist: float
    """Mean of the grid of every second pixel: frequencies (1/2, 0), (0, 1/2) and (1/2, 1/2)."""
    strides: float
    """Mean of all multiples of 1/8 in either direction from 1/4 on: grids of 2, 4 and 8 pixels; from 64 pixels on."""


def uniform_overlap(upsampler: Upsampler) -> float:
    """Return the squared coefficient of variation of the output phases, with all weights and inputs 1.

    What Odena et al. draw: 0 where every output pixel sees equally many taps, 19/81 for a transposed convolution of
    3 x 3 taps and stride 2.
    """
    ones = torch.ones_like(upsampler.draw(1, 1, torch.Generator()))
    phases = _phases(upsampler.apply(torch.ones(1, 1, 2 * MARGIN, 2 * MARGIN), ones))
    return _squared_variation(phases.mean(dim=(0, 1, 3)))


def phase_variance(upsampler: Upsampler, *, channels: int = 64, seed: int = 0) -> float:
    """Return the share of a flat input's response that differs between phases, over random weights.

    3/4 where the four phases have weights of their own: nothing but training then keeps flat areas flat. 0 where they
    share them.
    """
    weights = upsampler.draw(channels, channels, torch.Generator().manual_seed(seed)).double()
    flat = torch.ones(1, channels, 2 * MARGIN, 2 * MARGIN, dtype=torch.float64)
    means = _phases(upsampler.apply(flat, weights)).mean(dim=(0, 3))
    return float(means.var(dim=1, correction=0).mean() / means.square().mean())


def power_spread(upsampler: Upsampler, *, channels: int = 64, seed: int = 0) -> float:
    """Return the squared coefficient of variation of the phases' power, for white noise through random weights.

    The sum of the squared impulse responses, so exact in the noise. Equals `uniform_overlap` for transposed
    convolutions.
    """
    weights = upsampler.draw(channels, channels, torch.Generator().manual_seed(seed)).double()
    impulses = torch.zeros(channels, channels, 2 * MARGIN + 1, 2 * MARGIN + 1, dtype=torch.float64)
    each = torch.arange(channels)
    impulses[each, each, MARGIN, MARGIN] = 1.0
    response = upsampler.apply(impulses, weights)
    height, width = (side // STRIDE * STRIDE for side in response.shape[2:])
    cells = response[:, :, :height, :width].unflatten(2, (-1, STRIDE)).unflatten(4, (-1, STRIDE))
    return _squared_variation(cells.square().sum(dim=(0, 1, 2, 4)).flatten())


def has_grid(height: int, width: int) -> bool:
    """Return whether pictures of this size can be measured by `stride_peaks`."""
    return min(height, width) >= LEAST_SIDE and height % GRID == 0 and width % GRID == 0


def stride_peaks(images: Shaped[Tensor, "n c h w"]) -> Peaks:
    """Return how far the grids' frequencies stand out of the mean spectrum of some pictures.

    The mean periodogram over pictures and channels, each without its mean and under a Hann window. Real pictures have
    values of their own, so compare with those.

    Args:
        images: any numbers, such as uint8; sides of at least 16 pixels, multiples of 8.

    Raises:
        ValueError: when there are no pictures, or their sides are too small or no multiples.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must have shape (n, c, h, w) without a zero, got {tuple(images.shape)}")
    height, width = images.shape[2:]
    if not has_grid(height, width):
        raise ValueError(
            f"images must have sides of at least {LEAST_SIDE} pixels, multiples of {GRID}, got {height} x {width}"
        )
    spectrum = _mean_periodogram(images)
    half = GRID // 2
    lines = range(-half + 1, half + 1)
    places = [(i, j) for i in lines for j in lines if max(abs(i), abs(j)) >= GRID // 4]
    heights = {(i, j): _height(spectrum, i * height // GRID, j * width // GRID) for i, j in places}
    nyquist = [heights[half, 0], heights[0, half], heights[half, half]]
    return Peaks(nyquist=sum(nyquist) / len(nyquist), strides=sum(heights.values()) / len(heights))


def random_pictures(
    upsampler: Upsampler, *, count: int = 16, layers: int = 4, channels: int = 32, seed: int = 0
) -> Float[Tensor, "n 3 s s"]:
    """Return what an untrained generator draws: noise of 8 x 8, enlarged `layers` times with leaky rectifiers between.

    Args:
        upsampler: every layer's.
        count: pictures.
        layers: doublings, from 8 pixels to 8 * 2^layers.
        channels: of every layer but the last, which has 3.
        seed: of weights and noise.
    """
    random = torch.Generator().manual_seed(seed)
    maps = torch.randn(count, channels, 8, 8, generator=random)
    for layer in range(layers):
        side, out = maps.shape[-1] * STRIDE, 3 if layer == layers - 1 else channels
        maps = _cropped(upsampler.apply(maps, upsampler.draw(channels, out, random)), side)
        maps = functional.leaky_relu(maps / maps.std(), SLOPE) if out == channels else maps
    return maps


def _mean_periodogram(images: Shaped[Tensor, "n c h w"]) -> Float64[Tensor, "h w"]:
    height, width = images.shape[2:]
    window = torch.outer(
        torch.hann_window(height, dtype=torch.float64), torch.hann_window(width, dtype=torch.float64)
    ).to(images.device)
    total = torch.zeros(height, width, dtype=torch.float64, device=images.device)
    for some in images.split(64):
        planes = some.double()
        planes = planes - planes.mean(dim=(2, 3), keepdim=True)
        total += torch.fft.fft2(planes * window).abs().square().sum(dim=(0, 1))
    return (total / (images.shape[0] * images.shape[1])).cpu()


def _height(spectrum: Float64[Tensor, "h w"], row: int, column: int) -> float:
    """Return the decibels of a bin over the median of those around it."""
    around = torch.roll(spectrum, (FAR - row, FAR - column), dims=(0, 1))[: 2 * FAR + 1, : 2 * FAR + 1]
    away = (torch.arange(2 * FAR + 1) - FAR).abs()
    ring = torch.maximum(away[:, None], away[None]) >= NEAR
    tiny = torch.finfo(torch.float64).tiny
    return float(10 * torch.log10((around[FAR, FAR] + tiny) / (around[ring].median() + tiny)))


def _phases(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c p q"]:
    """Return the pixels of each of the four phases, away from the border."""
    inner = maps[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
    height, width = (side // STRIDE * STRIDE for side in inner.shape[2:])
    cells = inner[:, :, :height, :width].unflatten(3, (-1, STRIDE)).unflatten(2, (-1, STRIDE))
    return cells.permute(0, 1, 3, 5, 2, 4).flatten(4).flatten(2, 3)


def _squared_variation(values: Float[Tensor, " p"]) -> float:
    return float(values.var(correction=0) / values.mean().square())


def _cropped(maps: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n c s s"]:
    top, left = ((have - side) // 2 for have in maps.shape[2:])
    return maps[:, :, top : top + side, left : left + side]


def _transposed(side: int) -> Upsampler:
    def draw(channels_in: int, channels_out: int, random: torch.Generator) -> Float[Tensor, "i o k k"]:
        return torch.randn(channels_in, channels_out, side, side, generator=random)

    def enlarge(maps: Float[Tensor, "n c h w"], weights: Float[Tensor, "c e k k"]) -> Float[Tensor, "n e i j"]:
        return functional.conv_transpose2d(maps, weights.to(maps.dtype), stride=STRIDE)

    return Upsampler(draw=draw, apply=enlarge)


def _resized(mode: str) -> Upsampler:
    def enlarge(maps: Float[Tensor, "n c h w"], weights: Float[Tensor, "e c 3 3"]) -> Float[Tensor, "n e i j"]:
        smooth = {"align_corners": False} if mode == "bilinear" else {}
        large = functional.interpolate(maps, scale_factor=STRIDE, mode=mode, **smooth)
        return functional.conv2d(large, weights.to(maps.dtype), padding=1)

    return Upsampler(draw=_three_by_three, apply=enlarge)


def _subpixel(draw: Callable[[int, int, torch.Generator], Float[Tensor, "o i 3 3"]]) -> Upsampler:
    def enlarge(maps: Float[Tensor, "n c h w"], weights: Float[Tensor, "4*e c 3 3"]) -> Float[Tensor, "n e i j"]:
        return functional.pixel_shuffle(functional.conv2d(maps, weights.to(maps.dtype), padding=1), STRIDE)

    return Upsampler(draw=draw, apply=enlarge)


def _three_by_three(channels_in: int, channels_out: int, random: torch.Generator) -> Float[Tensor, "o i 3 3"]:
    return torch.randn(channels_out, channels_in, 3, 3, generator=random)


def _one_a_phase(channels_in: int, channels_out: int, random: torch.Generator) -> Float[Tensor, "4*o i 3 3"]:
    return _three_by_three(channels_in, STRIDE**2 * channels_out, random)


def _one_for_all_phases(channels_in: int, channels_out: int, random: torch.Generator) -> Float[Tensor, "4*o i 3 3"]:
    """Initialise as nearest-neighbour enlarging ("ICNR", Aitken et al. 2017)."""
    return _three_by_three(channels_in, channels_out, random).repeat_interleave(STRIDE**2, dim=0)


UPSAMPLERS: Mapping[str, Upsampler] = {
    **{f"transposed {side}": _transposed(side) for side in (2, 3, 4, 5, 6)},
    "nearest + 3": _resized("nearest"),
    "bilinear + 3": _resized("bilinear"),
    "subpixel": _subpixel(_one_a_phase),
    "subpixel ICNR": _subpixel(_one_for_all_phases),
}
"""Common ways of doubling; the numbers are the kernels' sides."""
