"""What a build will take, from what it took so far: crops in the cache, and time of workers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.spending import Spending
from pipelines.threshold import FIRST_ESTIMATE_PHOTOS, PILOT_SIGMAS

__all__ = ["TimeEstimate", "estimate_time", "expected_cached"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeEstimate:
    """Of the work that is left, by the mean of the work so far."""

    worker_s: float
    """Of one thread of a worker; where a worker has a GPU to itself, of that GPU."""
    core_s: float
    """Of CPU time within it, without the packing; less than `worker_s` where cores were shared or waited."""
    photos_measured: int
    threads: int
    """Of all workers together."""

    @property
    def wall_s(self) -> float:
        """Until the end, with all of them busy."""
        return self.worker_s / self.threads


def estimate_time(
    spending: Spending, *, searched: int, rendered: int, packed: int, threads: int
) -> TimeEstimate | None:
    """Return how long the rest takes; None where photos are left and none was measured.

    Args:
        spending: by earlier builds with the same settings.
        searched: photos to search and render.
        rendered: photos to render with known faces.
        packed: faces to pack; they count nothing while none was packed.
        threads: of all workers together.
    """
    score_s = spending.to_score(searched, rendered) if searched or rendered else 0.0
    if score_s is None:
        return None
    busy = spending.cpu_seconds.total() / spending.score_seconds if spending.score_seconds else 0.0
    return TimeEstimate(
        worker_s=score_s + (spending.to_pack(packed) or 0.0),
        core_s=score_s * busy,
        photos_measured=spending.photos,
        threads=threads,
    )


def expected_cached(*, count: int, faces: int, pilot: int) -> float:
    """Return how many crops `pipelines.threshold.CacheThreshold` lets into the cache for faces in random order.

    Without a pilot, the K best of N cost K (1 + ln(N / K)) writes; with one, hardly more than K.

    Args:
        count: K, faces that will be chosen.
        faces: N, all of them.
        pilot: faces after which the estimate of the final bound is not made anew.
    """
    if count >= faces:
        return float(faces)
    share = count / faces
    seen, written, passing = 0, 0.0, 1.0
    for end in (*_estimates(faces, pilot), faces):
        written += _passing_between(seen, end, passing, count)
        seen = end
        rank = math.ceil(seen * share + PILOT_SIGMAS * math.sqrt(seen * share * (1 - share)))
        passing = min(1.0, rank / seen)
    return written


def _estimates(faces: int, pilot: int) -> Iterator[int]:
    """Yield after how many faces the bound is estimated anew."""
    seen = min(FIRST_ESTIMATE_PHOTOS, pilot)
    while 0 < seen < faces:
        yield seen
        if seen == pilot:
            return
        seen = min(2 * seen, pilot)


def _passing_between(start: float, end: float, passing: float, count: int) -> float:
    """Integrate min(passing, count / n): newcomers must pass the estimated bound and beat the `count` best so far."""
    turn = min(max(count / passing, start), end)
    return passing * (turn - start) + (count * math.log(end / turn) if end > turn else 0.0)
