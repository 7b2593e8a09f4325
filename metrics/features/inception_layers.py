"""The Inception-v3 of TensorFlow's 2015-12-05 graph, whose pool3 is what FID is computed with.

Szegedy et al. 2016, table 1, with the graph's own pooling: averages that leave the border's zeros out, and one maximum
in the last block. Attribute names are those of the published weights, which follow torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float32
from torch import Tensor, cat, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["CLASSES", "WIDTHS", "InceptionTrunk"]

CLASSES = 1008
"""ImageNet's 1000 and eight unused ones; the inception score's softmax runs over all."""
BATCH_EPSILON = 1e-3
SPATIAL_CHANNELS = 7
"""Of mixed_6's first convolution, in sFID (Nash et al. 2021): 17 * 17 * 7 = 2023 numbers."""
WIDTHS = {"64": 64, "192": 192, "768": 768, "2048": 2048, "spatial": 17 * 17 * SPATIAL_CHANNELS}
"""Layers that give features, and how long their rows are."""


class InceptionTrunk(nn.Module):
    """Features of one layer, and class scores without the bias where the layer is the last one."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer
        self.Conv2d_1a_3x3 = Convolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, 3)
        self.Conv2d_2b_3x3 = Convolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Convolution(64, 80, 1)
        self.Conv2d_4a_3x3 = Convolution(80, 192, 3)
        self.Mixed_5b = BlockA(192, pooled=32)
        self.Mixed_5c = BlockA(256, pooled=64)
        self.Mixed_5d = BlockA(288, pooled=64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, narrow=128)
        self.Mixed_6c = BlockC(768, narrow=160)
        self.Mixed_6d = BlockC(768, narrow=160)
        self.Mixed_6e = BlockC(768, narrow=192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, pool=_average)
        self.Mixed_7c = BlockE(2048, pool=_maximum)
        self.fc = nn.Linear(2048, CLASSES)

    def forward(self, pictures: Float32[Tensor, "n 3 299 299"]) -> tuple[Tensor, Tensor | None]:
        """Return (n, d) features and (n, 1008) unbiased logits of pictures prepared to [-1, 1]."""
        maps = _shrunk(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures))))
        if self.layer == "64":
            return _means(maps), None
        maps = _shrunk(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(maps)))
        if self.layer == "192":
            return _means(maps), None
        maps = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(maps))))
        maps = self.Mixed_6c(self.Mixed_6b(maps))
        if self.layer == "spatial":
            return self.Mixed_6d.branch1x1(maps)[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1), None
        maps = self.Mixed_6e(self.Mixed_6d(maps))
        if self.layer == "768":
            return _means(maps), None
        features = _means(self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(maps))))
        return features, functional.linear(features, self.fc.weight.float())

    def fold(self) -> None:
        """Multiply every normalisation into its convolution, in place; features stay, to rounding."""
        for module in self.modules():
            if isinstance(module, Convolution):
                module.fold()


class Convolution(nn.Module):
    """Convolve, normalise, cut below zero."""

    def __init__(
        self,
        given: int,
        made: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(given, made, kernel, stride=stride, padding=padding, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(made, eps=BATCH_EPSILON)

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d i j"]:
        """Return maps of the new width."""
        return functional.relu(self.bn(self.conv(maps)), inplace=True)

    def fold(self) -> None:
        """Multiply the normalisation into the convolution."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()


class BlockA(nn.Module):
    """The 35 x 35 module of figure 5: 64 + 64 + 96 + pooled channels."""

    def __init__(self, given: int, *, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(given, 64, 1)
        self.branch5x5_1 = Convolution(given, 48, 1)
        self.branch5x5_2 = Convolution(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Convolution(given, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, padding=1)
        self.branch_pool = Convolution(given, pooled, 1)

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d h w"]:
        """Return the branches side by side."""
        five = self.branch5x5_2(self.branch5x5_1(maps))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return cat([self.branch1x1(maps), five, three, self.branch_pool(_average(maps))], dim=1)


class BlockB(nn.Module):
    """From 35 x 35 to 17 x 17 (figure 10): 384 + 96 channels and all that were given."""

    def __init__(self, given: int) -> None:
        super().__init__()
        self.branch3x3 = Convolution(given, 384, 3, stride=2)
        self.branch3x3dbl_1 = Convolution(given, 64, 1)
        self.branch3x3dbl_2 = Convolution(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Convolution(96, 96, 3, stride=2)

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d i j"]:
        """Return the branches side by side."""
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(maps)))
        return cat([self.branch3x3(maps), three, _shrunk(maps)], dim=1)


class BlockC(nn.Module):
    """The 17 x 17 module of figure 6: four times 192 channels, through rows and columns of seven."""

    def __init__(self, given: int, *, narrow: int) -> None:
        super().__init__()
        self.branch1x1 = Convolution(given, 192, 1)
        self.branch7x7_1 = Convolution(given, narrow, 1)
        self.branch7x7_2 = Convolution(narrow, narrow, (1, 7), padding=(0, 3))
        self.branch7x7_3 = Convolution(narrow, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = Convolution(given, narrow, 1)
        self.branch7x7dbl_2 = Convolution(narrow, narrow, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = Convolution(narrow, narrow, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = Convolution(narrow, narrow, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = Convolution(narrow, 192, (1, 7), padding=(0, 3))
        self.branch_pool = Convolution(given, 192, 1)

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n 768 h w"]:
        """Return the branches side by side."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(maps)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(maps)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return cat([self.branch1x1(maps), seven, twice, self.branch_pool(_average(maps))], dim=1)


class BlockD(nn.Module):
    """From 17 x 17 to 8 x 8: 320 + 192 channels and all that were given."""

    def __init__(self, given: int) -> None:
        super().__init__()
        self.branch3x3_1 = Convolution(given, 192, 1)
        self.branch3x3_2 = Convolution(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Convolution(given, 192, 1)
        self.branch7x7x3_2 = Convolution(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Convolution(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Convolution(192, 192, 3, stride=2)

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d i j"]:
        """Return the branches side by side."""
        three = self.branch3x3_2(self.branch3x3_1(maps))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(maps)))
        return cat([three, self.branch7x7x3_4(seven), _shrunk(maps)], dim=1)


class BlockE(nn.Module):
    """The 8 x 8 module of figure 7: 320 + 768 + 768 + 192 channels, its 3 x 3 spread over a row and a column."""

    def __init__(self, given: int, *, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.pool = pool
        self.branch1x1 = Convolution(given, 320, 1)
        self.branch3x3_1 = Convolution(given, 384, 1)
        self.branch3x3_2a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = Convolution(given, 448, 1)
        self.branch3x3dbl_2 = Convolution(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = Convolution(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Convolution(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Convolution(given, 192, 1)

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n 2048 h w"]:
        """Return the branches side by side."""
        three = self.branch3x3_1(maps)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(maps))
        spread = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        spread += [self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)]
        return cat([self.branch1x1(maps), *spread, self.branch_pool(self.pool(maps))], dim=1)


def _average(maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
    """Return the mean of each place and its neighbours inside the map; torchvision counts the border's zeros too."""
    return functional.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
    return functional.max_pool2d(maps, 3, stride=1, padding=1)


def _shrunk(maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c i j"]:
    return functional.max_pool2d(maps, 3, stride=2)


def _means(maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c"]:
    return maps.float().mean(dim=(2, 3))
