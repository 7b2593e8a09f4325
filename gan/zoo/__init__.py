"""Generators and discriminators: `build_generator(name, resolution)`, one file for each architecture.

progan: Karras et al. 2018. dcgan: Radford et al. 2016. resnet: Miyato et al. 2018. selfmod: Chen et al. 2019. sagan:
Zhang et al. 2019. style: Karras et al. 2019.
"""

from gan.zoo.networks import Discriminator, Generator
from gan.zoo.registry import build_discriminator, build_generator, usual_shape
from gan.zoo.shape import NAMES, Shape

__all__ = [
    "NAMES",
    "Discriminator",
    "Generator",
    "Shape",
    "build_discriminator",
    "build_generator",
    "usual_shape",
]
