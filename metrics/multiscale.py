"""Multi-scale structural similarity of pictures (Wang, Simoncelli and Bovik 2003), and the diversity of a set by it.

`ms_ssim` is the published measure; `ms_ssim_progan` is the variant of Karras et al. 2018, whose window shrinks with the
picture. Both filter sum and difference of the two pictures instead of the pictures: with S = a + b and D = a - b,
var S - var D = 4 cov(a, b) and var S + var D = 2 (var a + var b), so that four filtered planes do for five.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_images, checked_tensor
from metrics.bands import Band, band_of, down_columns, full_precision, over_rows

__all__ = ["Diversity", "ms_ssim", "ms_ssim_diversity", "ms_ssim_progan"]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first; Wang et al. 2003, section 3.2. They sum to 1.0001."""
WINDOW = 11
SIGMA = 1.5
"""Gaussian window, side and deviation in pixels."""
K1, K2 = 0.01, 0.03
LEAST_SIDE = (WINDOW - 1) * 2 ** (len(WEIGHTS) - 1) + 1
"""161 pixels: halved four times, rounding up, it holds one window."""
LEAST_PROGAN_SIDE = 16
CHUNK_BYTES = {"cpu": 1 << 19, "cuda": 256 << 20}
"""Of finest float32 planes filtered at once: a core's cache, or enough to fill a GPU."""
PAIRS = 256
"""Pairs gathered at once."""

