"""The JPEG-artefact remover: a convolutional autoencoder with symmetric skips (RED-Net, Mao et al. 2016).

Differences from the paper, each because it learned faster on a CPU: the network works on 2x2 blocks of pixels, its
encoder and decoder layers are residual pairs, its activations are PReLU, it starts as the identity, its skips have
learned weights, and it sees the picture's detail amplified (artefacts are a hundredth of the picture's range). A
stride-1 transposed convolution is a convolution, so the decoder is made of plain ones.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from hqdata.layers import ResidualPair, flatness_gate, local_mean

__all__ = ["SymmetricAutoencoder"]

SLOPE = 0.25
"""PReLU's initial slope, which the initial weights are scaled for."""
START_SCALE = 0.3
"""Factor on the initial second convolution of each pair, so that a deep stack starts close to the identity."""
DETAIL_GAIN = 8.0
OUTPUT_GAIN = 0.2
NEIGHBOURS = 5
"""Side, in blocks, of the square whose mean is taken away to leave the detail."""


class SymmetricAutoencoder(nn.Module):
    """Restore a picture at its own size: `picture + correction`.

    The encoder's feature before each pair is added, weighted per channel, after the mirrored pair of the decoder.

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
        colours = 3 * self.stride**2
        self.head = nn.Conv2d(2 * colours, channels, 3, padding=1)
        self.head_activation = nn.PReLU(channels, init=SLOPE)
        self.encoder, self.decoder = self._pairs(), self._pairs()
        self.skips = nn.Parameter(torch.zeros(pairs, channels, 1, 1))
        self.tail = nn.Conv2d(channels, colours, 3, padding=1)
        nn.init.kaiming_normal_(self.head.weight, a=SLOPE)
        for parameter in self.tail.parameters():
            nn.init.zeros_(parameter)

    @property
    def reach(self) -> int:
        """How many pixels away an input pixel can be and still change an output pixel."""
        convolutions = 2 + 2 * (len(self.encoder) + len(self.decoder))
        return self.stride * (convolutions + NEIGHBOURS // 2) + self.stride - 1

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 h w"]:
        """Return the restored pictures, in [-1, 1] as far as the input is; h and w must be even."""
        blocks = functional.pixel_unshuffle(picture, self.stride)
        detail = blocks - self._surroundings(picture)
        feature = self.head_activation(self.head(torch.cat([DETAIL_GAIN * detail, blocks], dim=1)))
        skips = []
        for pair in self.encoder:
            skips.append(feature)
            feature = pair(feature)
        for pair, skip, weight in zip(self.decoder, reversed(skips), self.skips, strict=True):
            feature = pair(feature) + weight * skip
        correction = OUTPUT_GAIN * flatness_gate(detail, NEIGHBOURS) * self.tail(feature)
        return picture + functional.pixel_shuffle(correction, self.stride)

    def _pairs(self) -> nn.ModuleList:
        return nn.ModuleList(
            ResidualPair(self.channels, start_scale=START_SCALE, slope=SLOPE) for _ in range(self.pairs)
        )

    def _surroundings(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 12 h/2 w/2"]:
        """Return each block's mean colour over its neighbourhood, once for each of the block's pixels."""
        means = local_mean(functional.avg_pool2d(picture, self.stride), NEIGHBOURS)
        return means.repeat_interleave(self.stride**2, dim=1)
