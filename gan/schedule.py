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

FIRST_LEVEL = 2


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

    resolution: int = 1024
    """Side of the largest pictures, a power of two from 4."""
    first_resolution: int = 4
    """Where the training begins."""
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
    """Adam's learning rate of both networks where `rate_at` has no entry."""
    rate_at: Mapping[int, float] = field(default_factory=dict)
    """By resolution."""
    rise_images: int = 0
    """While which the rates rise as exp(-5 (1 - t)^2), as in the paper's own code; 0 for none."""
    tick_images: int = 160_000
    """Between two looks at the pictures where `tick_at` has no entry."""
    tick_at: Mapping[int, int] = field(default_factory=dict)
    """By resolution."""

    def __post_init__(self) -> None:
        for name in ("resolution", "first_resolution"):
            value = getattr(self, name)
            if value < 4 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two from 4, got {value}")
        if self.first_resolution > self.resolution:
            raise ValueError(f"first_resolution {self.first_resolution} is above resolution {self.resolution}")
        if min(self.total_images, self.minibatch, self.tick_images, *self.minibatch_at.values()) < 1:
            raise ValueError("total_images, minibatch and tick_images must be at least 1")
        if min(self.stable_images, self.fade_images, self.rise_images) < 0 or self.stable_images + self.fade_images < 1:
            raise ValueError(
                "stable_images, fade_images and rise_images must not be negative, nor the first two both 0"
            )
        if not all(math.isfinite(rate) and rate > 0 for rate in (self.rate, *self.rate_at.values())):
            raise ValueError("learning rates must be positive")

    def at(self, images: int) -> Phase:
        """Return what holds when this many real pictures have been shown.

        Args:
            images: from 0; the step that follows is trained with the answer.

        Raises:
            ValueError: when `images` is negative.
        """
        if images < 0:
            raise ValueError(f"images must not be negative, got {images}")
        level, fade = self._level_and_fade(images)
        resolution = 1 << level
        rate = self.rate_at.get(resolution, self.rate) * self._rise(images)
        return Phase(
            level=level,
            fade=fade,
            minibatch=self.minibatch_at.get(resolution, self.minibatch),
            generator_rate=rate,
            discriminator_rate=rate,
            tick_images=self.tick_at.get(resolution, self.tick_images),
            resets=1 + bisect.bisect_right(self.reset_points(), images),
        )

    def reset_points(self) -> list[int]:
        """Return from how many images on the optimisers begin anew: in a fade, and when it has ended."""
        span, growths = self.stable_images + self.fade_images, self._growths()
        ends = [(growth + 1) * span for growth in range(growths)]
        fades = [end - self.fade_images + 1 for end in ends] if self.fade_images else []
        return sorted({*fades, *ends})

    def _growths(self) -> int:
        return self.resolution.bit_length() - self.first_resolution.bit_length()

    def _level_and_fade(self, images: int) -> tuple[int, float]:
        growth, within = divmod(images, self.stable_images + self.fade_images)
        first = self.first_resolution.bit_length() - 1
        if growth >= self._growths():
            return first + self._growths(), 1.0
        if within <= self.stable_images:  # a fade of 0 is the level before
            return first + growth, 1.0
        return first + growth + 1, (within - self.stable_images) / self.fade_images

    def _rise(self, images: int) -> float:
        if images >= self.rise_images:
            return 1.0
        return math.exp(-5.0 * (1.0 - images / self.rise_images) ** 2)
