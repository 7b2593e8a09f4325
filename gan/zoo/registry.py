"""Architectures by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from gan.zoo.progan import Discriminator, Generator, Shape

__all__ = ["NAMES", "build_discriminator", "build_generator"]


@dataclass(frozen=True, slots=True)
class _Pair:
    generator: Callable[[Shape], Generator]
    discriminator: Callable[[Shape], Discriminator]


_PAIRS = {"progan": _Pair(Generator, Discriminator)}

NAMES = tuple(_PAIRS)
"""What can be built."""


def build_generator(name: str, resolution: int = 1024, *, shape: Shape | None = None) -> Generator:
    """Return a generator with random weights, drawn from torch's global generator.

    It is called as `generator(latents (n, 512), labels=None, level=None, fade=1.0)` and returns float pictures
    (n, channels, h, w) around -1..1, of the level's own size; level = log2(resolution).

    Args:
        name: one of `NAMES`.
        resolution: side of the largest pictures, a power of two from 4.
        shape: every size, `resolution` included, instead of the paper's.

    Raises:
        ValueError: when there is no such architecture or size.
    """
    return _pair(name).generator(shape or Shape(architecture=name, resolution=resolution))


def build_discriminator(name: str, resolution: int = 1024, *, shape: Shape | None = None) -> Discriminator:
    """Return a discriminator with random weights; see `build_generator`.

    It is called as `discriminator(images, labels=None, level=None, fade=1.0)` and returns float32 scores (n,).
    """
    return _pair(name).discriminator(shape or Shape(architecture=name, resolution=resolution))


def _pair(name: str) -> _Pair:
    if name not in _PAIRS:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}" if near else f"choose one of {', '.join(NAMES)}"
        raise ValueError(f"there is no architecture {name!r}; {hint}")
    return _PAIRS[name]