Planes: TypeAlias = Float32[Tensor, "h p w"]
"""Height first, then pictures and channels, then width: the order in which filtering is cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversity:
    """How alike the pictures of a set are to each other."""

    mean: float
    """MS-SSIM over pairs of different pictures; the lower, the more varied."""
    standard_error: float
    """Of the mean, for pictures drawn independently; pairs that share a picture are taken for dependent."""
    pairs: int


def ms_ssim(a: ArrayLike, b: ArrayLike, data_range: float = 255.0) -> Float64[Tensor, " n"]:
    """Return each pair's MS-SSIM: contrast and structure at five scales, luminance at the coarsest.

    Windows lie wholly inside. Between scales 2 x 2 pixels become one; an odd side first repeats its last row or column.
    Each scale's mean over a channel is clipped at 0, raised to its weight and multiplied; channels are averaged last.

    Args:
        a: pictures, uint8 or float (n, c, h, w) with 1 or 3 channels; sides of at least 161 pixels.
        b: what to compare them with, in the same order and of the same shape.
        data_range: greatest possible level, 255 for uint8; floats lie in 0..data_range.

    Returns:
        1 for equal pictures, 0 at the least; on the pictures' device.

    Raises:
        TypeError: when the arrays are neither uint8 nor float.
        ValueError: when shapes differ or do not fit, levels lie outside, or the pictures are too small.
    """
    first, second = _checked_pair(a, b, data_range)
    height, width = first.shape[2:]
    if min(height, width) < LEAST_SIDE:
        raise ValueError(
            f"images must be at least {LEAST_SIDE} x {LEAST_SIDE} pixels, got {height} x {width}; for small pictures"
            " use metrics.ms_ssim_progan, whose values are others"
        )
    return _product(_scales(first, second, data_range, shrink=False)).mean(dim=1)


def ms_ssim_progan(a: ArrayLike, b: ArrayLike, data_range: float = 255.0) -> Float64[Tensor, " n"]:
    """Return each pair's MS-SSIM as in ProGAN's evaluation, for pictures from 16 pixels on.

    The window shrinks to the picture at each scale, its deviation with it; means are over pixels and channels together
    before clipping and multiplying. At 256 px it differs from `ms_ssim` by about 1e-4.

    Args:
        a: pictures, uint8 or float (n, c, h, w) with 1 or 3 channels.
        b: what to compare them with, in the same order and of the same shape.
        data_range: greatest possible level, 255 for uint8; floats lie in 0..data_range.

    Raises:
        TypeError: when the arrays are neither uint8 nor float.
        ValueError: when shapes differ or do not fit, levels lie outside, or the pictures are too small.
    """
    first, second = _checked_pair(a, b, data_range)
    height, width = first.shape[2:]
    if min(height, width) < LEAST_PROGAN_SIDE:
        raise ValueError(
            f"images must be at least {LEAST_PROGAN_SIDE} x {LEAST_PROGAN_SIDE} pixels, got {height} x {width}"
        )
    return _product(_scales(first, second, data_range, shrink=True).mean(dim=2))


def ms_ssim_diversity(images: ArrayLike, pairs: int = 10_000, seed: int = 0) -> Diversity:
    """Return the mean `ms_ssim_progan` over random pairs of different pictures, as Karras et al. 2018 judge variation.

    Pictures are dealt into pairs again and again until there are enough, so that each is used equally often to one.
    The paper takes 10,000 pairs of 20,000 pictures.

    Args:
        images: uint8 (n, 3, h, w), sides from 16 pixels on.
        pairs: to average; all there are when the set has fewer.
        seed: of the dealing.

    Raises:
        ValueError: when there are fewer than three pictures, or less than two pairs are asked for: one tells no error.
    """
    pictures = checked_images("images", images, least=3)
    if pairs < 2:
        raise ValueError(f"pairs must be at least 2, got {pairs}")
    first, second = (torch.from_numpy(side).to(pictures.device) for side in _dealt(len(pictures), pairs, seed))
    parts = zip(first.split(PAIRS), second.split(PAIRS), strict=True)
    values = torch.cat([ms_ssim_progan(pictures[some], pictures[others]) for some, others in parts])
    return Diversity(
        mean=float(values.mean()),
        standard_error=_pair_error(values, first, second, len(pictures)),
        pairs=len(values),
    )


def _checked_pair(a: ArrayLike, b: ArrayLike, data_range: float) -> tuple[Tensor, Tensor]:
    if not 0 < data_range < math.inf:
        raise ValueError(f"data_range must be a positive number such as 255, got {data_range}")
    pair = _checked("a", a, data_range), _checked("b", b, data_range)
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"a and b must have the same shape, got {tuple(pair[0].shape)} and {tuple(pair[1].shape)}")
    if pair[0].device != pair[1].device:
        raise ValueError(f"a is on {pair[0].device}, b on {pair[1].device}; move one of them")
    return pair


def _checked(name: str, images: ArrayLike, data_range: float) -> Tensor:
    tensor = checked_tensor(name, images)
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise TypeError(f"{name} must be uint8, or float in 0..data_range, got {tensor.dtype}")
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or 0 in tensor.shape:
        raise ValueError(f"{name} must have shape (n, 1 or 3, height, width), got {tuple(tensor.shape)}")
    low, high = (float(extreme) for extreme in torch.aminmax(tensor))
    if not math.isfinite(low + high):
        raise ValueError(f"{name} holds NaN or infinity; look where it was computed")
    if not 0 <= low <= high <= data_range:
        raise ValueError(
            f"{name} must lie in 0..{data_range:g}, got {low:g}..{high:g}; shift and scale it, or give the data_range"
            " that the levels really have"
        )
    return tensor


def _scales(a: Tensor, b: Tensor, data_range: float, *, shrink: bool) -> Float64[Tensor, "5 n c"]:
    """Return each channel's mean contrast and structure at four scales, and times luminance at the fifth."""
    pictures, channels = a.shape[:2]
    pairs = zip(*(_runs_of_planes(some) for some in (a, b)), strict=True)
    with full_precision(a.device):
        means = [_plane_scales(one + other, one - other, data_range, shrink) for one, other in pairs]
    return torch.cat(means, dim=1).view(-1, pictures, channels)


