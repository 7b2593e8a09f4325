"""RRDBNet, the generator of ESRGAN (Wang et al. 2018) and Real-ESRGAN (Wang et al. 2021), under its four namings.

Blocks of three densely connected groups of five convolutions, residuals scaled by 0.2, no normalisation; enlargement by
repeating pixels before a convolution. Real-ESRGAN's x2 and x1 networks first fold 2 x 2 or 4 x 4 pixels into channels.
"""

from __future__ import annotations

import re
from functools import partial

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from hqdata.weights.community.plan import Plan, Shapes, count, kernel, prefixed

__all__ = ["RRDBNet", "recognise"]

SLOPE = 0.2
"""Of the leaky ReLU."""
RESIDUAL = 0.2
"""Factor on the residuals of groups and blocks."""
MOST_MARGIN = 96
"""Of the trunk's positions. A reach of 349 would make a tile of 192 cost 21 times itself. In Real-ESRGAN x4plus on a
photo, what lies beyond 64, 80 and 96 pixels changed no output value by more than 0.8, 0.2 and 0.02 of 255 levels.
"""
GROWTHS = 4
"""Convolutions of a group whose results the later ones see, before the one that sums up."""


class RRDBNet(nn.Module):
    """Enlarge a picture by `2**steps / fold`. A convolution per growth and block: the slowest of the families.

    Args:
        channels: width of the trunk.
        growth: channels that each inner convolution adds.
        blocks: in the trunk.
        steps: doublings of the size.
        fold: side of the square of pixels that becomes one position before the trunk.
    """

    colours = 3

    def __init__(self, channels: int = 64, growth: int = 32, blocks: int = 23, steps: int = 2, fold: int = 1) -> None:
        super().__init__()
        self.stride, self.steps = fold, steps
        self.scale = 2**steps // fold
        self.conv_first = _conv(self.colours * fold**2, channels)
        self.body = nn.Sequential(*(_Block(channels, growth) for _ in range(blocks)))
        self.conv_body = _conv(channels, channels)
        self.conv_ups = nn.ModuleList(_conv(channels, channels) for _ in range(steps))
        self.conv_hr = _conv(channels, channels)
        self.conv_last = _conv(channels, self.colours)

    @property
    def reach(self) -> int:
        """How many input pixels away an input pixel can be and still change the output pixels of this one.

        The convolutions after an enlargement reach 3 fine pixels, which are at most 2 positions of the trunk.
        """
        positions = 2 + 3 * (GROWTHS + 1) * len(self.body) + 2
        return self.stride * positions + self.stride - 1

    @property
    def margin(self) -> int:
        """How many input pixels around a tile are read: the reach, but no more than `MOST_MARGIN` positions."""
        return min(self.reach, self.stride * MOST_MARGIN)

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 k*h k*w"]:
        """Return the enlarged pictures, both in [0, 1]; h and w must be multiples of `stride`."""
        shallow = self.conv_first(functional.pixel_unshuffle(picture, self.stride))
        feature = shallow + self.conv_body(self.body(shallow))
        for conv in self.conv_ups:
            feature = _leaky(conv(functional.interpolate(feature, scale_factor=2, mode="nearest")))
        return self.conv_last(_leaky(self.conv_hr(feature)))


class _Block(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_Group(channels, growth) for _ in range(3))

    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        return feature + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(feature)))


class _Group(nn.Module):
    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        widths = [channels + index * growth for index in range(GROWTHS + 1)]
        self.conv1, self.conv2, self.conv3, self.conv4 = (_conv(width, growth) for width in widths[:-1])
        self.conv5 = _conv(widths[-1], channels)

    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        known = feature
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            known = torch.cat([known, _leaky(conv(known))], dim=1)
        return feature + RESIDUAL * self.conv5(known)


def recognise(shapes: Shapes) -> Plan | None:
    """Return how to build an RRDBNet from such tensors, or None when they are something else.

    Raises:
        ValueError: when it is one, but of a kind that cannot be built.
    """
    names = _names(shapes)
    if names is None:
        return None
    renamed = {new: shapes[old] for old, new in names.items()}
    channels, given, _ = kernel(renamed, "conv_first.weight")
    growth, _, _ = kernel(renamed, "body.0.rdb1.conv1.weight")
    blocks, steps = count(renamed, r"body\.(\d+)\."), count(renamed, r"conv_ups\.(\d+)\.")
    folds = {3 * side**2: side for side in (1, 2, 4)}
    if given not in folds or 2**steps % folds[given]:
        raise ValueError(f"RRDBNet takes {given} channels and doubles {steps} times; 3, 12 or 48 channels are known")
    make = partial(RRDBNet, channels, growth, blocks, steps, folds[given])
    return Plan(title=f"RRDBNet with {blocks} blocks of {channels} channels", make=make, names=names)


def _names(shapes: Shapes) -> dict[str, str] | None:
    """Return the module's own name of each tensor, or None when none of the namings fits."""
    if "body.0.rdb1.conv1.weight" in shapes:
        return prefixed(shapes, {r"conv_up1\.": "conv_ups.0.", r"conv_up2\.": "conv_ups.1."})
    if "RRDB_trunk.0.RDB1.conv1.weight" in shapes:
        renames = {
            r"RRDB_trunk\.(\d+)\.RDB": r"body.\1.rdb",
            r"trunk_conv\.": "conv_body.",
            r"upconv1\.": "conv_ups.0.",
            r"upconv2\.": "conv_ups.1.",
            r"HRconv\.": "conv_hr.",
        }
        return prefixed(shapes, renames)
    if "model.1.sub.0.RDB1.conv1.0.weight" in shapes:
        return prefixed(shapes, _numbered(shapes))
    return None


def _numbered(shapes: Shapes) -> dict[str, str]:
    """Return the renames of the oldest naming, in which a layer's number says what it is.

    `model.0` first, `model.1.sub` the blocks and the convolution after them, then three numbers a doubling (repeat,
    convolve, activate) and at last convolve, activate, convolve.
    """
    blocks = count(shapes, r"model\.1\.sub\.(\d+)\.RDB1")
    found = (re.match(r"model\.([0-9]{1,4})\.", name) for name in shapes)
    layers = sorted({int(match.group(1)) for match in found if match} - {0, 1})
    ends = ["conv_hr.", "conv_last."]
    wanted = [f"conv_ups.{index}." for index in range(len(layers) - len(ends))] + ends
    return {
        r"model\.0\.": "conv_first.",
        rf"model\.1\.sub\.{blocks}\.": "conv_body.",
        r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.": r"body.\1.rdb\2.conv\3.",
    } | {rf"model\.{layer}\.": name for layer, name in zip(layers, wanted, strict=False)}


def _conv(given: int, made: int) -> nn.Conv2d:
    return nn.Conv2d(given, made, 3, padding=1)


def _leaky(feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
    return functional.leaky_relu(feature, SLOPE)
