"""Generator and discriminator of Karras et al. 2018 (table 2), which grow from 4 x 4 pixels.

A level is log2 of the nominal resolution: 2 for the smallest pictures, 10 for 1024 x 1024. While a level fades in, the
picture is a mixture of the new block's and the enlarged one of the level before (figure 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.layers import (
    EqualConv2d,
    EqualConvDown,
    EqualConvUp,
    EqualLinear,
    MinibatchStddev,
    PixelNorm,
    enlarge,
    leaky,
    multiply_noise,
    shrink,
)

__all__ = ["FIRST_LEVEL", "Discriminator", "Fade", "Generator", "Shape"]

FIRST_LEVEL = 2
"""4 x 4 pixels."""

Fade: TypeAlias = "float | Float[Tensor, '']"
"""Share of the new level, 0..1. As a tensor it is no constant of a compiled graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of both networks.

    Raises:
        ValueError: when a value is out of range; the message names it.
    """

    architecture: str = "progan"
    """One of `gan.zoo.NAMES`."""
    resolution: int = 1024
    """Nominal side of the largest pictures: a power of two from 4. They have resolution / 4 times `base` pixels."""
    channels: int = 3
    """1 for grey, 3 for RGB, 4 with alpha."""
    labels: int = 0
    """Length of a one-hot or multi-hot label, 0 for none; the discriminator then guesses it too (AC-GAN)."""
    latent: int = 512
    """Length of a latent."""
    most_maps: int = 512
    """Feature maps at the coarse levels."""
    map_budget: int = 8192
    """Feature maps at a level are map_budget / (resolution / 2), where that is below `most_maps`."""
    base: tuple[int, int] = (4, 4)
    """Height and width at the first level, such as (4, 6) for pictures of 2:3."""
    stddev_group: int = 4
    """Pictures compared in the minibatch standard deviation; the paper's own runs used all 16."""
    scaling: str = "fused"
    """"fused": sizes change inside the convolutions, as in the authors' TensorFlow code. "separate": before and after
    them, as in their Theano code and table 2. The generators compute the same function, the discriminators do not."""
    first_bias: str = "map"
    """"map": the generator's first layer has one bias for each feature map, as in the authors' code. "pixel": one for
    each pixel of a map, as in pytorch_GAN_zoo."""

    def __post_init__(self) -> None:
        if self.resolution < 4 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two from 4, got {self.resolution}")
        for name in ("channels", "latent", "most_maps", "map_budget", "stddev_group"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.labels < 0 or len(self.base) != 2 or min(self.base) < 1:
            raise ValueError(f"labels must not be negative and base be (height, width), got {self.labels}, {self.base}")
        if self.scaling not in ("fused", "separate"):
            raise ValueError(f"scaling must be 'fused' or 'separate', got {self.scaling!r}")
        if self.first_bias not in ("map", "pixel"):
            raise ValueError(f"first_bias must be 'map' or 'pixel', got {self.first_bias!r}")

    @property
    def last_level(self) -> int:
        """Level of the largest pictures."""
        return self.resolution.bit_length() - 1

    def maps(self, level: int) -> int:
        """Return the number of feature maps at a level."""
        return max(1, min(self.map_budget >> (level - 1), self.most_maps))

    def noise_widths(self, level: int) -> list[int]:
        """Return the channels of every 3 x 3 convolution's input in the discriminator, in order, from a level on."""
        blocks = [self.maps(number) for number in range(level, FIRST_LEVEL, -1) for _ in range(2)]
        return [*blocks, self.maps(FIRST_LEVEL) + 1]

    def size(self, level: int) -> tuple[int, int]:
        """Return height and width of a level's pictures."""
        return self.base[0] << (level - FIRST_LEVEL), self.base[1] << (level - FIRST_LEVEL)

    def checked_level(self, level: int | None) -> int:
        """Return the level, the last for None.

        Raises:
            ValueError: when there is no such level.
        """
        if level is None:
            return self.last_level
        if not FIRST_LEVEL <= level <= self.last_level:
            raise ValueError(f"level must be {FIRST_LEVEL}..{self.last_level} for {self.resolution} px, got {level}")
        return level


class Generator(nn.Module):
    """Latents to pictures; at the end there is no tanh, so levels may lie somewhat outside -1..1.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.normalise = PixelNorm()
        pixels = shape.base[0] * shape.base[1]
        first = shape.maps(FIRST_LEVEL)
        self.dense = EqualLinear(
            shape.latent + shape.labels,
            first * pixels,
            gain=2**0.5 / pixels**0.5,
            bias_shared_by=pixels if shape.first_bias == "map" else 1,
        )
        self.conv = EqualConv2d(first, first)
        self.blocks = nn.ModuleDict(
            {str(level): _GeneratorBlock(shape, level) for level in range(FIRST_LEVEL + 1, shape.last_level + 1)}
        )
        self.to_pictures = nn.ModuleDict(
            {
                str(level): EqualConv2d(shape.maps(level), shape.channels, 1, gain=1.0)
                for level in range(FIRST_LEVEL, shape.last_level + 1)
            }
        )

    def forward(
        self,
        latents: Float[Tensor, "n d"],
        labels: Float[Tensor, "n k"] | None = None,
        level: int | None = None,
        fade: Fade = 1.0,
    ) -> Float[Tensor, "n c h w"]:
        """Return pictures of a level's own size.

        Args:
            latents: from the normal distribution, or on the sphere: they are normalised first.
            labels: one row for each latent where the network has labels.
            level: log2 of the nominal resolution; the last by default.
            fade: 1 for the level's own pictures, 0 for those of the level before, enlarged; between them a mixture.

        Raises:
            ValueError: when a shape is wrong or the level does not exist.
        """
        level = self.shape.checked_level(level)
        maps = self._first_maps(latents, labels)
        for number in range(FIRST_LEVEL + 1, level):
            maps = self.blocks[str(number)](maps)
        if level == FIRST_LEVEL:
            return self.to_pictures[str(level)](maps)
        if _is(fade, 0.0):
            return enlarge(self.to_pictures[str(level - 1)](maps))
        pictures = self.to_pictures[str(level)](self.blocks[str(level)](maps))
        if _is(fade, 1.0):
            return pictures
        return _mixed(enlarge(self.to_pictures[str(level - 1)](maps)), pictures, fade)

    def _first_maps(
        self, latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None
    ) -> Float[Tensor, "n m h w"]:
        rows = _with_labels(latents, labels, self.shape)
        height, width = self.shape.base
        maps = self.dense(self.normalise(rows)).unflatten(1, (-1, height, width))
        maps = self.normalise(leaky(maps))
        return self.normalise(leaky(self.conv(maps)))


class _GeneratorBlock(nn.Module):
    def __init__(self, shape: Shape, level: int) -> None:
        super().__init__()
        kind = EqualConvUp if shape.scaling == "fused" else EqualConv2d
        self.enlarges_first = shape.scaling == "separate"
        self.up = kind(shape.maps(level - 1), shape.maps(level))
        self.conv = EqualConv2d(shape.maps(level), shape.maps(level))
        self.normalise = PixelNorm()

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n e 2*h 2*w"]:
        maps = enlarge(maps) if self.enlarges_first else maps
        maps = self.normalise(leaky(self.up(maps)))
        return self.normalise(leaky(self.conv(maps)))


class Discriminator(nn.Module):
    """Pictures to scores, higher for those that look real; with labels also a guess at them.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        levels = range(FIRST_LEVEL, shape.last_level + 1)
        self.from_pictures = nn.ModuleDict(
            {str(level): EqualConv2d(shape.channels, shape.maps(level), 1) for level in levels}
        )
        self.blocks = nn.ModuleDict({str(level): _DiscriminatorBlock(shape, level) for level in levels[1:]})
        last = shape.maps(FIRST_LEVEL)
        self.stddev = MinibatchStddev(shape.stddev_group)
        self.conv = EqualConv2d(last + 1, last)
        self.dense = EqualLinear(last * shape.base[0] * shape.base[1], last)
        self.score = EqualLinear(last, 1 + shape.labels, gain=1.0)

    def forward(
        self,
        images: Float[Tensor, "n c h w"],
        labels: Float[Tensor, "n k"] | None = None,
        level: int | None = None,
        fade: Fade = 1.0,
    ) -> Float[Tensor, " n"]:
        """Return the score of each picture; see `judge` for the arguments, of which `labels` is not looked at."""
        return self.judge(images, level=level, fade=fade)[0]

    def judge(
        self,
        images: Float[Tensor, "n c h w"],
        *,
        level: int | None = None,
        fade: Fade = 1.0,
        noise: Float[Tensor, "n w"] | None = None,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        """Return scores and label logits, both float32.

        Args:
            images: of the level's own size, in -1..1; at fade 0 the level before sees their 2 x 2 means.
            level: log2 of the nominal resolution; the last by default.
            fade: share of the level's own block, as in the generator.
            noise: for `gan.layers.multiply_noise`, as many columns as `Shape.noise_widths` adds up to; None for none.

        Returns:
            Scores (n,) and logits (n, labels) before the softmax; the latter have no columns without labels.

        Raises:
            TypeError: when the pictures are not float.
            ValueError: when their size is not the level's, or the level does not exist.
        """
        level = self.shape.checked_level(level)
        _check_pictures(images, self.shape, level)
        widths = self.shape.noise_widths(level)
        noises = [None] * len(widths) if noise is None else noise.split(widths, dim=1)
        maps = self._entered(images, level, fade, noises[:2])
        for number in range(level - 1, FIRST_LEVEL, -1):
            place = 2 * (level - number)
            maps = self.blocks[str(number)](maps, noises[place : place + 2])
        maps = leaky(self.conv(multiply_noise(self.stddev(maps), noises[-1])))
        out = self.score(leaky(self.dense(maps.flatten(1)))).float()
        return out[:, 0], out[:, 1:]

    def _entered(
        self, images: Float[Tensor, "n c h w"], level: int, fade: Fade, noises: Sequence[Tensor | None]
    ) -> Float[Tensor, "n m i j"]:
        """Return the maps that the block below `level` sees."""
        if level == FIRST_LEVEL:
            return leaky(self.from_pictures[str(level)](images))
        if _is(fade, 0.0):
            return leaky(self.from_pictures[str(level - 1)](shrink(images)))
        maps = self.blocks[str(level)](leaky(self.from_pictures[str(level)](images)), noises)
        if _is(fade, 1.0):
            return maps
        return _mixed(leaky(self.from_pictures[str(level - 1)](shrink(images))), maps, fade)


class _DiscriminatorBlock(nn.Module):
    def __init__(self, shape: Shape, level: int) -> None:
        super().__init__()
        kind = EqualConvDown if shape.scaling == "fused" else EqualConv2d
        self.shrinks_last = shape.scaling == "separate"
        self.conv = EqualConv2d(shape.maps(level), shape.maps(level))
        self.down = kind(shape.maps(level), shape.maps(level - 1))

    def forward(
        self, maps: Float[Tensor, "n c 2*h 2*w"], noises: Sequence[Tensor | None] = (None, None)
    ) -> Float[Tensor, "n e h w"]:
        maps = leaky(self.conv(multiply_noise(maps, noises[0])))
        maps = leaky(self.down(multiply_noise(maps, noises[1])))
        return shrink(maps) if self.shrinks_last else maps


def _is(fade: Fade, value: float) -> bool:
    """Whether the fade is this number; a tensor never is, since reading it would stop the device."""
    return not isinstance(fade, Tensor) and fade == value


def _mixed(old: Float[Tensor, "n c h w"], new: Float[Tensor, "n c h w"], fade: Fade) -> Float[Tensor, "n c h w"]:
    if not isinstance(fade, Tensor) and not 0.0 <= fade <= 1.0:
        raise ValueError(f"fade must be 0..1, got {fade}")
    weight = torch.as_tensor(fade, dtype=new.dtype, device=new.device)
    return torch.lerp(old.to(new.dtype), new, weight)


def _with_labels(
    latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None, shape: Shape
) -> Float[Tensor, "n d+k"]:
    if latents.ndim != 2 or latents.shape[1] != shape.latent:
        raise ValueError(f"latents must have shape (n, {shape.latent}), got {tuple(latents.shape)}")
    if shape.labels == 0:
        if labels is not None and labels.shape[-1] != 0:
            raise ValueError("this network was built without labels; leave them out")
        return latents
    if labels is None or labels.shape != (latents.shape[0], shape.labels):
        got = None if labels is None else tuple(labels.shape)
        raise ValueError(f"labels must have shape ({len(latents)}, {shape.labels}), one-hot rows, got {got}")
    return torch.cat([latents, labels.to(latents.dtype)], dim=1)


def _check_pictures(images: Tensor, shape: Shape, level: int) -> None:
    if not images.is_floating_point():
        raise TypeError(f"images must be float in -1..1, got {images.dtype}; gan.data turns uint8 into that")
    wanted = (shape.channels, *shape.size(level))
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ValueError(
            f"images of level {level} must have shape (n, {', '.join(map(str, wanted))}), got {tuple(images.shape)}"
        )