def _runs_of_planes(images: Tensor) -> Iterator[Planes]:
    """Yield the channels of all pictures, height first, in runs that are filtered fast."""
    limit = CHUNK_BYTES.get(images.device.type, CHUNK_BYTES["cpu"])
    for run in images.flatten(0, 1).split(max(1, limit // (4 * images[0, 0].numel()))):
        yield run.transpose(0, 1).float().contiguous()


def _plane_scales(total: Planes, difference: Planes, data_range: float, shrink: bool) -> Float64[Tensor, "5 p"]:
    means = []
    total, total_level = _centred(total)
    difference, difference_level = _centred(difference)
    for scale in range(len(WEIGHTS)):
        if scale:
            total, difference = _halved(total), _halved(difference)
        window = min(WINDOW, total.shape[0], total.shape[2]) if shrink else WINDOW
        levels = (total_level, difference_level) if scale == len(WEIGHTS) - 1 else None
        means.append(_similarity(total, difference, data_range, window, levels))
    return torch.stack(means)


def _centred(planes: Planes) -> tuple[Planes, Float64[Tensor, "p 1"]]:
    """Return the planes less their own mean level, and that: variances are differences of small squares then.

    The level is float64, so that the coarsest scale's luminance is: black on white it is a difference of great squares.
    """
    level = planes.mean(dim=(0, 2), dtype=torch.float64).unsqueeze(1)
    return planes - level.float(), level.float().double()


def _product(means: Float64[Tensor, "s n *c"]) -> Float64[Tensor, " n *c"]:
    weights = means.new_tensor(WEIGHTS).view(-1, *[1] * (means.ndim - 1))
    return (means.clamp_min(0) ** weights).prod(dim=0)


def _similarity(
    total: Planes, difference: Planes, data_range: float, window: int, levels: tuple[Tensor, Tensor] | None
) -> Float64[Tensor, " p"]:
    """Return each plane's mean of contrast times structure, given levels also times luminance; Wang et al., equation 6.

    Args:
        total: sum of the two pictures less its mean level.
        difference: of the two pictures, likewise.
        data_range: greatest possible level.
        window: side of the Gaussian.
        levels: what was taken from total and difference, to multiply by luminance as well; None for not.
    """
    planes = total.new_empty((len(total), 4 * total.shape[1], total.shape[2]))
    plain, squares = planes.chunk(2, dim=1)
    torch.cat([total, difference], dim=1, out=plain)
    torch.mul(plain, plain, out=squares)
    rows, columns = (_gaussian(length, window, planes.device) for length in (len(planes), planes.shape[2]))
    mean, difference_mean, square, difference_square = over_rows(columns, down_columns(rows, planes)).chunk(4, dim=1)
    c1, c2 = 2 * (K1 * data_range) ** 2, 2 * (K2 * data_range) ** 2
    spread = torch.addcmul(square, mean, mean, value=-1).add_(c2)
    difference_spread = torch.addcmul(difference_square, difference_mean, difference_mean, value=-1)
    alike = (spread - difference_spread).div_(spread.add_(difference_spread))
    if levels:
        of_total, of_difference = (mean + levels[0]).square_() + c1, (difference_mean + levels[1]).square_()
        alike = alike * ((of_total - of_difference) / (of_total + of_difference))
    return alike.mean(dim=2).double().mean(dim=0)


def _halved(planes: Planes) -> Planes:
    """Return the mean of each 2 x 2 pixels; an odd side repeats its last row or column once."""
    if len(planes) % 2:
        planes = torch.cat([planes, planes[-1:]])
    if planes.shape[2] % 2:
        planes = torch.cat([planes, planes[:, :, -1:]], dim=2)
    rows = planes[::2] + planes[1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]).mul_(0.25)


@lru_cache(maxsize=64)
def _gaussian(length: int, window: int, device: torch.device) -> Band:
    """Return the normalised Gaussian filter over all places where its window lies inside."""
    places = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(places**2) / (2 * (SIGMA * window / WINDOW) ** 2))
    matrix = np.zeros((length - window + 1, length))
    for place in range(len(matrix)):
        matrix[place, place : place + window] = weights / weights.sum()
    return band_of(matrix, device=device)


def _dealt(pictures: int, pairs: int, seed: int) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Return the first and second picture of each pair, all pairs different."""
    if pairs >= pictures * (pictures - 1) // 2:
        first, second = np.triu_indices(pictures, k=1)
        return first.astype(np.int64), second.astype(np.int64)
    rng = np.random.default_rng(seed)
    seen: dict[tuple[int, int], None] = {}
    while len(seen) < pairs:
        deal = rng.permutation(pictures)[: pictures // 2 * 2].reshape(-1, 2)
        seen.update(dict.fromkeys(map(tuple, np.sort(deal, axis=1).tolist())))
    chosen = np.array(list(seen)[:pairs], dtype=np.int64)
    return chosen[:, 0].copy(), chosen[:, 1].copy()


def _pair_error(values: Float64[Tensor, " p"], first: Tensor, second: Tensor, pictures: int) -> float:
    """Return the standard error of the mean of a function of pairs that may share pictures.

    Var = sum of e_p e_q over pairs p, q with a picture in common, over P^2 (Fafchamps and Gubert 2007); at least what
    it would be were pairs independent.
    """
    errors = values - values.mean()
    alone = float(errors.square().sum())
    shared = errors.new_zeros(pictures).index_add_(0, first, errors).index_add_(0, second, errors)
    return math.sqrt(max(float(shared.square().sum()) - alone, alone)) / len(values)
