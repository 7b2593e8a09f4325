"""The generators of pytorch_GAN_zoo (.pth files of its progressive GAN).

Its layers multiply bias and weights together by He's constant, the last one's too; its first layer has a bias for each
pixel of a feature map. The discriminator is not read: its statistic over the minibatch is another one.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan.importing.layers import fitted_maps, place
from gan.importing.refusal import DAMAGE, ForeignFileError, read_limited
from gan.layers import EqualConv2d, EqualLinear
from gan.zoo.progan import ProGanGenerator
from gan.zoo.shape import FIRST_LEVEL, Shape

__all__ = ["ZooGenerator", "read_gan_zoo"]

NEEDED = {"perChannelNormalization": True, "leakyReluLeak": 0.2}
"""Settings that networks here cannot have otherwise."""
WITHOUT_TANH = ("WGANGP", "Logistic")
"""Losses whose generators end as ours do."""
REFUSED = re.compile(r"GLOBAL ([\w.]+)")
"""How torch's errors name what its reader of weights does not allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooGenerator:
    """What one file holds, in eval mode on the CPU."""

    generator: ProGanGenerator
    """The running average where there is one."""
    level: int
    fade: float
    """Where its training stood."""


class _Config:
    """Stands for models.utils.config.BaseConfig, a bag of settings."""


def read_gan_zoo(file: Path) -> ZooGenerator:
    """Return the generator of a checkpoint.

    Raises:
        ForeignFileError: when the file holds anything but tensors and settings, or a network that cannot be built here.
    """
    try:
        stored = _stored(file)
        generator = _generator(_averaged(stored), _settings(stored))
        fade = 1.0 - float(_settings(stored).get("alpha", 0.0))
    except ForeignFileError as error:
        raise ForeignFileError(f"{file}: {error}") from error
    except DAMAGE as error:
        raise ForeignFileError(f"{file}: its generator is damaged: {error}") from error
    last = generator.shape.last_level
    return ZooGenerator(generator=generator, level=last, fade=1.0 if last == FIRST_LEVEL else fade)


def _stored(file: Path) -> Mapping[str, Any]:
    data = read_limited(file)
    allowed = [(_Config, "models.utils.config.BaseConfig")]
    try:
        with torch.serialization.safe_globals(allowed):  # pyright: ignore[reportArgumentType]
            stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make its reader raise nearly anything, assertions too
        refused = REFUSED.search(str(error))
        if refused:
            raise ForeignFileError(f"asks for {refused[1]}, which is refused: weights need no such thing") from error
        raise ForeignFileError("is no checkpoint of pytorch_GAN_zoo, or a damaged one") from error
    if not isinstance(stored, dict) or "netG" not in stored or "config" not in stored:
        raise ForeignFileError("is no checkpoint of pytorch_GAN_zoo: it has no netG and config")
    return stored


def _settings(stored: Mapping[str, Any]) -> dict[str, Any]:
    config = stored["config"]
    settings = dict(config) if isinstance(config, dict) else vars(config)
    for name, wanted in NEEDED.items():
        if settings.get(name, wanted) != wanted:
            raise ForeignFileError(f"was made with {name}={settings[name]!r}; networks here need {wanted!r}")
    loss = settings.get("lossCriterion", WITHOUT_TANH[0])
    if loss not in WITHOUT_TANH:
        raise ForeignFileError(f"was trained with {loss!r}, whose generators end in a tanh; networks here do not")
    return settings


def _averaged(stored: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the generator's tensors; early files name them without ".module"."""
    chosen = stored.get("avgG") or stored["netG"]
    tensors = {name.removeprefix("module.").replace(".module.", "."): value for name, value in chosen.items()}
    strange = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strange:
        raise ForeignFileError(f"{strange[0]} is no tensor")
    return {name: value.float() for name, value in tensors.items()}


def _generator(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> ProGanGenerator:
    labels = int(settings.get("categoryVectorDim", 0))
    last = FIRST_LEVEL + sum(name.startswith("scaleLayers.") and name.endswith(".0.weight") for name in tensors)
    maps = {FIRST_LEVEL: len(_tensor(tensors, "groupScale0.0.weight"))}
    for level in range(FIRST_LEVEL + 1, last + 1):
        maps[level] = len(_tensor(tensors, f"scaleLayers.{level - FIRST_LEVEL - 1}.0.weight"))
    most_maps, map_budget = fitted_maps(maps)
    shape = Shape(
        resolution=1 << last,
        channels=len(_tensor(tensors, "toRGBLayers.0.weight")),
        labels=labels,
        latent=_tensor(tensors, "formatLayer.weight").shape[1] - labels,
        most_maps=most_maps,
        map_budget=map_budget,
        first_bias="pixel",
        scaling="separate",
    )
    with torch.device("meta"):
        network = ProGanGenerator(shape)
    for name, layer in _layers(network):
        _put(layer, tensors, name, equalised=bool(settings.get("equalizedlR", True)))
    return network.eval()


def _layers(network: ProGanGenerator) -> list[tuple[str, EqualConv2d | EqualLinear]]:
    """Return every layer with its name there."""
    layers: list[tuple[str, Any]] = [("formatLayer", network.dense), ("groupScale0.0", network.conv)]
    for place_, block in enumerate(network.blocks.values()):
        layers += [(f"scaleLayers.{place_}.0", block.up), (f"scaleLayers.{place_}.1", block.conv)]
    return layers + [(f"toRGBLayers.{place_}", layer) for place_, layer in enumerate(network.to_pictures.values())]


def _put(layer: EqualConv2d | EqualLinear, tensors: Mapping[str, Tensor], name: str, *, equalised: bool) -> None:
    weight, bias = _tensor(tensors, f"{name}.weight"), _tensor(tensors, f"{name}.bias")
    scale = math.sqrt(2.0 / weight[0].numel()) if equalised else 1.0
    place(layer, weight, bias.double() * scale, scale=scale, name=name)


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ForeignFileError(f"lacks the tensor {name}")
    return tensors[name]
