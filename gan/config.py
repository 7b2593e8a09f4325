"""Everything that a training can be told: one frozen dataclass a section, read by `hqdata.settings`.

Presets are TOML files in gan/presets, given by name: the paper's and the authors' configurations, and small ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gan.schedule import Phase, Schedule
from gan.zoo.shape import Shape
from hqdata.settings import ConfigError, load_settings, settings_from_dict

__all__ = [
    "PRESETS",
    "GanConfig",
    "LossConfig",
    "TrainingConfig",
    "gan_config_from_dict",
    "load_gan_config",
    "shape_from_dict",
]

PRESETS = Path(__file__).parent / "presets"
"""Folder of the shipped TOML files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The game and its penalties; see `gan.losses`."""

    adversarial: Literal["wgan", "lsgan", "non-saturating", "hinge", "relativistic"] = "wgan"
    penalty: Literal["gradient", "r1", "r1+r2", "none"] = "gradient"
    """gradient: slope `target` between real and generated pictures (WGAN-GP); r1: slope 0 at real, r2: at generated."""
    weight: float = 10.0
    """Of the penalty: lambda of WGAN-GP, gamma of R1."""
    target: float = 1.0
    """Norm that "gradient" asks for; the paper uses 750 for CIFAR-10."""
    norm: Literal["full", "native"] = "full"
    """Size at which penalties measure norms: that of the last level, as the authors' code, or the level's own."""
    drift: float = 0.001
    """Weight of the squared scores of real pictures."""
    noise: float = 0.0
    """Weight of the multiplicative noise on the discriminator's features: 0.2 in the paper's least-squares runs, 0 for
    none. Its strength follows the discriminator's loss (`gan.losses.noise_strength`), which is read at every step."""
    label_weight: float = 1.0
    """Of the label guesses' cross-entropy, where there are labels and the discriminator guesses them: progan, dcgan and
    style."""

    def __post_init__(self) -> None:
        weights = (self.weight, self.drift, self.noise, self.label_weight)
        if not all(0 <= value < math.inf for value in weights) or not 0 < self.target < math.inf:
            raise ConfigError(
                "weight, drift, noise and label_weight must not be negative, target be positive, all finite"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How the game is played."""

    seed: int = 0
    mirror: bool = False
    """Show every second real picture mirrored left to right, at random."""
    critic_steps: int = 1
    """Discriminator steps before each of the generator's."""
    beta1: float = 0.0
    beta2: float = 0.99
    epsilon: float = 1e-8
    """Adam's constants (appendix A.1)."""
    average_half_life_images: float = 11_084.0
    """Half-life of the averaged generator; the paper's 0.999 a step at its minibatch of 16."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the networks' convolutions; "auto" is bfloat16 on a device that computes with it."""
    compile: bool = False
    """Compile the steps with torch.compile: minutes at each level, then faster on a GPU; slower on processors."""
    checkpoint_images: int = 100_000
    """Between two checkpoints; there is always one when a training ends or is stopped."""
    keep_checkpoints: int = 3
    """The newest that stay."""

    def __post_init__(self) -> None:
        if min(self.critic_steps, self.checkpoint_images, self.keep_checkpoints) < 1:
            raise ConfigError("critic_steps, checkpoint_images and keep_checkpoints must be at least 1")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and 0 < self.epsilon < math.inf):
            raise ConfigError("beta1 and beta2 must be in 0..1 without 1, and epsilon be positive and finite")
        if not 0 <= self.average_half_life_images < math.inf:
            raise ConfigError("average_half_life_images must not be negative or infinite")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be 0..2**63 - 1, got {self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GanConfig:
    """A whole training."""

    networks: Shape = field(default_factory=Shape)
    schedule: Schedule = field(default_factory=Schedule)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuse what no training could begin with."""
        self._check_game()
        self.phase(0)
        self.check_minibatches(1)

    @property
    def course(self) -> Schedule:
        """The schedule as these networks follow it: those that do not grow begin at their only size."""
        if self.networks.grows:
            return self.schedule
        return dataclasses.replace(self.schedule, first_resolution=self.networks.resolution)

    def phase(self, images: int) -> Phase:
        """Return what holds when this many real pictures have been shown."""
        try:
            return self.course.at(images, self.networks.last_level)
        except ValueError as error:
            raise ConfigError(f"[schedule]: {error}") from error

    def check_minibatches(self, processes: int) -> None:
        """Refuse a minibatch that cannot be dealt out to so many processes in whole minibatch-stddev groups.

        Raises:
            ConfigError: naming the resolution, the minibatch and what to change.
        """
        for _, phase in self.course.phases(self.networks.last_level):
            group = min(self.networks.group, phase.minibatch)
            if phase.minibatch % (group * processes):
                minibatch = f"the minibatch of {phase.minibatch} at {phase.resolution} px cannot be split"
                if self.networks.group == 1:
                    raise ConfigError(f"{minibatch} evenly among {processes} processes; change schedule.minibatch")
                raise ConfigError(
                    f"{minibatch} into {processes} x groups of {group} for the minibatch standard deviation; change"
                    f" schedule.minibatch_at or networks.stddev_group"
                )

    def _check_game(self) -> None:
        """Refuse losses that the networks cannot play.

        Raises:
            ConfigError: naming the setting.
        """
        if self.networks.judged_norm == "batch" and self.loss.penalty != "none" and self.loss.weight:
            raise ConfigError(
                f"loss.penalty {self.loss.penalty!r} looks at pictures one by one, which batch normalisation in the"
                ' discriminator mixes; set loss.penalty to "none" and loss.adversarial to "non-saturating", as the'
                ' preset dcgan-64 does, or networks.discriminator_norm to "none" or "spectral"'
            )
        if self.networks.judged_norm == "batch" and self.loss.adversarial == "wgan":
            raise ConfigError(
                'loss.adversarial "wgan" needs a discriminator whose slope is held, which batch normalisation does not;'
                ' set it to "non-saturating" or "hinge", or networks.discriminator_norm to "spectral"'
            )
        if self.loss.noise and not self.networks.grows:
            raise ConfigError(
                f"loss.noise is for progan and style, got {self.loss.noise} with"
                f" {self.networks.architecture}; set it to 0"
            )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the settings as nested plain values that JSON can hold; see `gan_config_from_dict`."""
        return dataclasses.asdict(self)


def load_gan_config(files: Iterable[Path | str] = (), assignments: Iterable[str] = ()) -> GanConfig:
    """Merge defaults, presets or TOML files, and `section.key=value` assignments; the last wins.

    Raises:
        ConfigError: for an unknown key (naming the nearest), a wrong type, a value out of range or a broken file.
    """
    return load_settings(GanConfig, files=files, assignments=assignments, shipped=PRESETS)


def gan_config_from_dict(values: dict[str, Any]) -> GanConfig:
    """Return the config that `to_dict` described, also after JSON."""
    return settings_from_dict(GanConfig, values)


def shape_from_dict(values: dict[str, Any]) -> Shape:
    """Return the sizes that `dataclasses.asdict` described, also after JSON.

    Raises:
        ConfigError: as `load_gan_config`.
    """
    return settings_from_dict(_Sizes, {"networks": values}).networks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """The section of sizes alone, without a game that they must fit."""

    networks: Shape
