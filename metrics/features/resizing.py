"""How published metrics bring pictures to their network's size: five ways that give five different numbers.

All take uint8 and return float32 levels. Every one leaves pictures alone that have the size already. Which library uses
which is in docs/precision.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

__all__ = ["RESIZERS", "resize_antialias", "resize_clean", "resize_pillow", "resize_tf1", "resize_torch"]


def resize_tf1(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures as TensorFlow 1's `resize_bilinear` does: source = target * (in / out), no filter.

    Half a pixel off, and aliased when it shrinks: this is what the first FID code had, so it is what FID means. Padded
    by one repeated row and column, it is the common interpolation between outermost pixel centres, without its last
    row and column: source = target * ((in + 1) - 1) / ((out + 1) - 1).
    """
    padded = functional.pad(images.float(), (0, 1, 0, 1), mode="replicate")
    size = (height + 1, width + 1)
    larger = functional.interpolate(padded, size=size, mode="bilinear", align_corners=True)
    return larger[:, :, :height, :width]


def resize_torch(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures as pytorch-fid does: bilinear between pixel centres, without a filter (aliases)."""
    return functional.interpolate(images.float(), size=(height, width), mode="bilinear", align_corners=False)


def resize_antialias(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures by a triangle filter as wide as the shrinking, torchmetrics' default since 1.8."""
    return functional.interpolate(
        images.float(), size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )


def resize_clean(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures as clean-fid does: Pillow's bicubic filter in floats, clipped to 0..255, not rounded."""
    return _bicubic(images.float(), height, width).clamp_(0, 255)


def resize_pillow(images: UInt8[Tensor, "n 3 h w"], height: int, width: int) -> Float32[Tensor, "n 3 height width"]:
    """Return the pictures as Pillow's bicubic filter gives uint8 ones: rounded after rows, and again after columns."""
    if images.device.type == "cpu":
        return _bicubic(images, height, width).float()
    rows = _bicubic(images.float(), images.shape[2], width).round_().clamp_(0, 255)
    return _bicubic(rows, height, width).round_().clamp_(0, 255)


def _bicubic(images: Tensor, height: int, width: int) -> Tensor:
    """Return the convolution with Keys' cubic, a = -0.5, stretched when it shrinks; the uint8 one is Pillow's own."""
    return functional.interpolate(images, size=(height, width), mode="bicubic", align_corners=False, antialias=True)


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
