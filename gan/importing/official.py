"""The networks of the authors' TensorFlow code (Karras et al. 2018), from the variables of their pickles.

Stored are the weights before they are scaled at run time, as (height, width, in, out); of the enlarging convolutions as
(height, width, out, in) and turned by 180 degrees, because those are written as transposed convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from gan.importing.layers import fitted_maps, place
from gan.importing.refusal import DAMAGE, ForeignFileError
from gan.importing.unpickling import StoredNetwork, plain, read_networks
from gan.layers import EqualConv2d, EqualLinear
from gan.zoo.progan import ProGanDiscriminator, ProGanGenerator
from gan.zoo.shape import FIRST_LEVEL, Shape

__all__ = ["OfficialNetworks", "read_official"]

VERSION = 2
"""Of the pickled dictionary."""
NEEDED = {"normalize_latents": True, "use_pixelnorm": True, "use_leakyrelu": True, "fmap_decay": 1.0}
"""Settings that networks here cannot have otherwise; these are the authors' defaults."""

Order = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialNetworks:
    """What one pickle holds, in eval mode on the CPU."""

    generator: ProGanGenerator
    average: ProGanGenerator
    """The running average, their "Gs"; the generator itself where there is none."""
    discriminator: ProGanDiscriminator | None
    level: int
    fade: float
    """Where their training stood."""


