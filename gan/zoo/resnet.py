"""Residual generator and discriminator of Miyato et al. 2018 ("SNGAN"), which selfmod and sagan build upon.

Labels, where there are some, scale and shift the generator's maps (conditional batch normalisation) and are told to the
discriminator by projection (Miyato and Koyama 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gan.attention import SelfAttention
from gan.layers import enlarge, full_precision, shrink
from gan.modulation import ModulatedBatchNorm, label_modulation
from gan.spectral import FIRST_ITERATIONS, SpectralConv2d, SpectralLinear, advance_norms
from gan.zoo.networks import (
    Discriminator,
    Fade,
    Generator,
    check_labels,
    check_latents,
    check_pictures,
    check_whole,
)
from gan.zoo.shape import FIRST_LEVEL, Shape

__all__ = ["ResnetDiscriminator", "ResnetGenerator", "label_norms", "resnet_generator", "usual_shape"]

Condition: TypeAlias = "Float[Tensor, 'n k'] | None"
Norm: TypeAlias = Callable[[int], ModulatedBatchNorm]
"""From a number of channels to the normalisation of such maps."""

SMALL_RESOLUTION = 32
"""Up to which the discriminator ends with two blocks at 8 x 8 pixels (table 4), above with one at 4 x 4 (table 6)."""
GAIN = math.sqrt(2.0)
"""Of fresh weights in front of rectifiers (Glorot and Bengio 2010), as in the authors' code; 1 elsewhere."""


def usual_shape(resolution: int) -> Shape:
    """Return the sizes of the paper's CIFAR-10 networks up to 32 pixels, of its ImageNet ones (at 128) above."""
    if resolution <= SMALL_RESOLUTION:
        return Shape(
            architecture="resnet",
            resolution=resolution,
            latent=128,
            most_maps=256,
            map_budget=256 * resolution,
            discriminator_maps=128,
        )
    return Shape(architecture="resnet", resolution=resolution, latent=128, most_maps=1024, map_budget=32 * resolution)


class ResnetGenerator(Generator):
    """Latents to pictures in -1..1.

    Args:
        shape: sizes of the network.
        norm: normalisation of so many channels.
        spectral: hold the weights' singular values at 1 (SAGAN).
        attention_level: level whose maps get self-attention; None for none.
    """

    def __init__(self, shape: Shape, norm: Norm, *, spectral: bool = False, attention_level: int | None = None) -> None:
        super().__init__(shape)
        height, width = shape.base
        self.dense = _dense(spectral, shape.latent, shape.maps(FIRST_LEVEL) * height * width)
        levels = range(FIRST_LEVEL + 1, shape.last_level + 1)
        self.blocks = nn.ModuleDict({str(level): _GeneratorBlock(shape, level, norm, spectral) for level in levels})
        self.attention = None if attention_level is None else SelfAttention(shape.maps(attention_level))
        self.attention_level = attention_level
        last = shape.maps(shape.last_level)
        self.norm = norm(last)
        self.to_pictures = _conv(spectral, last, shape.channels, gain=1.0)
        advance_norms(self, iterations=FIRST_ITERATIONS)

    def forward(
        self,
        latents: Float[Tensor, "n d"],
        labels: Float[Tensor, "n k"] | None = None,
        level: int | None = None,
        fade: Fade = 1.0,
    ) -> Float[Tensor, "n c h w"]:
        """Return pictures; see `gan.zoo.networks.Generator.forward`."""
        self.shape.checked_level(level)
        check_whole(fade)
        check_latents(latents, self.shape)
        check_labels(labels, latents.shape[0], self.shape)
        condition = self.condition(latents, labels)
        maps = self.dense(latents).unflatten(1, (-1, *self.shape.base))
        for number, block in self.blocks.items():
            maps = block(maps, condition)
            if self.attention is not None and int(number) == self.attention_level:
                maps = self.attention(maps)
        return self.to_pictures(functional.relu(self.norm(maps, condition))).tanh()

    def condition(self, latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None) -> Condition:
        """Return what the normalisations are told: the labels."""
        return None if labels is None else labels.to(latents.dtype)


