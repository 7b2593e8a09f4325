"""A generator in the manner of Karras et al. 2019 ("StyleGAN"), which draws from a constant and is told the style.

A mapping network turns the latent into a style; every convolution is followed by noise and by adaptive instance
normalisation, which sets each map's mean and deviation as the style asks. It grows like ProGAN, whose discriminator it
plays against, with sizes changed through a blur in both. Labels are ProGAN's too: joined to the latent and guessed by
the discriminator; the authors embed them first, and tell them by projection.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.layers import (
    EqualConv2d,
    EqualConvDown,
    EqualConvUp,
    EqualLinear,
    PixelNorm,
    blur,
    enlarge,
    full_precision,
    leaky,
    multiply_noise,
)
from gan.modulation import AdaptiveInstanceNorm
from gan.zoo.fading import is_number, mixed
from gan.zoo.networks import Fade, Generator, joined_labels
from gan.zoo.progan import ProGanDiscriminator
from gan.zoo.shape import FIRST_LEVEL, Shape

__all__ = ["StyleGenerator", "style_discriminator", "usual_shape"]

MAPPING_PACE = 0.01
"""Learning rate of the mapping network, as a factor (appendix C)."""
MIXED_SHARE = 0.9
"""Of the training pictures have two latents' styles (section 3.1)."""
MEAN_DECAY = 0.995
"""Kept of the mean style in a step."""
TRUNCATED_LAYERS = 8
"""Of the first levels, 4 to 32 pixels, which truncation is for (appendix B)."""


def usual_shape(resolution: int) -> Shape:
    """Return the paper's sizes for pictures of this resolution, which are ProGAN's."""
    return Shape(architecture="style", resolution=resolution)


class StyleGenerator(Generator):
    """Latents, with their labels behind them, to pictures; at the end there is no tanh.

    While it trains, noise, and second latents for mixed styles, come from torch's global generator. Afterwards noise is
    a constant of the network, so that equal latents draw equal pictures.

    Args:
        shape: sizes of the network.
    """

    truncates = True
    draws = True

    mean_style: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.normalise = PixelNorm()
        widths = [shape.latent + shape.labels] + [shape.latent] * shape.mapping_layers
        self.mapping = nn.ModuleList(
            EqualLinear(before, after, pace=MAPPING_PACE) for before, after in itertools.pairwise(widths)
        )
        self.register_buffer("mean_style", torch.zeros(shape.latent))
        levels = range(FIRST_LEVEL, shape.last_level + 1)
        self.constant = nn.Parameter(torch.ones(1, shape.maps(FIRST_LEVEL), *shape.base))
        self.blocks = nn.ModuleDict({str(level): _StyleBlock(shape, level) for level in levels})
        self.to_pictures = nn.ModuleDict(
            {str(level): EqualConv2d(shape.maps(level), shape.channels, 1, gain=1.0) for level in levels}
        )

    def forward(
        self,
        latents: Float[Tensor, "n d"],
        labels: Float[Tensor, "n k"] | None = None,
        level: int | None = None,
        fade: Fade = 1.0,
        *,
        truncation: float = 1.0,
    ) -> Float[Tensor, "n c h w"]:
        """Return pictures of a level's own size; see `gan.zoo.networks.Generator.forward`.

        Args:
            latents: from the normal distribution.
            labels: one row for each latent where the network has labels.
            level: log2 of the nominal resolution; the last by default.
            fade: share of the level's own block.
            truncation: how far styles up to 32 x 32 pixels may lie from the mean style, as a factor: 0 draws one
                picture for all, 1 leaves them where they are. Training does not look at it.
        """
        level = self.shape.checked_level(level)
        rows = self._rows(latents, labels, level, truncation)
        maps = self.constant.expand(latents.shape[0], -1, -1, -1)
        for number in range(FIRST_LEVEL, level):
            maps = self.blocks[str(number)](maps, rows)
        if level == FIRST_LEVEL:
            return self.to_pictures[str(level)](self.blocks[str(level)](maps, rows))
        if is_number(fade, 0.0):
            return enlarge(self.to_pictures[str(level - 1)](maps))
        pictures = self.to_pictures[str(level)](self.blocks[str(level)](maps, rows))
        if is_number(fade, 1.0):
            return pictures
        return mixed(enlarge(self.to_pictures[str(level - 1)](maps)), pictures, fade)

    def styles(self, latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None = None) -> Float[Tensor, "n d"]:
        """Return the mapping network's answer, the paper's w; without autocast, being deep and cheap."""
        rows = self.normalise(joined_labels(latents, labels, self.shape))
        with full_precision(rows):
            for dense in self.mapping:
                rows = leaky(dense(rows))
        return rows

    def _rows(
        self, latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None, level: int, truncation: float
    ) -> Sequence[Float[Tensor, "n d"]]:
        """Return the style of each layer, two a level."""
        styles, count = self.styles(latents, labels), 2 * (level - FIRST_LEVEL + 1)
        if self.training:
            self._follow(styles)
            return _mixed_rows(styles, self.styles(torch.randn_like(latents), labels), count)
        if truncation == 1.0:
            return [styles] * count
        near = torch.lerp(self.mean_style.to(styles.dtype), styles, truncation)
        return [near if layer < TRUNCATED_LAYERS else styles for layer in range(count)]

    @torch.no_grad()
    def _follow(self, styles: Float[Tensor, "n d"]) -> None:
        self.mean_style.lerp_(styles.to(self.mean_style.dtype).mean(dim=0), 1 - MEAN_DECAY)


