"""What a build counted and how long its steps took, for stats.json."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64

from pipelines.fitness import Newcomer
from pipelines.knowledge import Knowledge
from pipelines.rows import ChunkResult
from pipelines.spending import Spending

__all__ = ["BuildSummary", "Stats", "tally"]

logger = logging.getLogger(__name__)

REASONS_TOLD = 20
"""The most frequent ones; some name a size or a position and so are as many as photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSummary:
    """What a build did and what the run folder now holds."""

    photos: int
    faces: int
    selected: int
    dropped: int
    newly_scored_photos: int
    newly_packed_shards: int
    quarantined: int
    """Photos that their workers did not survive, now or in an earlier build."""
    failed: int
    """Photos that failed by no fault of theirs; the same command tries them again."""
    is_tolerable: bool
    """Whether no more photos were quarantined or failed than `run.quarantine_limit` allows."""
    seconds: float


@dataclass(slots=True)
class Stats:
    """Counters of the build that is running."""

    quarantine_limit: float = 0.0
    """Share of the photos that may be quarantined or fail."""
    newly_scored_photos: int = 0
    newly_packed_shards: int = 0
    chunks: int = 0
    failed_photos: int = 0
    cached_crops: int = 0
    uncached_crops: int | None = None
    """Chosen crops that the cache lacked when packing began."""
    crew: Mapping[str, Any] = field(default_factory=dict)
    """Who worked: see `pipelines.crew`."""
    newcomers: dict[str, str] = field(default_factory=dict)
    """Hardware that only workers who came later had, and the sha256 of the test picture's pixels as made there."""
    spending: Spending = field(default_factory=Spending)
    start: float = field(default_factory=time.monotonic)

    def enlist(self, crew: Mapping[str, Any]) -> None:
        """Take in who works: see `pipelines.crew`."""
        self.crew = crew
        self.spending.threads = crew["threads"]

    def meet(self, newcomer: Newcomer | None) -> None:
        """Take in that a task ran on hardware that was not there at the beginning; the first one is told of."""
        if newcomer is not None and newcomer.group not in self.newcomers:
            self.newcomers[newcomer.group] = newcomer.pixels
            logger.warning("%s", newcomer)

    def add_chunk(self, photos: int, result: ChunkResult, seconds: float) -> None:
        """Count a task that found and scored faces, and ran for so long."""
        self.newly_scored_photos += photos
        self.chunks += 1
        self.failed_photos += len(result.to_retry)
        self.cached_crops += result.cached
        self.spending.add_chunk(photos, len(result.found), result.seconds, seconds)

    def add_shard(self, faces: int, seconds: float) -> None:
        """Count a task that packed a shard, and ran for so long."""
        self.newly_packed_shards += 1
        self.spending.add_shard(faces, seconds)

    def summary(self, known: Knowledge, chosen: Int64[np.ndarray, " k"]) -> BuildSummary:
        """Return the counts so far."""
        quarantined = _num_quarantined(known)
        return BuildSummary(
            photos=len(known.photos),
            faces=known.num_scored(),
            selected=len(chosen),
            dropped=known.num_dropped_by_reason().total(),
            newly_scored_photos=self.newly_scored_photos,
            newly_packed_shards=self.newly_packed_shards,
            quarantined=quarantined,
            failed=self.failed_photos,
            is_tolerable=quarantined + self.failed_photos <= self.quarantine_limit * len(known.photos),
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
                "quarantined": summary.quarantined,
                "dropped_by_reason": dict(sorted(reasons.items())),
                "upscaled": known.count_of("upscaled", chosen),
                "padded": known.count_of("padded", chosen),
            },
            "this_build": {
                "scored_photos": summary.newly_scored_photos,
                "chunks": self.chunks,
                "failed_photos": summary.failed,
                "packed_shards": summary.newly_packed_shards,
                "cached_crops": self.cached_crops,
                "uncached_crops": self.uncached_crops,
                "seconds": round(summary.seconds, 3),
                "photos_per_second": round(summary.newly_scored_photos / summary.seconds, 4),
                "cpu_seconds": _rounded(self.spending.cpu_seconds),
                "worker_seconds": {
                    "score": round(self.spending.score_seconds, 3),
                    "pack": round(self.spending.pack_seconds, 3),
                },
                "cluster": dict(self.crew) | {"hardware_that_came_later": sorted(self.newcomers)},
            },
            "score_of_the_last_selected": known.score_of(int(chosen[-1])) if len(chosen) else None,
        }


def tally(known: Knowledge) -> dict[str, Any]:
    """Return what a look at the running build is to tell, in a few hundred bytes."""
    reasons = known.num_dropped_by_reason()
    most = reasons.most_common(REASONS_TOLD)
    counts = {
        "photos": len(known.photos),
        "faces": known.num_scored(),
        "dropped": reasons.total(),
        "quarantined": _num_quarantined(known),
        "dropped_by_reason": {f"{stage}: {reason}": count for (stage, reason), count in most},
    }
    return {"counts": counts}


def _num_quarantined(known: Knowledge) -> int:
    return sum(count for (stage, _), count in known.num_dropped_by_reason().items() if stage == "worker")


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