def read_official(file: Path) -> OfficialNetworks:
    """Return the networks of a pickle of (G, D, Gs) or of a generator alone.

    Raises:
        ForeignFileError: when the file is no such pickle or its networks are none that can be built here.
    """
    try:
        sources = [_source(network) for network in read_networks(file)]
        generators = [_generator(source) for source in sources if source.function == "G_paper"]
        discriminators = [_discriminator(source) for source in sources if source.function == "D_paper"]
        if not generators:
            raise ForeignFileError("holds no generator")
        level, fade = next(source for source in reversed(sources) if source.function == "G_paper").place()
    except ForeignFileError as error:
        raise ForeignFileError(f"{file}: {error}") from error
    except DAMAGE as error:
        raise ForeignFileError(f"{file}: its networks are damaged: {error}") from error
    return OfficialNetworks(
        generator=generators[0],
        average=generators[-1],
        discriminator=discriminators[0] if discriminators else None,
        level=level,
        fade=fade,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One network's settings and variables."""

    function: str
    settings: Mapping[str, Any]
    variables: Mapping[str, Any]

    @property
    def last_level(self) -> int:
        sides = [int(found[1]) for name in self.variables if (found := re.match(r"(\d+)x\1/", name))]
        return max(sides, default=0).bit_length() - 1

    def place(self) -> tuple[int, float]:
        """Return level and fade: "lod" counts down from the first level to 0, its fraction is the old one's share."""
        behind = float(self.array("lod"))
        if not 0 <= behind <= self.last_level - FIRST_LEVEL:
            raise ForeignFileError(f"its lod is {behind}, outside of its levels")
        return self.last_level - int(behind), 1.0 - behind % 1.0

    def array(self, name: str) -> np.ndarray:
        if name not in self.variables:
            raise ForeignFileError(f"lacks the variable {name}")
        return np.asarray(plain(self.variables[name]), dtype=np.float32)

    def maps(self, layer: str, axis: int) -> dict[int, int]:
        """Return the feature maps by level, as one layer of each level has them."""
        maps = {FIRST_LEVEL: self.array("4x4/Conv/weight").shape[3]}
        for level in range(FIRST_LEVEL + 1, self.last_level + 1):
            maps[level] = self.array(f"{1 << level}x{1 << level}/{layer}/weight").shape[axis]
        return maps

    def put(self, layer: EqualConv2d | EqualLinear, name: str, order: Order) -> None:
        """Copy the variables of one layer."""
        place(
            layer,
            order(self._tensor(f"{name}/weight")),
            self._tensor(f"{name}/bias"),
            scale=None if self.settings.get("use_wscale", True) else 1.0,
            name=name,
        )

    def _tensor(self, name: str) -> Float32[Tensor, "*shape"]:
        return torch.from_numpy(np.array(self.array(name), dtype=np.float32))


def _source(network: StoredNetwork) -> _Source:
    state = network.state
    if state.get("version") != VERSION:
        raise ForeignFileError(f"its networks have version {state.get('version')!r}, wanted {VERSION}")
    function, settings, stored = state["build_func_name"], state["static_kwargs"], state["variables"]
    if function not in ("G_paper", "D_paper"):
        raise ForeignFileError(f"holds a network {str(function)!r}; only G_paper and D_paper are ProGAN's")
    if type(settings) is not dict or type(stored) is not list:
        raise ForeignFileError("a network's settings or variables are missing")
    settings = {name: plain(value) for name, value in settings.items()}
    for name, wanted in NEEDED.items():
        if settings.get(name, wanted) != wanted:
            raise ForeignFileError(f"was made with {name}={settings[name]!r}; networks here need {wanted!r}")
    return _Source(function=function, settings=settings, variables={str(name): value for name, value in stored})


def _conv(weight: Tensor) -> Tensor:
    return weight.permute(3, 2, 0, 1)


def _turned(weight: Tensor) -> Tensor:
    return weight.permute(2, 3, 0, 1).flip(2, 3)


def _dense(weight: Tensor) -> Tensor:
    return weight.T


def _generator(source: _Source) -> ProGanGenerator:
    last = source.last_level
    fused = "8x8/Conv0_up/weight" in source.variables
    most_maps, map_budget = fitted_maps(source.maps("Conv1", 3))
    labels = int(source.settings.get("label_size", 0))
    shape = Shape(
        resolution=1 << last,
        channels=source.array("ToRGB_lod0/weight").shape[3],
        labels=labels,
        latent=source.array("4x4/Dense/weight").shape[0] - labels,
        most_maps=most_maps,
        map_budget=map_budget,
        scaling="fused" if fused else "separate",
    )
    with torch.device("meta"):
        network = ProGanGenerator(shape)
    source.put(network.dense, "4x4/Dense", _dense)
    source.put(network.conv, "4x4/Conv", _conv)
    for level, block in _by_level(network.blocks):
        side = f"{1 << level}x{1 << level}"
        source.put(block.up, f"{side}/Conv0_up" if fused else f"{side}/Conv0", _turned if fused else _conv)
        source.put(block.conv, f"{side}/Conv1", _conv)
    for level, layer in _by_level(network.to_pictures):
        source.put(layer, f"ToRGB_lod{last - level}", _conv)
    return network.eval()


def _discriminator(source: _Source) -> ProGanDiscriminator:
    last = source.last_level
    fused = "8x8/Conv1_down/weight" in source.variables
    most_maps, map_budget = fitted_maps(source.maps("Conv0", 3))
    shape = Shape(
        resolution=1 << last,
        channels=source.array("FromRGB_lod0/weight").shape[2],
        labels=source.array("4x4/Dense1/weight").shape[1] - 1,
        most_maps=most_maps,
        map_budget=map_budget,
        stddev_group=int(source.settings.get("mbstd_group_size", 4)),
        scaling="fused" if fused else "separate",
    )
    with torch.device("meta"):
        network = ProGanDiscriminator(shape)
    source.put(network.conv, "4x4/Conv", _conv)
    source.put(network.dense, "4x4/Dense0", _dense)
    source.put(network.score, "4x4/Dense1", _dense)
    for level, block in _by_level(network.blocks):
        side = f"{1 << level}x{1 << level}"
        source.put(block.conv, f"{side}/Conv0", _conv)
        source.put(block.down, f"{side}/Conv1_down" if fused else f"{side}/Conv1", _conv)
    for level, layer in _by_level(network.from_pictures):
        source.put(layer, f"FromRGB_lod{last - level}", _conv)
    return network.eval()


def _by_level(layers: torch.nn.ModuleDict) -> list[tuple[int, Any]]:
    return [(int(level), layer) for level, layer in layers.items()]
