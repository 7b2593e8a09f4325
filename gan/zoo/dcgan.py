"""Generator and discriminator of Radford et al. 2016 ("DCGAN"): strided convolutions with batch normalisation.

Latents are normal, as everywhere here; the paper's are uniform.

Kernels are 4 x 4, as in everybody's implementation since: the paper's odd ones overlap unevenly when strided, which
draws checkerboards (Odena et al. 2016; `gan.checkerboard` measures it).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from gan.layers import SLOPE
from gan.spectral import FIRST_ITERATIONS, SpectralConv2d, SpectralLinear, advance_norms
from gan.zoo.networks import Discriminator, Fade, Generator, check_pictures, check_whole, joined_labels
from gan.zoo.shape import FIRST_LEVEL, Shape

__all__ = ["DcganDiscriminator", "DcganGenerator", "usual_shape"]

LAST_MAPS = 128
"""Behind the largest pictures (figure 1)."""
DEVIATION = 0.02
"""Of fresh weights (section 4)."""


def usual_shape(resolution: int) -> Shape:
    """Return the sizes of figure 1 at 64 pixels, and as many maps behind the pictures at other resolutions."""
    return Shape(
        architecture="dcgan",
        resolution=resolution,
        latent=100,
        most_maps=1024,
        map_budget=LAST_MAPS * max(resolution // 4, 1),
    )


class DcganGenerator(Generator):
    """Latents, with their labels behind them, to pictures in -1..1.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        height, width = shape.base
        first = shape.maps(FIRST_LEVEL)
        self.dense = nn.Linear(shape.latent + shape.labels, first * height * width, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(first), nn.ReLU()]
        for level in range(FIRST_LEVEL + 1, shape.last_level):
            layers += [
                nn.ConvTranspose2d(shape.maps(level - 1), shape.maps(level), 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(shape.maps(level)),
                nn.ReLU(),
            ]
        last = shape.maps(shape.last_level - 1)
        layers += [nn.ConvTranspose2d(last, shape.channels, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

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
        return self.layers(self.dense(joined_labels(latents, labels, self.shape)).unflatten(1, (-1, *self.shape.base)))


class DcganDiscriminator(Discriminator):
    """Pictures to scores, higher for those that look real; with labels also a guess at them.

    Batch normalisation, where the shape asks for it, takes the statistics of the pictures at hand at any time: scores
    depend on the company, so real and generated pictures are judged apart.

    Args:
        shape: sizes of the network.
    """

    guesses_labels = True

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        layers: list[nn.Module] = []
        before = shape.channels
        for level in range(shape.last_level - 1, FIRST_LEVEL - 1, -1):
            maps = shape.maps_judged(level)
            bare = shape.judged_norm == "batch" and not layers  # the first layer sees pictures (section 3)
            layers += _halving(before, maps, norm="none" if bare else shape.judged_norm)
            before = maps
        self.layers = nn.Sequential(*layers)
        dense = SpectralLinear if shape.judged_norm == "spectral" else nn.Linear
        self.score = dense(before * shape.base[0] * shape.base[1], 1 + shape.labels)
        self.apply(_initialise)
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
        """Return scores and label logits; see `gan.zoo.networks.Discriminator.judge`."""
        check_pictures(images, self.shape, self.shape.checked_level(level))
        check_whole(fade)
        out = self.score(self.layers(images).flatten(1)).float()
        return out[:, 0], out[:, 1:]


def _halving(channels_in: int, channels_out: int, *, norm: str) -> list[nn.Module]:
    """Return the layers that halve the size of maps."""
    if norm == "spectral":
        return [SpectralConv2d(channels_in, channels_out, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    conv = nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=norm != "batch")
    normalised = [nn.BatchNorm2d(channels_out, track_running_stats=False)] if norm == "batch" else []
    return [conv, *normalised, nn.LeakyReLU(SLOPE)]


def _initialise(module: nn.Module) -> None:
    """Draw fresh weights: normal with a deviation of 0.02 (section 4), scales around 1 likewise."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, DEVIATION)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, DEVIATION)
