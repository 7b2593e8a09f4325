"""The JPEG-artefact remover: a convolutional autoencoder with symmetric skips (RED-Net, Mao et al. 2016).

Differences from the paper, each because it learned faster on a CPU: the network works on 2x2 blocks of pixels, its
encoder and decoder layers are residual pairs, its activations are PReLU, and it starts as the identity. A stride-1
transposed convolution is a convolution, so the decoder is made of plain ones.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["SymmetricAutoencoder"]

START_SCALE = 0.1
"""Factor on the initial second convolution of each pair, so that a deep stack starts close to the identity."""


class SymmetricAutoencoder(nn.Module):
    """Restore a picture at its own size: `picture + correction`.

    The encoder's feature before each pair is added to the decoder's feature after the mirrored pair.

    Args:
        channels: width of every hidden layer.
        pairs: residual pairs in the encoder, and as many in the decoder.
    """

    architecture = "symmetric-autoencoder"
    """The name that weights files give."""
    scale = 1
    stride = 2
    """Pictures must be a multiple of this in height and width, and tiles must start on one."""

    def __init__(self, channels: int = 48, pairs: int = 4) -> None:
        super().__init__()
        self.channels, self.pairs = channels, pairs
        self.head = nn.Conv2d(3 * self.stride**2, channels, 3, padding=1)
        self.head_activation = nn.PReLU(channels)
        self.encoder = nn.ModuleList(_ResidualPair(channels) for _ in range(pairs))
        self.decoder = nn.ModuleList(_ResidualPair(channels) for _ in range(pairs))
        self.tail = nn.Conv2d(channels, 3 * self.stride**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(_bias(self.tail))

    @property
    def reach(self) -> int:
        """How many pixels away an input pixel can be and still change an output pixel."""
        convolutions = 2 + 2 * (len(self.encoder) + len(self.decoder))
        return self.stride * convolutions + self.stride - 1

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 h w"]:
        """Return the restored pictures, in [-1, 1] as far as the input is; h and w must be even."""
        feature = self.head_activation(self.head(functional.pixel_unshuffle(picture, self.stride)))
        skips = []
        for pair in self.encoder:
            skips.append(feature)
            feature = pair(feature)
        for pair, skip in zip(self.decoder, reversed(skips), strict=True):
            feature = pair(feature) + skip
        return picture + functional.pixel_shuffle(self.tail(feature), self.stride)


class _ResidualPair(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.PReLU(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(START_SCALE)
            _bias(self.second).zero_()

    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        return feature + self.second(self.activation(self.first(feature)))


def _bias(layer: nn.Conv2d) -> Tensor:
    if layer.bias is None:
        raise ValueError("the layer has no bias; build it with bias=True")
    return layer.bias
