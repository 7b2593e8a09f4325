"""Which crops are worth caching: a running lower bound of the score that the last chosen face will have.

Rendered crops are only a cache. A bound that is too low costs disk, one that is too high costs rendering again; neither
changes the result.
"""

from __future__ import annotations

import math

from hqdata.ranking import TopK

__all__ = ["CacheThreshold"]

PILOT_SIGMAS = 4.0
"""The pilot's quantile is lowered by this many standard deviations of its count."""


class CacheThreshold:
    """The score below which a crop is not cached.

    Args:
        count: faces that will be chosen.
        photos: photos in the build.
        pilot_photos: photos scored before the pilot's estimate is used.
    """

    def __init__(self, *, count: int, photos: int, pilot_photos: int) -> None:
        self._top = TopK(count)
        self._photos = photos
        self._pilot_photos = pilot_photos
        self._seen_photos = 0
        self._pilot: list[float] = []
        self._pilot_bound: float | None = None

    def add(self, photos: int, scores: list[tuple[str, float]]) -> None:
        """Take in the scores of some more photos."""
        self._seen_photos += photos
        for id, score in scores:
            self._top.add(id, score)
        if self._pilot_bound is None:
            self._pilot.extend(score for _, score in scores)
            if self._seen_photos >= self._pilot_photos:
                self._pilot_bound = self._estimate()

    @property
    def value(self) -> float:
        """The present bound; -inf while nothing is known."""
        return max(self._top.threshold, -math.inf if self._pilot_bound is None else self._pilot_bound)

    def _estimate(self) -> float:
        """The score that `count` faces of the whole build will almost surely reach, judged by the first ones."""
        sample = len(self._pilot)
        expected_faces = sample * self._photos / max(self._seen_photos, 1)
        share = self._top.count / max(expected_faces, 1)
        if share >= 1 or not sample:
            return -math.inf
        rank = math.ceil(sample * share + PILOT_SIGMAS * math.sqrt(sample * share * (1 - share)))
        return sorted(self._pilot, reverse=True)[rank - 1] if rank <= sample else -math.inf
