"""Generator and discriminator of Zhang et al. 2019 ("SAGAN"): residual ones with self-attention in both.

The convolutions and dense layers of both are spectrally normalised (section 4.1); maps of 32 x 32 pixels attend to
themselves, which had the lowest FID among 8 to 64 (table 1).
"""

from __future__ import annotations

import dataclasses

from gan.zoo import resnet
from gan.zoo.resnet import ResnetDiscriminator, ResnetGenerator, label_norms
from gan.zoo.shape import Shape

__all__ = ["sagan_discriminator", "sagan_generator", "usual_shape"]


def usual_shape(resolution: int) -> Shape:
    """Return the paper's sizes, which it gives for 128 pixels; smaller pictures attend at half their size."""
    return dataclasses.replace(resnet.usual_shape(resolution), architecture="sagan", attention=min(32, resolution // 2))


def sagan_generator(shape: Shape) -> ResnetGenerator:
    """Return a generator of latents to pictures in -1..1."""
    return ResnetGenerator(shape, label_norms(shape), spectral=True, attention_level=_level(shape))


def sagan_discriminator(shape: Shape) -> ResnetDiscriminator:
    """Return a discriminator of pictures to scores."""
    return ResnetDiscriminator(shape, attention_level=_level(shape), widens_first=True)


def _level(shape: Shape) -> int:
    """Return the level of the maps that attend."""
    return shape.attention.bit_length() - 1
