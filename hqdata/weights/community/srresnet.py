"""MSRResNet: SRResNet (Ledig et al. 2017) without batch normalisation, as BasicSR, mmsr and KAIR name its layers."""

from __future__ import annotations

import math
from functools import partial

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from hqdata.weights.community.plan import Plan, Shapes, count, kernel, prefixed

__all__ = ["MSRResNet", "recognise"]

SLOPE = 0.1
"""Of the leaky ReLU outside the blocks."""


class MSRResNet(nn.Module):
    """Enlarge a picture: its bilinear enlargement, plus detail.

    Args:
        channels: width of every hidden layer.
        blocks: residual ones.
        factors: of each pixel shuffle; (2, 2) enlarges four times.
    """

    colours = 3
    stride = 1

    def __init__(self, channels: int = 64, blocks: int = 16, factors: tuple[int, ...] = (2, 2)) -> None:
        super().__init__()
        self.factors, self.scale = factors, math.prod(factors)
        self.conv_first = _conv(self.colours, channels)
        self.body = nn.Sequential(*(_Block(channels) for _ in range(blocks)))
        self.upconvs = nn.ModuleList(_conv(channels, channels * factor**2) for factor in factors)
        self.conv_hr = _conv(channels, channels)
        self.conv_last = _conv(channels, self.colours)

    @property
    def reach(self) -> int:
        """How many input pixels away an input pixel can be and still change the output pixels of this one."""
        fine = 2
        for factor in reversed(self.factors):
            fine = -(-fine // factor) + 1
        return 1 + 2 * len(self.body) + fine

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 k*h k*w"]:
        """Return the enlarged pictures, both in [0, 1]."""
        feature = self.body(_leaky(self.conv_first(picture)))
        for conv, factor in zip(self.upconvs, self.factors, strict=True):
            feature = _leaky(functional.pixel_shuffle(conv(feature), factor))
        return self.conv_last(_leaky(self.conv_hr(feature))) + _bilinear(picture, self.scale)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(channels, channels), _conv(channels, channels)

    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        return feature + self.conv2(functional.relu(self.conv1(feature)))


def recognise(shapes: Shapes) -> Plan | None:
    """Return how to build an MSRResNet from such tensors, or None when they are something else.

    Raises:
        ValueError: when it is one, but of a kind that cannot be built.
    """
    if not {"body.0.conv1.weight", "recon_trunk.0.conv1.weight"} & shapes.keys() or "upconv1.weight" not in shapes:
        return None
    renames = {r"recon_trunk\.": "body.", r"HRconv\.": "conv_hr."}
    names = prefixed(shapes, renames | {r"upconv1\.": "upconvs.0.", r"upconv2\.": "upconvs.1."})
    channels, given, _ = kernel(shapes, "conv_first.weight")
    if given != MSRResNet.colours:
        raise ValueError(f"MSRResNet takes {given} channels; 3 are known")
    blocks = count(shapes, r"(?:body|recon_trunk)\.(\d+)\.")
    shuffles = [kernel(shapes, name)[0] for name in ("upconv1.weight", "upconv2.weight") if name in shapes]
    factors = tuple(math.isqrt(made // channels) for made in shuffles)
    return Plan(
        title=f"MSRResNet x{math.prod(factors)} with {blocks} blocks of {channels} channels",
        make=partial(MSRResNet, channels, blocks, factors),
        names=names,
    )


def _bilinear(picture: Float32[Tensor, "n c h w"], scale: int) -> Float32[Tensor, "n c k*h k*w"]:
    """Return the bilinear enlargement, edges continued.

    A convolution, because torch's own interpolation gives other bits for another number of threads.
    """
    colours = picture.shape[1]
    centres = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    taps = (1.0 - (torch.arange(-1, 2) - centres[:, None]).abs()).clamp(min=0.0)
    kernels = torch.einsum("ay,bx->abyx", taps, taps).reshape(scale**2, 1, 3, 3).repeat(colours, 1, 1, 1).to(picture)
    continued = functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    return functional.pixel_shuffle(functional.conv2d(continued, kernels, groups=colours), scale)


def _conv(given: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1)


def _leaky(feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
    return functional.leaky_relu(feature, SLOPE)
