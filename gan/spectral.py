"""Spectral normalisation: layers whose largest singular value is held at 1 (Miyato et al. 2018, section 2.1).

The singular vectors move by one power iteration when `advance_norms` is called, once before a network's step, and not
at every look: so all passes of a step see the same weights, and gradients of gradients can be taken.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FIRST_ITERATIONS", "SpectralConv2d", "SpectralLinear", "advance_norms"]

FIRST_ITERATIONS = 15
"""Of the power method on fresh weights, whose singular vectors are not known at all."""


class SpectralConv2d(nn.Conv2d):
    """Convolution whose weights, as a matrix (channels_out, all else), are divided by their largest singular value.

    Args:
        channels_in: of the input.
        channels_out: of the result.
        kernel: side of the kernel.
        stride: between the places where it is laid.
        padding: zeros around the input.
        bias: whether something is added.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> None:
        around = kernel // 2 if padding is None else padding
        super().__init__(channels_in, channels_out, kernel, stride, around, bias=bias)
        self.norm = _LargestSingularValue(self.weight)

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n e i j"]:
        """Return the maps convolved with the normalised weights."""
        return self._conv_forward(input, self.norm(self.weight), self.bias)


class SpectralLinear(nn.Linear):
    """Dense layer whose weights are divided by their largest singular value; its arguments are `torch.nn.Linear`'s."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.norm = _LargestSingularValue(self.weight)

    def forward(self, input: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        """Return the rows times the normalised weights."""
        return functional.linear(input, self.norm(self.weight), self.bias)


def advance_norms(network: nn.Module, *, iterations: int = 1) -> None:
    """Move the singular vectors of every spectral layer on, to follow weights that have changed."""
    for module in network.modules():
        if isinstance(module, SpectralConv2d | SpectralLinear):
            module.norm.advance(module.weight, iterations=iterations)


class _LargestSingularValue(nn.Module):
    """Estimates of the singular vectors of some weights."""

    left: Tensor
    right: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("left", functional.normalize(torch.randn_like(matrix[:, 0]), dim=0))
        self.register_buffer("right", torch.zeros_like(matrix[0]))
        self.advance(weight, iterations=FIRST_ITERATIONS)

    @torch.no_grad()
    def advance(self, weight: Tensor, *, iterations: int) -> None:
        """Come nearer to the singular vectors (algorithm 1)."""
        matrix = weight.flatten(1)
        for _ in range(0 if weight.is_meta else iterations):  # plans build networks without numbers, again and again
            self.right.copy_(functional.normalize(matrix.t() @ self.left, dim=0))
            self.left.copy_(functional.normalize(matrix @ self.right, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weights divided by u W v (equation 8); sums of products keep float32 under autocast."""
        return weight / (self.left[:, None] * weight.flatten(1) * self.right).sum()
