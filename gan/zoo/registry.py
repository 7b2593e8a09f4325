"""Architectures by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from gan.zoo import dcgan, progan, resnet, sagan, selfmod, style
from gan.zoo.networks import Discriminator, Generator
from gan.zoo.shape import NAMES, Shape

__all__ = ["build_discriminator", "build_generator", "usual_shape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Architecture:
    generator: Callable[[Shape], Generator]
    discriminator: Callable[[Shape], Discriminator]
    usual_shape: Callable[[int], Shape]


_ARCHITECTURES = MappingProxyType(
    {
        "progan": _Architecture(
            generator=progan.ProGanGenerator,
            discriminator=progan.ProGanDiscriminator,
            usual_shape=progan.usual_shape,
        ),
        "dcgan": _Architecture(
            generator=dcgan.DcganGenerator, discriminator=dcgan.DcganDiscriminator, usual_shape=dcgan.usual_shape
        ),
        "resnet": _Architecture(
            generator=resnet.resnet_generator,
            discriminator=resnet.ResnetDiscriminator,
            usual_shape=resnet.usual_shape,
        ),
        "selfmod": _Architecture(
            generator=selfmod.SelfModulatedGenerator,
            discriminator=resnet.ResnetDiscriminator,
            usual_shape=selfmod.usual_shape,
        ),
        "sagan": _Architecture(
            generator=sagan.sagan_generator, discriminator=sagan.sagan_discriminator, usual_shape=sagan.usual_shape
        ),
        "style": _Architecture(
            generator=style.StyleGenerator, discriminator=style.style_discriminator, usual_shape=style.usual_shape
        ),
    }
)


def usual_shape(name: str, resolution: int) -> Shape:
    """Return an architecture's sizes as its paper has them, for pictures of some resolution.

    Raises:
        ValueError: when there is no such architecture or size.
    """
    return _architecture(name).usual_shape(resolution)


def build_generator(name: str, resolution: int = 1024, *, shape: Shape | None = None) -> Generator:
    """Return a generator with random weights, drawn from torch's global generator.

    It is called as `generator(latents (n, d), labels=None, level=None, fade=1.0)` and returns float pictures
    (n, channels, h, w) around -1..1, of the level's own size; level = log2(resolution). d is `shape.latent`.

    Args:
        name: one of `NAMES`.
        resolution: side of the largest pictures, a power of two from 4.
        shape: every size, `resolution` included, instead of `usual_shape`.

    Raises:
        ValueError: when there is no such architecture or size.
    """
    architecture = _architecture(name)
    return architecture.generator(_checked(shape, name) if shape else architecture.usual_shape(resolution))


def build_discriminator(name: str, resolution: int = 1024, *, shape: Shape | None = None) -> Discriminator:
    """Return a discriminator with random weights; see `build_generator`.

    It is called as `discriminator(images, labels=None, level=None, fade=1.0)` and returns float32 scores (n,).
    """
    architecture = _architecture(name)
    return architecture.discriminator(_checked(shape, name) if shape else architecture.usual_shape(resolution))


def _checked(shape: Shape, name: str) -> Shape:
    if shape.architecture != name:
        raise ValueError(f"the shape is of {shape.architecture}, not of {name}; set its architecture")
    return shape


def _architecture(name: str) -> _Architecture:
    if name not in _ARCHITECTURES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}" if near else f"choose one of {', '.join(NAMES)}"
        raise ValueError(f"there is no architecture {name!r}; {hint}")
    return _ARCHITECTURES[name]
