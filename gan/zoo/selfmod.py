"""The generator of Chen et al. 2019, whose normalisations are told what to do by the latent ("self-modulation").

It is the residual generator of `gan.zoo.resnet` with another normalisation, and plays against the same discriminator.
"""

from __future__ import annotations

import dataclasses

from jaxtyping import Float
from torch import Tensor, nn

from gan.modulation import ModulatedBatchNorm, SelfModulation
from gan.zoo import resnet
from gan.zoo.resnet import ResnetGenerator
from gan.zoo.shape import Shape

__all__ = ["SelfModulatedGenerator", "usual_shape"]


def usual_shape(resolution: int) -> Shape:
    """Return the sizes of `gan.zoo.resnet`; at 128 pixels the authors' own are narrower and deeper."""
    return dataclasses.replace(resnet.usual_shape(resolution), architecture="selfmod")


class SelfModulatedGenerator(ResnetGenerator):
    """Latents to pictures in -1..1; labels, where there are some, modulate through the latent.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, shape: Shape) -> None:
        def norm(channels: int) -> ModulatedBatchNorm:
            modulation = SelfModulation(shape.latent, channels, width=shape.modulation_width)
            return ModulatedBatchNorm(channels, modulation)

        super().__init__(shape, norm)
        self.added = _nothing(shape) if shape.labels else None
        self.multiplied = _nothing(shape) if shape.labels else None

    def condition(self, latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None) -> Float[Tensor, "n d"]:
        """Return z + E(y) + E'(y) z (equation 4), z without labels; a fresh network's E and E' are 0."""
        if labels is None or self.added is None or self.multiplied is None:
            return latents
        rows = labels.to(latents.dtype)
        return latents + self.added(rows) + self.multiplied(rows) * latents


def _nothing(shape: Shape) -> nn.Linear:
    """Return an embedding of labels that begins as 0."""
    embedding = nn.Linear(shape.labels, shape.latent, bias=False)
    nn.init.zeros_(embedding.weight)
    return embedding
