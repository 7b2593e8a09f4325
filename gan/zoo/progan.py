"""Generator and discriminator of Karras et al. 2018 (table 2), which grow from 4 x 4 pixels.

While a level fades in, the picture is a mixture of the new block's and the enlarged one of the level before (figure 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from gan.zoo.fading import is_number, mixed
from gan.zoo.networks import Discriminator, Fade, Generator, check_pictures, joined_labels
from gan.zoo.shape import FIRST_LEVEL, Shape

__all__ = ["ProGanDiscriminator", "ProGanGenerator", "usual_shape"]


def usual_shape(resolution: int) -> Shape:
    """Return the paper's sizes for pictures of this resolution."""
    return Shape(architecture="progan", resolution=resolution)


class ProGanGenerator(Generator):
    """Latents to pictures; at the end there is no tanh, so levels may lie somewhat outside -1..1.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
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
        """Return pictures of a level's own size; see `gan.zoo.networks.Generator.forward`.

        Latents may lie on the sphere as well: they are normalised first.
        """
        level = self.shape.checked_level(level)
        maps = self._first_maps(latents, labels)
        for number in range(FIRST_LEVEL + 1, level):
            maps = self.blocks[str(number)](maps)
        if level == FIRST_LEVEL:
            return self.to_pictures[str(level)](maps)
        if is_number(fade, 0.0):
            return enlarge(self.to_pictures[str(level - 1)](maps))
        pictures = self.to_pictures[str(level)](self.blocks[str(level)](maps))
        if is_number(fade, 1.0):
            return pictures
        return mixed(enlarge(self.to_pictures[str(level - 1)](maps)), pictures, fade)

    def _first_maps(
        self, latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None
    ) -> Float[Tensor, "n m h w"]:
        rows = joined_labels(latents, labels, self.shape)
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


class ProGanDiscriminator(Discriminator):
    """Pictures to scores, higher for those that look real; with labels also a guess at them.

    Args:
        shape: sizes of the network.
        block: what makes a level's block, which is called with maps and their noises.
    """

    guesses_labels = True

    def __init__(self, shape: Shape, block: Callable[[Shape, int], nn.Module] | None = None) -> None:
        super().__init__(shape)
        block = block or _DiscriminatorBlock
        levels = range(FIRST_LEVEL, shape.last_level + 1)
        self.from_pictures = nn.ModuleDict(
            {str(level): EqualConv2d(shape.channels, shape.maps(level), 1) for level in levels}
        )
        self.blocks = nn.ModuleDict({str(level): block(shape, level) for level in levels[1:]})
        last = shape.maps(FIRST_LEVEL)
        self.stddev = MinibatchStddev(shape.stddev_group)
        self.conv = EqualConv2d(last + 1, last)
        self.dense = EqualLinear(last * shape.base[0] * shape.base[1], last)
        self.score = EqualLinear(last, 1 + shape.labels, gain=1.0)

    def judge(
        self,
        images: Float[Tensor, "n c h w"],
        labels: Float[Tensor, "n k"] | None = None,
        *,
        level: int | None = None,
        fade: Fade = 1.0,
        noise: Float[Tensor, "n w"] | None = None,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        """Return scores and label logits; see `gan.zoo.networks.Discriminator.judge`."""
        level = self.shape.checked_level(level)
        check_pictures(images, self.shape, level)
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
        if is_number(fade, 0.0):
            return leaky(self.from_pictures[str(level - 1)](shrink(images)))
        maps = self.blocks[str(level)](leaky(self.from_pictures[str(level)](images)), noises)
        if is_number(fade, 1.0):
            return maps
        return mixed(leaky(self.from_pictures[str(level - 1)](shrink(images))), maps, fade)


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
