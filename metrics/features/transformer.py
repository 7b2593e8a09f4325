"""The pre-norm transformer block that CLIP's and DINOv2's vision networks share (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Block", "LayerScale", "quick_gelu"]


class Block(nn.Module):
    """Attention between tokens, then a network on each token; both are added to their input."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        epsilon: float,
        activation: Callable[[Tensor], Tensor],
        scale: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.attn = Attention(width, heads)
        self.ls1 = scale(width)
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = Perceptron(width, activation)
        self.ls2 = scale(width)

    def forward(self, tokens: Float32[Tensor, "n t d"]) -> Float32[Tensor, "n t d"]:
        """Return tokens of the same shape."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017, section 3.2) of all tokens to all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Float32[Tensor, "n t d"]) -> Float32[Tensor, "n t d"]:
        """Return tokens of the same shape."""
        n, t, d = tokens.shape
        split = self.qkv(tokens).view(n, t, 3, self.heads, d // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return self.proj(mixed.transpose(1, 2).reshape(n, t, d))


class Perceptron(nn.Module):
    """Four times as wide, and back."""

    def __init__(self, width: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.activation = activation

    def forward(self, tokens: Float32[Tensor, "n t d"]) -> Float32[Tensor, "n t d"]:
        """Return tokens of the same shape."""
        return self.fc2(self.activation(self.fc1(tokens)))


class LayerScale(nn.Module):
    """A learned factor for each channel (Touvron et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Float32[Tensor, "n t d"]) -> Float32[Tensor, "n t d"]:
        """Return tokens of the same shape."""
        return tokens * self.gamma


def quick_gelu(values: Float32[Tensor, "*any"]) -> Float32[Tensor, "*any"]:
    """Return x * sigmoid(1.702 x), which OpenAI's CLIP was trained with instead of the error function's form."""
    return values * torch.sigmoid(1.702 * values)