def _mixed_rows(
    styles: Float[Tensor, "n d"], others: Float[Tensor, "n d"], count: int
) -> Sequence[Float[Tensor, "n d"]]:
    """Return each layer's style where most pictures get the other one from some layer on."""
    first = torch.randint(1, count, (styles.shape[0], 1), device=styles.device)
    first = torch.where(torch.rand(styles.shape[0], 1, device=styles.device) < MIXED_SHARE, first, count)
    return [torch.where(first <= layer, others, styles) for layer in range(count)]


class _StyleBlock(nn.Module):
    """The two layers of a level, of which the first enlarges; at the first level it only dresses the constant."""

    def __init__(self, shape: Shape, level: int) -> None:
        super().__init__()
        maps = shape.maps(level)
        self.up = EqualConvUp(shape.maps(level - 1), maps) if level > FIRST_LEVEL else None
        self.conv = EqualConv2d(maps, maps)
        self.dressings = nn.ModuleList(_Dressing(shape, level) for _ in range(2))
        self.place = 2 * (level - FIRST_LEVEL)

    def forward(
        self, maps: Float[Tensor, "n c h w"], styles: Sequence[Float[Tensor, "n d"]]
    ) -> Float[Tensor, "n e i j"]:
        maps = maps if self.up is None else blur(self.up(maps))
        maps = self.dressings[0](maps, styles[self.place])
        return self.dressings[1](self.conv(maps), styles[self.place + 1])


class _Dressing(nn.Module):
    """Noise, rectifier and style (figure 1b); the bias has been added by the convolution."""

    noise: Tensor

    def __init__(self, shape: Shape, level: int) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros(shape.maps(level), 1, 1))
        self.register_buffer("noise", torch.randn(1, 1, *shape.size(level)))
        self.norm = AdaptiveInstanceNorm(EqualLinear(shape.latent, 2 * shape.maps(level), gain=1.0))

    def forward(self, maps: Float[Tensor, "n c h w"], styles: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        noise = self.noise.expand(maps.shape[0], -1, -1, -1)
        noise = torch.randn_like(noise) if self.training else noise
        return self.norm(leaky(maps + (self.strength * noise).to(maps.dtype)), styles)


def style_discriminator(shape: Shape) -> ProGanDiscriminator:
    """Return ProGAN's discriminator with a blur in front of every shrinking convolution (appendix C)."""
    return ProGanDiscriminator(shape, _BlurredBlock)


class _BlurredBlock(nn.Module):
    """A level of the discriminator."""

    def __init__(self, shape: Shape, level: int) -> None:
        super().__init__()
        self.conv = EqualConv2d(shape.maps(level), shape.maps(level))
        self.down = EqualConvDown(shape.maps(level), shape.maps(level - 1))

    def forward(
        self, maps: Float[Tensor, "n c 2*h 2*w"], noises: Sequence[Tensor | None] = (None, None)
    ) -> Float[Tensor, "n e h w"]:
        maps = leaky(self.conv(multiply_noise(maps, noises[0])))
        return leaky(self.down(blur(multiply_noise(maps, noises[1]))))
