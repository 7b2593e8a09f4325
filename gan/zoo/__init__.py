"""Generators and discriminators: `build_generator(name, resolution)`, one file for each architecture."""

from gan.zoo.progan import Discriminator, Generator, Shape
from gan.zoo.registry import NAMES, build_discriminator, build_generator

__all__ = ["NAMES", "Discriminator", "Generator", "Shape", "build_discriminator", "build_generator"]
