"""How published metrics bring pictures to their network's size: five ways that give five different numbers.

All take uint8 and return float32 levels. Every one leaves pictures alone that have the size already. Which library uses
which is in docs/precision.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor
from torch.nn import functional

__all__ = ["RESIZERS", "resize_antialias", "resize_clean", "resize_pillow", "resize_tf1", "resize_torch"]

PILLOW_BITS = 22
"""Binary places of Pillow's weights for 8-bit pictures."""
LARGE = 400 * 400
"""Pixels from which pictures are converted one by one: twice as fast at 512 and 1024 pixels, slower below."""


def resize_tf1(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures as TensorFlow 1's `resize_bilinear` does: source = target * (in / out), no filter.

    Half a pixel off, and aliased when it shrinks: this is what the first FID code had, so it is what FID means.
    """
    return _in_parts(lambda part: _tf1_columns(_tf1_rows(part, height), height, width), images)


def _tf1_rows(images: UInt8[Tensor, "n 3 h w"], height: int) -> Tensor:
    """Return the wanted rows alone where there are fewer of them, channels last in memory."""
    before = images.shape[2]
    if before <= height:
        return images.to(torch.float32, memory_format=torch.channels_last)
    scale = torch.tensor(before, dtype=torch.float32) / height
    places = torch.arange(height, device=images.device) * scale.to(images.device)
    above = places.floor().long()
    below = (above + 1).clamp_(max=before - 1)
    upper, lower = images.index_select(2, above).float(), images.index_select(2, below).float()
    return torch.lerp(upper, lower, (places - above)[:, None]).contiguous(memory_format=torch.channels_last)


def _tf1_columns(rows: Float32[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return TensorFlow 1's interpolation between columns, and between rows where not all are there yet.

    Padded by one repeated row and column, it is the common interpolation between outermost pixel centres without its
    last row and column: source = target * ((in + 1) - 1) / ((out + 1) - 1).
    """
    padded = functional.pad(rows, (0, 1, 0, 1), mode="replicate")
    larger = functional.interpolate(padded, size=(height + 1, width + 1), mode="bilinear", align_corners=True)
    return larger[:, :, :height, :width]


def resize_torch(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures as pytorch-fid does: bilinear between pixel centres, without a filter (aliases)."""

    def resized(part: UInt8[Tensor, "b 3 h w"]) -> Float32[Tensor, "b 3 height width"]:
        levels = part.to(torch.float32, memory_format=torch.channels_last)
        return functional.interpolate(levels, size=(height, width), mode="bilinear", align_corners=False)

    return _in_parts(resized, images)


def resize_antialias(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures by a triangle filter as wide as the shrinking, torchmetrics' default since 1.8."""
    return _in_parts(lambda part: _filtered(part, height, width, "bilinear"), images)


def resize_clean(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures as clean-fid does: Pillow's bicubic filter in floats, clipped to 0..255, not rounded."""
    return _in_parts(lambda part: _filtered(part, height, width, "bicubic").clamp_(0, 255), images)


def _filtered(
    images: UInt8[Tensor, "n 3 h w"], height: int, width: int, mode: str
) -> Float32[Tensor, "n 3 height width"]:
    return functional.interpolate(images.float(), size=(height, width), mode=mode, align_corners=False, antialias=True)


def _in_parts(resize: Callable[[Tensor], Tensor], images: UInt8[Tensor, "n 3 h w"]) -> Tensor:
    """Return the parts' results as one; large pictures go one by one on a CPU, whose caches would not hold more."""
    if images.device.type == "cpu" and images.shape[2] * images.shape[3] > LARGE:
        return torch.cat([resize(image) for image in images.split(1)])
    return resize(images)


def resize_pillow(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return what Pillow's bicubic filter makes of uint8 pictures, to the bit and on every device.

    Pillow rounds after the rows and again after the columns, with weights of 22 binary places. Their sums are whole
    numbers below 2^53, so matrix products in float64 have them exactly, in whatever order they add.
    """
    across, down = _pillow_weights(images.shape[3], width), _pillow_weights(images.shape[2], height)
    made = []
    for image in images.to("cpu" if images.device.type == "mps" else images.device):
        rows = _rounded(image.double() @ across.to(image.device).T)
        made.append(_rounded(down.to(image.device) @ rows).float())
    return torch.stack(made).to(images.device)


def _rounded(sums: Float64[Tensor, "3 h w"]) -> Float64[Tensor, "3 h w"]:
    return torch.floor(sums / 2**PILLOW_BITS + 0.5).clamp_(0, 255)


@lru_cache(maxsize=64)
def _pillow_weights(before: int, after: int) -> Float64[Tensor, "after before"]:
    """Return Keys' cubic with a = -0.5, stretched when it shrinks, cut off at the border; whole numbers of 2^-22."""
    scale = before / after
    stretch = max(scale, 1.0)
    weights = torch.zeros(after, before, dtype=torch.float64)
    for target in range(after):
        centre = (target + 0.5) * scale
        first, end = max(int(centre - 2 * stretch + 0.5), 0), min(int(centre + 2 * stretch + 0.5), before)
        places = torch.arange(first, end, dtype=torch.float64)
        near = _keys((places - centre + 0.5) / stretch)
        whole = near / near.sum() * 2**PILLOW_BITS
        weights[target, first:end] = torch.trunc(whole + torch.copysign(torch.full_like(whole, 0.5), whole))
    return weights


def _keys(distances: Float64[Tensor, " k"]) -> Float64[Tensor, " k"]:
    """Return the cubic convolution kernel of Keys 1981, equation 15 (a = -0.5)."""
    x = distances.abs()
    inner = (1.5 * x - 2.5) * x * x + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, inner, torch.where(x < 2, outer, 0.0))


Resizer: TypeAlias = Callable[[UInt8[Tensor, "n 3 h w"], int, int], Float32[Tensor, "n 3 height width"]]

RESIZERS: Mapping[str, Resizer] = MappingProxyType(
    {
        "tf1": resize_tf1,
        "torch": resize_torch,
        "antialias": resize_antialias,
        "clean": resize_clean,
        "pillow": resize_pillow,
    }
)
