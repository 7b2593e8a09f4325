"""RED-Net as its authors drew it: as many convolutions as mirrored ones, at full resolution, with symmetric skips.

Mao, Shen and Yang 2016, "Image restoration using very deep convolutional encoder-decoder networks with symmetric skip
connections", section 3. A transposed convolution of stride 1 is a convolution, so the decoder is made of plain ones.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float32
from torch import Tensor, nn

__all__ = ["RedNet"]

SLOPE = 0.25
"""PReLU's initial slope, which the initial weights are scaled for."""
START_NOISE = 0.1
"""Share of He et al.'s (2015) random weights that is added to a hidden layer's initial identity."""
DECODER_IDENTITY = 0.5
"""Size of a decoder layer's initial identity: with 1, every skip would add one more feature of full size."""


class RedNet(nn.Module):
    """Restore a picture at its own size: `picture + correction`. Slow: every layer works on every pixel.

    The feature after every second convolution is added to that of the mirrored layer, before its activation. RED10,
    RED20 and RED30 are 5, 10 and 15 pairs of layers with 64 channels. The paper's ReLU is a PReLU whose slopes are 0;
    in our short trainings it did not learn, and PReLU did.

    Args:
        channels: width of every hidden layer.
        pairs: convolutions in the encoder, and as many in the decoder.
    """

    architecture = "red-net"
    """The name that weights files give."""
    scale = 1
    stride = 1
    """Tiles may start on any pixel."""

    def __init__(self, channels: int = 64, pairs: int = 15) -> None:
        super().__init__()
        self.channels, self.pairs = channels, pairs
        widths = [3] + [channels] * pairs
        self.encoder = nn.ModuleList(_layer(given, made, identity=1.0) for given, made in pairwise(widths))
        self.decoder = nn.ModuleList(
            _layer(given, made, identity=DECODER_IDENTITY) for given, made in pairwise(reversed(widths))
        )
        self.encoder_activations = nn.ModuleList(nn.PReLU(channels, init=SLOPE) for _ in range(pairs))
        self.decoder_activations = nn.ModuleList(nn.PReLU(channels, init=SLOPE) for _ in range(pairs - 1))
        for parameter in self.decoder[-1].parameters():
            nn.init.zeros_(parameter)

    @property
    def reach(self) -> int:
        """How many pixels away an input pixel can be and still change an output pixel."""
        return len(self.encoder) + len(self.decoder)

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 h w"]:
        """Return the restored pictures, in [-1, 1] as far as the input is."""
        levels = [picture]
        for layer, activation in zip(self.encoder, self.encoder_activations, strict=True):
            levels.append(activation(layer(levels[-1])))
        feature = levels.pop()
        for layer, activation in zip(self.decoder, self.decoder_activations, strict=False):
            feature = layer(feature)
            mirrored = levels.pop()
            feature = activation(feature + mirrored if len(levels) % 2 == 0 else feature)
        return picture + self.decoder[-1](feature)


def _layer(given: int, made: int, *, identity: float) -> nn.Conv2d:
    """Return a convolution that begins, between hidden layers, as `identity` times a copy of its input plus noise."""
    layer = nn.Conv2d(given, made, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    if given == made:
        with torch.no_grad():
            layer.weight.mul_(START_NOISE)[:, :, 1, 1].add_(torch.eye(given), alpha=identity)
    return layer