class ResnetDiscriminator(Discriminator):
    """Pictures to scores, higher for those that look real as what their labels say.

    Args:
        shape: sizes of the network.
        attention_level: level whose maps get self-attention; None for none.
        widens_first: whether every block widens its maps at its first convolution (SAGAN); else at its second, but for
            the one that sees pictures.
    """

    def __init__(self, shape: Shape, *, attention_level: int | None = None, widens_first: bool = False) -> None:
        super().__init__(shape)
        spectral = shape.judged_norm == "spectral"
        end, plain = _end(shape)
        blocks, before = {}, shape.channels
        for level in range(shape.last_level, end, -1):
            after = shape.maps_judged(level)
            hidden = before if blocks and not widens_first else after
            blocks[str(level)] = _DiscriminatorBlock(before, after, spectral, hidden=hidden, shrinks=True)
            before = after
        for number in range(plain):
            after = shape.maps_judged(end)
            hidden = after if widens_first else before
            blocks[f"plain{number}"] = _DiscriminatorBlock(before, after, spectral, hidden=hidden, shrinks=False)
            before = after
        self.blocks = nn.ModuleDict(blocks)
        self.attention_block = None if attention_level is None else str(attention_level + 1)
        self.attention = None if attention_level is None else SelfAttention(shape.maps_judged(attention_level + 1))
        self.score = _dense(spectral, before, 1)
        self.projection = _dense(spectral, shape.labels, before, bias=False) if shape.labels else None
        advance_norms(self, iterations=FIRST_ITERATIONS)

    def judge(
        self,
        images: Float[Tensor, "n c h w"],
        labels: Float[Tensor, "n k"] | None = None,
        *,
        level: int | None = None,
        fade: Fade = 1.0,
        noise: Float[Tensor, "n w"] | None = None,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        """Return scores and no logits; see `gan.zoo.networks.Discriminator.judge`."""
        check_pictures(images, self.shape, self.shape.checked_level(level))
        check_whole(fade)
        check_labels(labels, images.shape[0], self.shape)
        maps = images
        for place, (name, block) in enumerate(self.blocks.items()):
            maps = block(maps, rectified=place > 0)
            if self.attention is not None and name == self.attention_block:
                maps = self.attention(maps)
        features = functional.relu(maps.float()).sum(dim=(2, 3))
        with full_precision(features):
            scores = self.score(features)[:, 0]
            if self.projection is not None and labels is not None:
                scores = scores + (self.projection(labels.to(features.dtype)) * features).sum(dim=1)
        return scores, scores.new_empty(images.shape[0], 0)


def resnet_generator(shape: Shape) -> ResnetGenerator:
    """Return the generator of Miyato et al. 2018, tables 4 and 6."""
    return ResnetGenerator(shape, label_norms(shape))


def label_norms(shape: Shape) -> Norm:
    """Return plain batch normalisation, or, with labels, the conditional one."""
    if shape.labels:
        return lambda channels: ModulatedBatchNorm(channels, label_modulation(shape.labels, channels))
    return ModulatedBatchNorm


class _GeneratorBlock(nn.Module):
    """Maps of twice the size (figure 8)."""

    def __init__(self, shape: Shape, level: int, norm: Norm, spectral: bool) -> None:
        super().__init__()
        before, after = shape.maps(level - 1), shape.maps(level)
        self.norms = nn.ModuleList([norm(before), norm(after)])
        self.convs = nn.ModuleList([_conv(spectral, before, after), _conv(spectral, after, after)])
        self.shortcut = _conv(spectral, before, after, 1, gain=1.0)

    def forward(self, maps: Float[Tensor, "n c h w"], condition: Condition) -> Float[Tensor, "n e 2*h 2*w"]:
        values = self.convs[0](enlarge(functional.relu(self.norms[0](maps, condition))))
        values = self.convs[1](functional.relu(self.norms[1](values, condition)))
        return values + enlarge(self.shortcut(maps))


class _DiscriminatorBlock(nn.Module):
    """Maps of half the size, or of their own (figure 8).

    `hidden` maps lie between its convolutions.
    """

    def __init__(self, before: int, after: int, spectral: bool, *, hidden: int, shrinks: bool) -> None:
        super().__init__()
        self.shrinks = shrinks
        self.convs = nn.ModuleList([_conv(spectral, before, hidden), _conv(spectral, hidden, after)])
        self.shortcut = _conv(spectral, before, after, 1, gain=1.0) if shrinks or before != after else None

    def forward(self, maps: Float[Tensor, "n c h w"], *, rectified: bool) -> Float[Tensor, "n e i j"]:
        """Return the maps; the first block, which sees pictures, must not rectify them."""
        entered = functional.relu(maps) if rectified else maps
        values = self.convs[1](functional.relu(self.convs[0](entered)))
        past = maps if self.shortcut is None else self.shortcut(maps)  # a 1 x 1 convolution of means is its mean
        return shrink(values + past) if self.shrinks else values + past


def _conv(spectral: bool, channels_in: int, channels_out: int, kernel: int = 3, *, gain: float = GAIN) -> nn.Conv2d:
    if spectral:
        conv = SpectralConv2d(channels_in, channels_out, kernel)
    else:
        conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    nn.init.xavier_uniform_(conv.weight, gain)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _dense(spectral: bool, width_in: int, width_out: int, *, bias: bool = True) -> nn.Linear:
    layer = (SpectralLinear if spectral else nn.Linear)(width_in, width_out, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _end(shape: Shape) -> tuple[int, int]:
    """Return the level at which the discriminator stops shrinking, and how many blocks follow there."""
    if shape.resolution <= SMALL_RESOLUTION:
        return min(FIRST_LEVEL + 1, shape.last_level - 1), 2
    return FIRST_LEVEL, 1
