"""What every measure of this room asks of its arrays: numpy or torch, finite, of the right shape; float64 inside."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

__all__ = ["ArrayLike", "checked_images", "checked_rows", "checked_tensor", "same_width", "to_uint8"]

ArrayLike: TypeAlias = "np.ndarray | Tensor"
"""Either library's array; a tensor's work stays on its device."""


def checked_rows(name: str, rows: ArrayLike, *, least: int = 1) -> Float64[Tensor, "n d"]:
    """Return features as float64 on their own device.

    Args:
        name: the argument's name, for messages.
        rows: (n, d), any real type; one row for each picture.
        least: rows that the caller's formula needs.

    Raises:
        TypeError: when it is no array of real numbers.
        ValueError: when it is not two-dimensional, too short, or holds NaN or infinity.
    """
    tensor = checked_tensor(name, rows)
    if tensor.ndim != 2 or tensor.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, d), one row for each picture, got {tuple(tensor.shape)}")
    if len(tensor) < least:
        raise ValueError(f"{name} must have at least {least} rows, got {len(tensor)}; give more pictures")
    finite = torch.isfinite(tensor).all(dim=1)
    if not bool(finite.all()):
        row = int(torch.argmin(finite.int()))
        raise ValueError(f"{name} holds NaN or infinity in row {row}; look where it was computed")
    return tensor.cpu().double() if tensor.device.type == "mps" else tensor.double()  # MPS has no float64


def same_width(reference: Float64[Tensor, "n d"], generated: Float64[Tensor, "m e"]) -> None:
    """Refuse two sets of features that cannot come of one extractor, or lie on different devices."""
    if reference.shape[1] != generated.shape[1]:
        raise ValueError(
            f"reference and generated must have rows of one length, got {tuple(reference.shape)} and"
            f" {tuple(generated.shape)}; use one extractor for both"
        )
    if reference.device != generated.device:
        raise ValueError(f"reference is on {reference.device}, generated on {generated.device}; move one of them")


def checked_images(name: str, images: ArrayLike, *, least: int = 1) -> UInt8[Tensor, "n 3 h w"]:
    """Return pictures as a uint8 tensor on their own device, without a copy where none is needed.

    Raises:
        TypeError: when they are not uint8: a range is never guessed from a type or a maximum.
        ValueError: when they have another shape than (n, 3, h, w), or are fewer than `least`.
    """
    tensor = checked_tensor(name, images)
    if tensor.dtype != torch.uint8:
        raise TypeError(
            f"{name} must be uint8 RGB in 0..255, got {tensor.dtype}; for floats say their range once with"
            " metrics.to_uint8(images, value_range=(-1, 1))"
        )
    if tensor.ndim != 4 or tensor.shape[1] != 3 or 0 in tensor.shape[1:]:
        raise ValueError(f"{name} must have shape (n, 3, height, width), got {tuple(tensor.shape)}{_hint(tensor)}")
    if len(tensor) < least:
        raise ValueError(f"{name} must hold at least {least} pictures, got {len(tensor)}")
    return tensor


def to_uint8(images: ArrayLike, *, value_range: tuple[float, float]) -> UInt8[Tensor, "n c h w"]:
    """Return float pictures as uint8, rounded to the nearest level and saturated, on their own device.

    For (-1, 1) this is Karras et al.'s x * 127.5 + 127.5, rounded; never truncated, never wrapped.

    Args:
        images: (n, c, h, w), any float type.
        value_range: the levels that mean black and white, such as (-1, 1) or (0, 1).

    Raises:
        TypeError: when the pictures are not float.
        ValueError: when a value is NaN or infinite, or the range is empty.
    """
    tensor = checked_tensor("images", images)
    if not tensor.is_floating_point():
        raise TypeError(
            f"images must be float to be mapped from {value_range}, got {tensor.dtype}; uint8 is ready as is"
        )
    low, high = value_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range must be (black, white), finite, black below white, got {value_range}")
    if not bool(torch.isfinite(tensor).all()):
        bad = int(torch.argmin(torch.isfinite(tensor.flatten(1)).all(dim=1).int()))
        raise ValueError(f"images hold NaN or infinity in picture {bad}; look where it was computed")
    levels: Float32[Tensor, "n c h w"] = (tensor.float() - low) * (255.0 / (high - low))
    return levels.round().clamp(0, 255).to(torch.uint8)


def checked_tensor(name: str, values: ArrayLike) -> Tensor:
    """Return real numbers of any shape as a tensor, sharing their memory where it can."""
    if isinstance(values, np.ndarray):
        if values.dtype == object or values.dtype.kind not in "biuf":
            raise TypeError(f"{name} must be an array of real numbers, got dtype {values.dtype}")
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError(f"{name} must be a plain array, got a masked one; choose its valid rows")
        values = np.ascontiguousarray(values, dtype=_known_dtype(values.dtype))
        return torch.from_numpy(values if values.flags.writeable else values.copy())
    if isinstance(values, Tensor):
        if values.is_complex():
            raise TypeError(f"{name} must be real, got {values.dtype}")
        if values.layout != torch.strided:
            raise TypeError(f"{name} must be a dense tensor, got {values.layout}; call its to_dense()")
        return values.detach()
    raise TypeError(f"{name} must be a numpy array or a torch tensor, got {type(values).__name__}")


def _known_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type in this machine's byte order, and float64 for longer floats, as torch has them."""
    return np.dtype(np.float64) if dtype.kind == "f" and dtype.itemsize > 8 else dtype.newbyteorder("=")


def _hint(images: Tensor) -> str:
    if images.ndim == 4 and images.shape[-1] == 3:
        return "; channels come last here, permute to (n, 3, height, width)"
    if images.ndim == 4 and images.shape[1] == 1:
        return "; for grey pictures repeat the one channel three times"
    if images.ndim == 3:
        return "; add a first axis for a single picture"
    return ""
