"""RED-Net (Mao et al. 2016) at half resolution: the layout of the PyTorch files that are about.

They differ from the paper (and from `hqdata.restore.red`): the first convolution halves the picture, the last
transposed one doubles it, the activation comes before the skip's addition too, RED10 has no inner skips, and the result
is cut at 0.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from hqdata.weights.community.plan import Plan, Shapes, count, kernel, prefixed

__all__ = ["HalvingRedNet", "recognise"]

PLAIN_PAIRS = 5
"""RED10, which has no inner skips."""


class HalvingRedNet(nn.Module):
    """Restore a picture at its own size: `picture + correction`, the correction worked out at half its size.

    Args:
        channels: width of every hidden layer.
        pairs: convolutions, and as many transposed ones.
        colours: channels of the picture; 1 is luma.
    """

    scale = 1
    stride = 2

    def __init__(self, channels: int = 64, pairs: int = 15, colours: int = 3) -> None:
        super().__init__()
        self.colours, self.pairs = colours, pairs
        widths = [colours] + [channels] * pairs
        strides = [2] + [1] * (pairs - 1)
        self.conv_layers = nn.ModuleList(
            nn.Conv2d(given, made, 3, stride, padding=1)
            for (given, made), stride in zip(pairwise(widths), strides, strict=True)
        )
        self.deconv_layers = nn.ModuleList(
            nn.ConvTranspose2d(given, made, 3, stride, padding=1, output_padding=stride - 1)
            for (given, made), stride in zip(pairwise(reversed(widths)), reversed(strides), strict=True)
        )

    @property
    def reach(self) -> int:
        """How many pixels away an input pixel can be and still change an output pixel."""
        halved = 2 * (self.pairs - 1)
        return 2 * halved + 2

    def forward(self, picture: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        """Return the restored pictures, both in [0, 1]; h and w must be even."""
        levels = [picture]
        for layer in self.conv_layers:
            levels.append(functional.relu(layer(levels[-1])))
        feature = levels.pop()
        for layer in self.deconv_layers[:-1]:
            feature = functional.relu(layer(feature))
            mirrored = levels.pop()
            if len(levels) % 2 == 0 and self.pairs > PLAIN_PAIRS:
                feature = feature + mirrored
        return functional.relu(picture + self.deconv_layers[-1](feature))


def recognise(shapes: Shapes) -> Plan | None:
    """Return how to build a half-resolution RED-Net from such tensors, or None when they are something else.

    Raises:
        ValueError: when it is one, but of a kind that cannot be built.
    """
    if "conv_layers.0.0.weight" not in shapes:
        return None
    channels, colours, _ = kernel(shapes, "conv_layers.0.0.weight")
    pairs = count(shapes, r"conv_layers\.(\d+)\.")
    if colours not in (1, 3):
        raise ValueError(f"RED-Net takes {colours} channels; 1 and 3 are known")
    return Plan(
        title=f"RED{2 * pairs} of {channels} channels at half resolution",
        make=partial(HalvingRedNet, channels, pairs, colours),
        names=prefixed(shapes, {r"(de)?conv_layers\.(\d+)\.0\.": r"\1conv_layers.\2."}),
    )
