"""How a foreign file's tensors become a network: what an architecture's recogniser returns, and how it counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

__all__ = ["Plan", "Shapes", "count", "kernel", "prefixed"]

MOST_LAYERS = 1000
"""Of one kind; the deepest published networks of the families have fewer than 70."""
Shapes = Mapping[str, tuple[int, ...]]
"""The shape of every tensor of a file, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recognised architecture."""

    title: str
    """For messages, such as "RRDBNet with 23 blocks of 64 channels"."""
    make: Callable[[], nn.Module]
    """Builds the module, which has `scale`, `stride`, `reach` and `colours` and works in [0, 1]."""
    names: Mapping[str, str]
    """The module's own name of each of the file's tensors."""


def count(shapes: Shapes, pattern: str) -> int:
    r"""Return how many different texts the pattern's first group takes: blocks, layers.

    >>> count({"body.0.weight": (1,), "body.0.bias": (1,), "body.2.weight": (1,)}, r"body\.(\d+)\.")
    2

    Raises:
        ValueError: when there are more than anyone would train, so that a small file cannot make a huge network.
    """
    found = (re.match(pattern, name) for name in shapes)
    number = len({match.group(1) for match in found if match})
    if number > MOST_LAYERS:
        raise ValueError(f"has {number:,} layers named like {pattern}; at most {MOST_LAYERS:,} are loaded")
    return number


def kernel(shapes: Shapes, name: str) -> tuple[int, int, int]:
    """Return (made channels, given channels, side) of a square convolution.

    Raises:
        ValueError: when the file lacks it, or it is no square kernel.
    """
    shape = shapes.get(name)
    if shape is None:
        raise ValueError(f"{name} is missing")
    if len(shape) != 4 or shape[2] != shape[3] or 0 in shape:
        raise ValueError(f"{name} has shape {shape}, but a square convolution's (made, given, side, side) is needed")
    return shape[0], shape[1], shape[2]


def prefixed(shapes: Shapes, renames: Mapping[str, str]) -> dict[str, str]:
    r"""Return a new name for each tensor: the first pattern that matches its beginning is replaced; else it stays.

    >>> prefixed({"HRconv.bias": (3,)}, {r"HRconv\.": "conv_hr."})
    {'HRconv.bias': 'conv_hr.bias'}
    """
    renamed = {}
    for name in shapes:
        pattern = next((pattern for pattern in renames if re.match(pattern, name)), None)
        renamed[name] = name if pattern is None else re.sub(f"^{pattern}", renames[pattern], name)
    return renamed
