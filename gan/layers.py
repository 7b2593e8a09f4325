"""The parts that ProGAN is made of, shared by every architecture of the zoo.

Karras et al. 2018, "Progressive growing of GANs for improved quality, stability, and variation": equalised learning
rate (section 4.1), pixel norm (4.2), minibatch standard deviation (section 3).
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "GAIN",
    "SLOPE",
    "EqualConv2d",
    "EqualConvDown",
    "EqualConvUp",
    "EqualLinear",
    "MinibatchStddev",
    "PixelNorm",
    "blur",
    "enlarge",
    "full_precision",
    "leaky",
    "multiply_noise",
    "shrink",
]

GAIN = math.sqrt(2.0)
"""He et al.'s constant for rectified units, over the square root of the fan-in."""
SLOPE = 0.2
"""Of the leaky rectifiers (appendix A)."""
EPSILON = 1e-8
"""Under the square roots of pixel norm and minibatch standard deviation."""


def full_precision(values: Tensor) -> AbstractContextManager[object]:
    """Return a context in which products of float32 values keep float32, also where autocast would shorten them."""
    kind = values.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):  # plans run on meta tensors, of which autocast knows none
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def leaky(maps: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c ..."]:
    """Return the leaky rectifier with the paper's slope of 0.2."""
    return functional.leaky_relu(maps, SLOPE)


def enlarge(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 2*h 2*w"]:
    """Return every pixel as 2 x 2 equal ones."""
    return functional.interpolate(maps, scale_factor=2, mode="nearest")


def shrink(maps: Float[Tensor, "n c 2*h 2*w"]) -> Float[Tensor, "n c h w"]:
    """Return the means of 2 x 2 pixels."""
    return functional.avg_pool2d(maps, 2)


def blur(maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Return the maps through the kernel 1, 2, 1 both ways, over 16 (Karras et al. 2019, appendix C).

    Pixels at the rim are repeated outwards, so that even maps stay even. torch's own padding would do so as well, but
    its gradient on a GPU is another at every run, and cannot be compiled.
    """
    higher = torch.cat([maps[:, :, :1], maps, maps[:, :, -1:]], dim=2)
    wider = torch.cat([higher[:, :, :, :1], higher, higher[:, :, :, -1:]], dim=3)
    return functional.avg_pool2d(functional.avg_pool2d(wider, 2, stride=1), 2, stride=1)


def multiply_noise(maps: Float[Tensor, "n c h w"], noise: Float[Tensor, "n c"] | None) -> Float[Tensor, "n c h w"]:
    """Return maps (1 + noise sqrt(c)), a factor for each picture's channel; the maps themselves for None.

    Karras et al. 2018, appendix B, against critics that come to know too much; the noise brings its strength along.
    """
    if noise is None:
        return maps
    return maps * (1 + noise * math.sqrt(maps.shape[1]))[:, :, None, None].to(maps.dtype)


class PixelNorm(nn.Module):
    """Each pixel's channels, or each latent, divided by their root mean square (section 4.2)."""

    def forward(self, values: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c ..."]:
        """Return values / sqrt(mean over c of values^2 + 1e-8), with the mean taken in float32; 0 stays 0."""
        wide = values.float()
        return (wide * torch.rsqrt(wide.square().mean(dim=1, keepdim=True) + EPSILON)).to(values.dtype)


class MinibatchStddev(nn.Module):
    """One more channel: how much the pictures of a group differ, a mean over all features and pixels (section 3).

    Groups are strided, as in the authors' code: of n pictures in groups of g, picture i is with i + n/g, i + 2n/g, ...

    Args:
        group: pictures in a group; a smaller batch is one group.
    """

    def __init__(self, group: int = 4) -> None:
        super().__init__()
        if group < 1:
            raise ValueError(f"group must be at least 1, got {group}")
        self.group = group

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c+1 h w"]:
        """Return the maps with the statistic, in float32 inside, as the last channel.

        Raises:
            ValueError: when the batch is no multiple of the group.
        """
        n, c, h, w = maps.shape
        group = min(self.group, n)
        if n % group:
            raise ValueError(
                f"a batch of {n} cannot be split into minibatch-stddev groups of {group};"
                f" use a multiple of {group} or another group size"
            )
        groups = maps.float().reshape(group, n // group, c, h, w)
        spread = torch.sqrt((groups - groups.mean(dim=0)).square().mean(dim=0) + EPSILON)
        statistic = spread.mean(dim=(1, 2, 3)).repeat(group).to(maps.dtype)
        return torch.cat([maps, statistic.reshape(n, 1, 1, 1).expand(n, 1, h, w)], dim=1)


class EqualLinear(nn.Module):
    """Dense layer with equalised learning rate: weights of variance 1, scaled at run time (section 4.1).

    Args:
        width_in: length of a row.
        width_out: length of a result.
        gain: over the square root of the fan-in; the bias is not scaled.
        bias_shared_by: neighbouring results that have one bias, such as a channel's pixels.
        pace: factor on the learning rate of weights and bias (Karras et al. 2019, appendix C); outputs of a fresh layer
            are the same with any.
    """

    def __init__(
        self, width_in: int, width_out: int, *, gain: float = GAIN, bias_shared_by: int = 1, pace: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width_out, width_in) / pace)
        self.bias = nn.Parameter(torch.zeros(width_out // bias_shared_by))
        self.scale = gain / math.sqrt(width_in) * pace
        self.bias_shared_by, self.pace = bias_shared_by, pace

    def forward(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        """Return rows times the scaled weights, plus the bias."""
        bias = self.bias if self.pace == 1.0 else self.bias * self.pace
        return functional.linear(rows, self.weight * self.scale, bias.repeat_interleave(self.bias_shared_by))


class EqualConv2d(nn.Module):
    """Convolution with equalised learning rate; pictures keep their size.

    Args:
        channels_in: of the input.
        channels_out: of the result.
        kernel: odd side of the kernel.
        gain: over the square root of the fan-in; the bias is not scaled.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, *, gain: float = GAIN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.scale = gain / math.sqrt(channels_in * kernel * kernel)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n e h w"]:
        """Return the maps convolved with the scaled weights, plus the bias."""
        return functional.conv2d(maps, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


class EqualConvUp(EqualConv2d):
    """`EqualConv2d` of enlarged pictures in one step, with 4/9 of the multiplications ("fused scale").

    The same function as `enlarge` and then `EqualConv2d` with the same weights: each output pixel sees at most 2 x 2
    different input pixels, whose weights are summed beforehand.
    """

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n e 2*h 2*w"]:
        """Return the maps of twice the size."""
        kernel = _four_shifts((self.weight * self.scale).flip(2, 3).transpose(0, 1))
        return functional.conv_transpose2d(maps, kernel, self.bias, stride=2, padding=1)


class EqualConvDown(EqualConv2d):
    """`EqualConv2d` and then `shrink` in one step; what follows, such as the rectifier, sees the means."""

    def forward(self, maps: Float[Tensor, "n c 2*h 2*w"]) -> Float[Tensor, "n e h w"]:
        """Return the maps of half the size."""
        kernel = _four_shifts(self.weight * self.scale) / 4
        return functional.conv2d(maps, kernel, self.bias, stride=2, padding=1)


def _four_shifts(kernel: Float[Tensor, "o i 3 3"]) -> Float[Tensor, "o i 4 4"]:
    """Return the sum of the kernel at the four places where it fits into 4 x 4 taps."""
    padded = functional.pad(kernel, (1, 1, 1, 1))
    return padded[:, :, 1:, 1:] + padded[:, :, :-1, 1:] + padded[:, :, 1:, :-1] + padded[:, :, :-1, :-1]
