"""Lets networks that work in [0, 1], on three channels or on luma alone, take and give colour pictures in [-1, 1]."""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn

__all__ = ["Adapted"]

LUMA = (0.299, 0.587, 0.114)
"""Of red, green and blue in JPEG's luma (ITU-R BT.601)."""


class Adapted(nn.Module):
    """`inner` for pictures in [-1, 1]; a network of one channel corrects the luma, and leaves both chromas alone.

    Args:
        inner: in [0, 1], with `scale`, `stride`, `reach` and `colours`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @property
    def scale(self) -> int:
        """Output pixels per input pixel along each axis."""
        return int(self.inner.scale)  # pyright: ignore[reportArgumentType]

    @property
    def stride(self) -> int:
        """Tiles must start on a multiple of this many input pixels."""
        return int(self.inner.stride)  # pyright: ignore[reportArgumentType]

    @property
    def reach(self) -> int:
        """How many input pixels away an input pixel can be and still change an output pixel."""
        return int(self.inner.reach)  # pyright: ignore[reportArgumentType]

    @property
    def margin(self) -> int:
        """How many input pixels around a tile are read: the reach, or the network's own choice."""
        return int(getattr(self.inner, "margin", self.reach))

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 k*h k*w"]:
        """Return the network's pictures, in [-1, 1] as far as the network keeps to its own range."""
        if self.inner.colours == 1:
            weights = torch.tensor(LUMA, dtype=picture.dtype, device=picture.device).reshape(1, 3, 1, 1)
            luma_01 = ((picture * weights).sum(dim=1, keepdim=True) + 1.0) / 2.0
            return picture + 2.0 * (self.inner(luma_01) - luma_01)
        return self.inner((picture + 1.0) / 2.0) * 2.0 - 1.0
