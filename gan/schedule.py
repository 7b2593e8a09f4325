"""When the networks grow, and with which minibatch and learning rates: a pure function of the images shown.

Karras et al. 2018, appendix A: each level is trained as it is for a while ("stable"), then the next one fades in.
The numbers of the presets are those of the paper and of the authors' published configurations.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Phase", "Schedule"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What holds at one moment of a training."""

    level: int
    """log2 of the resolution that is trained; the higher one from the first image of a fade."""
    fade: float
    """Share of this level's own block, above 0 and at most 1."""
    minibatch: int
    """Pictures a step, over all processes."""
    generator_rate: float
    discriminator_rate: float
    """Learning rates."""
    tick_images: int
    """Between two log lines with pictures."""
    resets: int
    """Times that both optimisers have been reset by now; a change means: reset before the next step."""

    @property
    def resolution(self) -> int:
        """Nominal side in pixels."""
        return 1 << self.level


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Constants of a training's course.

    Raises:
        ValueError: when they contradict each other; the message names them.
    """

    first_resolution: int = 4
    """Where the training begins; networks that do not grow begin at their only one."""
    total_images: int = 12_000_000
    """Real pictures shown in all."""
    stable_images: int = 600_000
    """Shown at each level before the next fades in."""
    fade_images: int = 600_000
    """Shown while a level fades in; 0 grows at once."""
    minibatch: int = 16
    """Pictures a step where `minibatch_at` has no entry."""
    minibatch_at: Mapping[int, int] = field(default_factory=dict)
    """By resolution."""
    rate: float = 0.001
    """Adam's learning rate of the generator where `rate_at` has no entry."""
    rate_at: Mapping[int, float] = field(default_factory=dict)
    """By resolution."""
    discriminator_pace: float = 1.0
    """The discriminator's learning rate, as a multiple of the generator's; 1 for the same (Heusel et al. 2017)."""
    rise_images: int = 0
    """While which the rates rise as exp(-5 (1 - t)^2), as in the paper's own code; 0 for none."""
    tick_images: int = 160_000
    """Between two looks at the pictures where `tick_at` has no entry."""
    tick_at: Mapping[int, int] = field(default_factory=dict)
    """By resolution."""

    def __post_init__(self) -> None:
        first = self.first_resolution
        if first < 4 or first & (first - 1):
            raise ValueError(f"first_resolution must be a power of two from 4, got {first}")
        counts = (self.minibatch, *self.minibatch_at.values(), self.tick_images, *self.tick_at.values())
        if min(self.total_images, *counts) < 1:
            raise ValueError("total_images, and every minibatch and tick_images, must be at least 1")
        for name, table in (("minibatch_at", self.minibatch_at), ("rate_at", self.rate_at), ("tick_at", self.tick_at)):
            odd = [side for side in table if side < 4 or side & (side - 1)]
            if odd:
                raise ValueError(f"{name}: keys are resolutions, powers of two from 4, got {odd[0]}")
        if min(self.stable_images, self.fade_images, self.rise_images) < 0 or self.stable_images + self.fade_images < 1:
            raise ValueError(
                "stable_images, fade_images and rise_images must not be negative, nor the first two both 0"
            )
        if not all(math.isfinite(rate) and rate > 0 for rate in (self.rate, *self.rate_at.values())):
            raise ValueError("learning rates must be positive")
        if not (math.isfinite(self.discriminator_pace) and self.discriminator_pace > 0):
            raise ValueError(f"discriminator_pace must be positive, got {self.discriminator_pace}")

    def at(self, images: int, last_level: int = 10) -> Phase:
        """Return what holds when this many real pictures have been shown.

        Args:
            images: from 0; the step that follows is trained with the answer.
            last_level: log2 of the largest pictures' resolution.

        Raises:
            ValueError: when `images` is negative, or the last level is below the first.
        """
        if images < 0:
            raise ValueError(f"images must not be negative, got {images}")
        level, fade = self._level_and_fade(images, self._growths(last_level))
        resolution = 1 << level
        rate = self.rate_at.get(resolution, self.rate) * self._rise(images)
        return Phase(
            level=level,
            fade=fade,
            minibatch=self.minibatch_at.get(resolution, self.minibatch),
            generator_rate=rate,
            discriminator_rate=rate * self.discriminator_pace,
            tick_images=self.tick_at.get(resolution, self.tick_images),
            resets=1 + bisect.bisect_right(self.reset_points(last_level), images),
        )

    def reset_points(self, last_level: int = 10) -> list[int]:
        """Return from how many images on the optimisers begin anew: in a fade, and when it has ended."""
        span = self.stable_images + self.fade_images
        ends = [(growth + 1) * span for growth in range(self._growths(last_level))]
        fades = [end - self.fade_images + 1 for end in ends] if self.fade_images else []
        return sorted({*fades, *ends})

    def phases(self, last_level: int = 10) -> list[tuple[int, Phase]]:
        """Return where each stable level and each fade begins, by images, with what holds there; up to the end."""
        points = [0, *self.reset_points(last_level)]
        return [(point, self.at(point, last_level)) for point in points if point < self.total_images]

    def _growths(self, last_level: int) -> int:
        growths = last_level - self._first_level
        if growths < 0:
            raise ValueError(f"first_resolution {self.first_resolution} is above the largest, {1 << last_level}")
        return growths

    @property
    def _first_level(self) -> int:
        return self.first_resolution.bit_length() - 1

    def _level_and_fade(self, images: int, growths: int) -> tuple[int, float]:
        growth, within = divmod(images, self.stable_images + self.fade_images)
        if growth >= growths:
            return self._first_level + growths, 1.0
        if within <= self.stable_images:  # a fade of 0 is the level before
            return self._first_level + growth, 1.0
        return self._first_level + growth + 1, (within - self.stable_images) / self.fade_images

    def _rise(self, images: int) -> float:
        if images >= self.rise_images:
            return 1.0
        return math.exp(-5.0 * (1.0 - images / self.rise_images) ** 2)
