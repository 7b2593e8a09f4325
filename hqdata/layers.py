"""Layers that the restorer and the generator share."""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResidualPair", "flatness_gate", "local_mean"]

FLAT = 0.004
"""Mean absolute detail, half a grey level in [-1, 1], below which a picture counts as flat."""


class ResidualPair(nn.Module):
    """`feature + convolution(activation(convolution(feature)))`, without normalisation.

    Args:
        channels: width.
        start_scale: factor on the second convolution's initial weights, so that a deep stack starts near the identity.
        slope: PReLU's initial slope. Weights are scaled for it (He et al. 2015) when given, else torch's default stays.
    """

    def __init__(self, channels: int, *, start_scale: float, slope: float | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.PReLU(channels, init=0.25 if slope is None else slope)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        if slope is not None:
            nn.init.kaiming_normal_(self.first.weight, a=slope)
            nn.init.kaiming_normal_(self.second.weight, a=slope)
        with torch.no_grad():
            self.second.weight.mul_(start_scale)

    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        """Return the feature, corrected."""
        return feature + self.second(self.activation(self.first(feature)))


def local_mean(feature: Float32[Tensor, "n c h w"], side: int) -> Float32[Tensor, "n c h w"]:
    """Return each place's mean over a square of odd `side`; edges are continued."""
    return functional.avg_pool2d(functional.pad(feature, (side // 2,) * 4, mode="replicate"), side, stride=1)


def flatness_gate(detail: Float32[Tensor, "n c h w"], side: int) -> Float32[Tensor, "n 1 h w"]:
    """Return 0 where the picture is flat and 1 where it is not, from its detail over a square of odd `side`.

    A correction times this gate leaves flat areas exactly as they are: a constant picture comes back constant, and no
    network can print a pattern onto a plain wall.
    """
    activity = local_mean(detail.abs().mean(dim=1, keepdim=True), side)
    return (activity / FLAT).clamp(max=1.0)
