"""Sizes of a pair of networks: what every architecture can be told, and what only one of them understands.

A level is log2 of the nominal resolution: 2 for the smallest pictures, 10 for 1024 x 1024.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["FIRST_LEVEL", "GROWING", "NAMES", "Shape"]

FIRST_LEVEL = 2
"""4 x 4 pixels."""
GROWING = frozenset({"progan", "style"})
"""Architectures that are trained level by level; the others draw pictures of one size."""

_JUDGED = frozenset({"discriminator_maps", "discriminator_norm"})
_OWN = MappingProxyType(
    {
        "progan": frozenset({"stddev_group", "scaling", "first_bias"}),
        "dcgan": _JUDGED,
        "resnet": _JUDGED,
        "selfmod": _JUDGED | {"modulation_width"},
        "sagan": _JUDGED | {"attention"},
        "style": frozenset({"stddev_group", "mapping_layers"}),
    }
)
"""Fields that an architecture understands beside those of all; another's must be left alone."""
_LEAST_RESOLUTION = MappingProxyType({"progan": 4, "dcgan": 8, "resnet": 8, "selfmod": 8, "sagan": 16, "style": 4})

NAMES = tuple(_OWN)
"""What can be built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of both networks; the defaults are ProGAN's, `gan.zoo.usual_shape` has every architecture's own.

    Raises:
        ValueError: when a value is out of range or another architecture's; the message names it.
    """

    architecture: str = "progan"
    """One of `NAMES`."""
    resolution: int = 1024
    """Nominal side of the largest pictures: a power of two from 4. They have resolution / 4 times `base` pixels."""
    channels: int = 3
    """1 for grey, 3 for RGB, 4 with alpha."""
    labels: int = 0
    """Length of a one-hot or multi-hot label, 0 for none."""
    latent: int = 512
    """Length of a latent."""
    most_maps: int = 512
    """Feature maps at the coarse levels."""
    map_budget: int = 8192
    """Feature maps at a level are map_budget / (resolution / 2), where that is below `most_maps`."""
    base: tuple[int, int] = (4, 4)
    """Height and width at the first level, such as (4, 6) for pictures of 2:3."""
    stddev_group: int = 4
    """progan, style: pictures compared in the minibatch standard deviation; the paper's own runs used all 16."""
    scaling: Literal["fused", "separate"] = "fused"
    """progan. "fused": sizes change inside the convolutions, as in the authors' TensorFlow code. "separate": before and
    after them, as in their Theano code and table 2. The generators compute the same function, the discriminators do
    not."""
    first_bias: Literal["map", "pixel"] = "map"
    """progan. "map": the generator's first layer has one bias for each feature map, as in the authors' code. "pixel":
    one for each pixel of a map, as in pytorch_GAN_zoo."""
    discriminator_maps: int = 0
    """dcgan, resnet, selfmod, sagan: `most_maps` of the discriminator, where it has others; 0 for the same."""
    discriminator_norm: Literal["usual", "none", "batch", "spectral"] = "usual"
    """dcgan, resnet, selfmod, sagan: how the discriminator is held in check. "usual": by batch normalisation in dcgan,
    by spectral normalisation in the others. Penalties on gradients go with "none" and "spectral"."""
    modulation_width: int = 32
    """selfmod: hidden units between a latent and the scales and shifts that it asks for."""
    attention: int = 32
    """sagan: nominal resolution of the maps whose pixels attend to each other."""
    mapping_layers: int = 8
    """style: dense layers between a latent and its style."""

    def __post_init__(self) -> None:
        if self.architecture not in NAMES:
            raise ValueError(f"architecture must be one of {', '.join(NAMES)}, got {self.architecture!r}")
        least = _LEAST_RESOLUTION[self.architecture]
        if self.resolution < least or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two from {least}, got {self.resolution}")
        counts = ("channels", "latent", "most_maps", "map_budget", "stddev_group", "modulation_width", "mapping_layers")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("labels", "discriminator_maps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if len(self.base) != 2 or min(self.base) < 1:
            raise ValueError(f"base must be (height, width), got {self.base}")
        self._check_choices()
        self._check_own()
        if self.architecture == "sagan":
            self._check_attention()

    def _check_choices(self) -> None:
        choices = {
            "scaling": ("fused", "separate"),
            "first_bias": ("map", "pixel"),
            "discriminator_norm": ("usual", "none", "batch", "spectral"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    def _check_own(self) -> None:
        others = frozenset().union(*_OWN.values()) - _OWN[self.architecture]
        for field in dataclasses.fields(self):
            if field.name in others and getattr(self, field.name) != field.default:
                owners = ", ".join(name for name, own in _OWN.items() if field.name in own)
                raise ValueError(f"{field.name} is a setting of {owners}; {self.architecture} has none, leave it out")
        if self.discriminator_norm == "batch" and self.architecture != "dcgan":
            raise ValueError(f"{self.architecture}'s discriminator_norm must be none or spectral, got 'batch'")

    def _check_attention(self) -> None:
        """Refuse attention between maps that one of the networks does not have."""
        size, least, most = self.attention, 2 << FIRST_LEVEL, self.resolution // 2
        if not least <= size <= most or size & (size - 1):
            raise ValueError(f"attention must be a power of two in {least}..{most} at {most * 2} px, got {size}")

    @property
    def grows(self) -> bool:
        """Whether the networks are trained level by level."""
        return self.architecture in GROWING

    @property
    def first_level(self) -> int:
        """Level of the smallest pictures that can be drawn."""
        return FIRST_LEVEL if self.grows else self.last_level

    @property
    def last_level(self) -> int:
        """Level of the largest pictures."""
        return self.resolution.bit_length() - 1

    @property
    def judged_norm(self) -> Literal["none", "batch", "spectral"]:
        """How the discriminator is held in check."""
        if self.discriminator_norm != "usual":
            return self.discriminator_norm
        if self.architecture == "dcgan":
            return "batch"
        return "spectral" if "discriminator_norm" in _OWN[self.architecture] else "none"

    @property
    def group(self) -> int:
        """Pictures that must stay together in a minibatch: those of a minibatch standard deviation, else one."""
        return self.stddev_group if "stddev_group" in _OWN[self.architecture] else 1

    def maps(self, level: int) -> int:
        """Return the number of feature maps at a level."""
        return max(1, min(self.map_budget >> (level - 1), self.most_maps))

    def maps_judged(self, level: int) -> int:
        """Return the number of feature maps at a level of a discriminator that has its own `discriminator_maps`."""
        return max(1, min(self.map_budget >> (level - 1), self.discriminator_maps or self.most_maps))

    def noise_widths(self, level: int) -> list[int]:
        """Return the channels of every 3 x 3 convolution's input in a growing discriminator, in order, from a level on.

        Empty for the others, whose features get no noise.
        """
        if not self.grows:
            return []
        blocks = [self.maps(number) for number in range(level, FIRST_LEVEL, -1) for _ in range(2)]
        return [*blocks, self.maps(FIRST_LEVEL) + 1]

    def size(self, level: int) -> tuple[int, int]:
        """Return height and width of a level's pictures."""
        return self.base[0] << (level - FIRST_LEVEL), self.base[1] << (level - FIRST_LEVEL)

    def checked_level(self, level: int | None) -> int:
        """Return the level, the last for None.

        Raises:
            ValueError: when there is no such level.
        """
        if level is None:
            return self.last_level
        if not self.first_level <= level <= self.last_level:
            levels = f"{self.first_level}..{self.last_level}" if self.grows else f"{self.last_level}"
            raise ValueError(f"level must be {levels} for {self.architecture} of {self.resolution} px, got {level}")
        return level
