"""What a build counted and how long its steps took, for stats.json."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64

from pipelines.knowledge import Knowledge
from pipelines.rows import ChunkResult

__all__ = ["BuildSummary", "Stats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """What a build did and what the run folder now holds."""

    photos: int
    faces: int
    selected: int
    dropped: int
    newly_scored_photos: int
    newly_packed_shards: int
    seconds: float


@dataclass(slots=True)
class Stats:
    """Counters of the build that is running."""

    newly_scored_photos: int = 0
    newly_packed_shards: int = 0
    cached_crops: int = 0
    cpu_seconds: Counter[str] = field(default_factory=Counter)
    """By step of a task, over all workers."""
    start: float = field(default_factory=time.monotonic)

    def add_result(self, photos: int, result: ChunkResult) -> None:
        """Count one task."""
        self.newly_scored_photos += photos
        self.cached_crops += result.cached
        self.cpu_seconds.update(result.seconds)

    def summary(self, known: Knowledge, chosen: Int64[np.ndarray, " k"]) -> BuildSummary:
        """Return the counts so far."""
        return BuildSummary(
            photos=len(known.photos),
            faces=known.num_scored(),
            selected=len(chosen),
            dropped=known.num_dropped_by_reason().total(),
            newly_scored_photos=self.newly_scored_photos,
            newly_packed_shards=self.newly_packed_shards,
            seconds=time.monotonic() - self.start,
        )

    def to_json(self, known: Knowledge, chosen: Int64[np.ndarray, " k"]) -> dict[str, Any]:
        """Return what stats.json holds."""
        summary = self.summary(known, chosen)
        reasons = {f"{stage}: {reason}": count for (stage, reason), count in known.num_dropped_by_reason().items()}
        return {
            "counts": {
                "photos": summary.photos,
                "faces": summary.faces,
                "selected": summary.selected,
                "dropped": summary.dropped,
                "dropped_by_reason": dict(sorted(reasons.items())),
                "upscaled": known.count_of("upscaled", chosen),
                "padded": known.count_of("padded", chosen),
            },
            "this_build": {
                "scored_photos": summary.newly_scored_photos,
                "packed_shards": summary.newly_packed_shards,
                "cached_crops": self.cached_crops,
                "seconds": round(summary.seconds, 3),
                "photos_per_second": round(summary.newly_scored_photos / summary.seconds, 4),
                "cpu_seconds": _rounded(self.cpu_seconds),
            },
            "score_of_the_last_selected": known.score_of(int(chosen[-1])) if len(chosen) else None,
        }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
