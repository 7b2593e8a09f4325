"""Self-attention between the pixels of feature maps (Zhang et al. 2019, section 3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.layers import full_precision
from gan.spectral import SpectralConv2d

__all__ = ["SelfAttention"]

REDUCTION = 8
"""Of the channels in which pixels are compared."""


class SelfAttention(nn.Module):
    """Maps plus gamma times what each pixel gathers from all others; gamma is learned and begins at 0.

    Memory and time grow with the square of the pixels. Written out, since the fused kernels have no second derivative,
    which gradient penalties need.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(1, channels // REDUCTION)
        self.key = SpectralConv2d(channels, narrow, 1, bias=False)
        self.query = SpectralConv2d(channels, narrow, 1, bias=False)
        self.value = SpectralConv2d(channels, narrow, 1, bias=False)
        self.out = SpectralConv2d(narrow, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def weights(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p q"]:
        """Return how much of each pixel q each pixel p gathers; rows sum to 1, in float32 (equation 1)."""
        keys, queries = self.key(maps).flatten(2), self.query(maps).flatten(2)
        with full_precision(maps):
            return torch.softmax(queries.transpose(1, 2).float() @ keys.float(), dim=2)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the maps with what their pixels gathered (equations 2 and 3)."""
        values = self.value(maps).flatten(2)
        gathered = values @ self.weights(maps).transpose(1, 2).to(values.dtype)
        return maps + self.gamma * self.out(gathered.unflatten(2, maps.shape[2:]))
