"""Putting foreign weights into our layers, and finding the sizes that have room for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.importing.refusal import ForeignFileError
from gan.layers import EqualConv2d, EqualLinear
from gan.zoo.shape import FIRST_LEVEL, Shape

__all__ = ["fitted_maps", "place"]


def place(
    layer: EqualConv2d | EqualLinear,
    weight: Float[Tensor, "*shape"],
    bias: Float[Tensor, " m"],
    *,
    scale: float | None,
    name: str,
) -> None:
    """Give a layer the weights and biases that another code's layer of the same function has.

    Args:
        layer: ours; it may be on the meta device, where sizes that a file claims cost nothing.
        weight: as stored, in our order of axes.
        bias: as it is added.
        scale: that the other code multiplies its stored weights by at run time; None for the same as ours.
        name: in messages.

    Raises:
        ForeignFileError: when the shapes differ or a value is not finite.
    """
    for ours, theirs in ((layer.weight, weight), (layer.bias, bias)):
        if ours.shape != theirs.shape:
            raise ForeignFileError(f"{name} has the shape {tuple(theirs.shape)}, wanted {tuple(ours.shape)}")
        if not bool(torch.isfinite(theirs).all()):
            raise ForeignFileError(f"{name} holds NaN or infinity")
    scaled = weight if scale is None else weight.double() * (scale / layer.scale)
    layer.weight = nn.Parameter(scaled.float().contiguous(), requires_grad=False)
    layer.bias = nn.Parameter(bias.float().contiguous(), requires_grad=False)


def fitted_maps(maps: Mapping[int, int]) -> tuple[int, int]:
    """Return the `most_maps` and `map_budget` of the shape with so many feature maps at each level.

    Raises:
        ForeignFileError: when no shape has them.
    """
    last, most = max(maps), maps[FIRST_LEVEL]
    shape = Shape(resolution=1 << last, most_maps=most, map_budget=maps[last] << (last - 1))
    ours = {level: shape.maps(level) for level in range(FIRST_LEVEL, last + 1)}
    if ours != dict(maps):
        raise ForeignFileError(
            f"its feature maps by level are {dict(maps)}; networks here halve them at each level, below a maximum"
        )
    return shape.most_maps, shape.map_budget
