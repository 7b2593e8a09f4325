"""EfficientNet-Lite0 (Tan and Le 2019; the Lite variant of TensorFlow's model garden, 2020), for inference.

EfficientNet-B0 without squeeze-and-excitation, with ReLU6 instead of swish, and with the stem and head at fixed width.
Attribute names follow the shipped weights' keys, without their leading underscores.
"""

from __future__ import annotations

from typing import TypeVar

from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["FEATURES", "LOGITS", "EfficientNetLite0"]

FEATURES = 1280
LOGITS = 1000
STEM = 32
BATCH_EPSILON = 1e-3
GROUPS = (
    # repeats, kernel, stride, widening, channels: table 1 of Tan and Le 2019
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
C = TypeVar("C", bound=nn.Conv2d)


class EfficientNetLite0(nn.Module):
    """Classify pictures into ImageNet's 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, STEM, 3, stride=2)
        self.bn0: nn.Module = _norm(STEM)
        self.blocks = nn.ModuleList(_blocks())
        self.conv_head = nn.Conv2d(GROUPS[-1][-1], FEATURES, 1, bias=False)
        self.bn1: nn.Module = _norm(FEATURES)
        self.fc = nn.Linear(FEATURES, LOGITS)

    def forward(self, pictures: Float32[Tensor, "n 3 h w"]) -> tuple[Float32[Tensor, "n d"], Float32[Tensor, "n c"]]:
        """Return the features and the logits of pictures that are prepared already, in about [-1, 1]."""
        maps = functional.relu6(self.bn0(self.conv_stem(pictures)), inplace=True)
        for block in self.blocks:
            maps = block(maps)
        maps = functional.relu6(self.bn1(self.conv_head(maps)), inplace=True)
        features = maps.float().mean(dim=(2, 3))
        return features, self.fc(features.to(maps.dtype))

    def fold(self) -> None:
        """Multiply every normalisation into the convolution before it, in place; features stay, to rounding."""
        self.conv_stem, self.bn0 = _folded(self.conv_stem, self.bn0)
        self.conv_head, self.bn1 = _folded(self.conv_head, self.bn1)
        for block in self.blocks:
            if isinstance(block, InvertedBottleneck):
                block.fold()


class SameConv2d(nn.Conv2d):
    """A convolution without bias whose zero padding is TensorFlow's SAME: an odd pixel goes right and below."""

    def __init__(self, given: int, made: int, kernel: int, *, stride: int, groups: int = 1) -> None:
        super().__init__(given, made, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, input: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d i j"]:
        """Return ceil(h / stride) rows and ceil(w / stride) columns."""
        top, bottom = self._padding(input.shape[2])
        left, right = self._padding(input.shape[3])
        if (top, left) == (bottom, right):
            return functional.conv2d(input, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
        return super().forward(functional.pad(input, (left, right, top, bottom)))

    def _padding(self, side: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        return missing // 2, missing - missing // 2


class InvertedBottleneck(nn.Module):
    """Widen, convolve each channel alone, narrow (Sandler et al. 2018); added to its input where shapes allow."""

    def __init__(self, given: int, made: int, kernel: int, *, stride: int, widening: int) -> None:
        super().__init__()
        wide = given * widening
        self.expand_conv = nn.Conv2d(given, wide, 1, bias=False) if widening > 1 else None
        self.bn0: nn.Module | None = _norm(wide) if widening > 1 else None
        self.depthwise_conv = SameConv2d(wide, wide, kernel, stride=stride, groups=wide)
        self.bn1: nn.Module = _norm(wide)
        self.project_conv = nn.Conv2d(wide, made, 1, bias=False)
        self.bn2: nn.Module = _norm(made)
        self.keeps_shape = stride == 1 and given == made

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d i j"]:
        """Return maps of the new width."""
        wide = maps
        if self.expand_conv is not None and self.bn0 is not None:
            wide = functional.relu6(self.bn0(self.expand_conv(maps)), inplace=True)
        wide = functional.relu6(self.bn1(self.depthwise_conv(wide)), inplace=True)
        made = self.bn2(self.project_conv(wide))
        return maps + made if self.keeps_shape else made

    def fold(self) -> None:
        """Multiply every normalisation into the convolution before it, in place."""
        if self.expand_conv is not None and self.bn0 is not None:
            self.expand_conv, self.bn0 = _folded(self.expand_conv, self.bn0)
        self.depthwise_conv, self.bn1 = _folded(self.depthwise_conv, self.bn1)
        self.project_conv, self.bn2 = _folded(self.project_conv, self.bn2)


def _blocks() -> list[InvertedBottleneck]:
    blocks, given = [], STEM
    for repeats, kernel, stride, widening, made in GROUPS:
        for position in range(repeats):
            step = stride if position == 0 else 1
            blocks.append(InvertedBottleneck(given, made, kernel, stride=step, widening=widening))
            given = made
    return blocks


def _folded(convolution: C, norm: nn.Module) -> tuple[C, nn.Module]:
    if not isinstance(norm, nn.BatchNorm2d):
        return convolution, norm
    return fuse_conv_bn_eval(convolution, norm), nn.Identity()


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_EPSILON)
