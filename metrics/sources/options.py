"""What a user may say about a source, checked once."""

from __future__ import annotations

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
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{option} must be a whole number of at least 1, got {value!r}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range must be (black, white) with black below white, got {self.value_range}")
