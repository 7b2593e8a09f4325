"""What a user may say about a source, checked once."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field

from metrics.sources.ordered import default_threads

__all__ = ["Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of `metrics.sources.opening.open_source`, where they are explained."""

    name: str | None = None
    size: tuple[int, int] | None = None
    value_range: tuple[float, float] | None = None
    limit: int | None = None
    seed: int = 0
    skip_unreadable: bool = False
    num_threads: int = field(default_factory=default_threads)
    chunk: int = 64
    """Pictures that a generator is asked for at a time."""

    def __post_init__(self) -> None:
        for option, value in (("limit", self.limit), ("num_threads", self.num_threads), ("chunk", self.chunk)):
            if value is not None and not _is_count(value):
                raise ValueError(f"{option} must be a whole number of at least 1, got {value!r}")
        if self.size is not None and not (len(self.size) == 2 and all(_is_count(side) for side in self.size)):
            raise ValueError(f"size must be a side or (height, width), of at least 1 pixel, got {self.size}")
        if self.value_range is not None:
            low, high = self.value_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"value_range must be (black, white), finite, black below white, got {(low, high)}")


def _is_count(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1
