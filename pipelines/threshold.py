"""Which crops are worth caching: a running lower bound of the score that the last chosen face will have.

Rendered crops are only a cache. A bound that is too low costs disk, one that is too high costs rendering again; neither
changes the result. Without a pilot, the K best of N in random order cost K (1 + ln(N / K)) writes; with an estimate of
the final bound from the first few thousand photos, little more than K.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

__all__ = ["CacheThreshold"]

PILOT_SIGMAS = 4.0
"""The pilot's quantile is lowered by this many standard deviations of its count."""
FIRST_ESTIMATE_PHOTOS = 256
"""Before so many are known, every crop is cached."""


class CacheThreshold:
    """The score below which a crop is not cached.

    Args:
        count: faces that will be chosen.
        photos: photos in the build.
        pilot_photos: photos after which the estimate is not made anew; it is made whenever their number has doubled.
    """

    def __init__(self, *, count: int, photos: int, pilot_photos: int) -> None:
        self._count = count
        self._photos = photos
        self._pilot_photos = pilot_photos
        self._seen_photos = 0
        self._best: list[float] = []
        """A heap of the best `count` scores, the worst one in front."""
        self._pilot: list[Float64[np.ndarray, " n"]] | None = []
        self._bound = -math.inf
        self._next_estimate = min(FIRST_ESTIMATE_PHOTOS, pilot_photos)

    def add(self, photos: int, scores: ArrayLike) -> None:
        """Take in the scores of some more photos."""
        self._seen_photos += photos
        values = np.asarray(scores, np.float64)
        better = values[values > self._kth()]
        if len(better) > self._count:
            better = np.partition(better, len(better) - self._count)[-self._count :]
        for score in better.tolist():
            if len(self._best) < self._count:
                heapq.heappush(self._best, score)
            else:
                heapq.heappushpop(self._best, score)
        if self._pilot is not None:
            self._pilot.append(values)
            if self._seen_photos >= self._next_estimate:
                self._estimate(np.concatenate(self._pilot))

    @property
    def value(self) -> float:
        """The present bound; -inf while little is known."""
        return max(self._bound, self._kth())

    def _kth(self) -> float:
        return self._best[0] if len(self._best) == self._count else -math.inf

    def _estimate(self, pilot: Float64[np.ndarray, " n"]) -> None:
        """Set the score that `count` faces of the whole build will almost surely reach, judged by the first ones."""
        sample = len(pilot)
        expected_faces = sample * self._photos / max(self._seen_photos, 1)
        share = self._count / max(expected_faces, 1)
        self._bound = -math.inf
        if share < 1 and sample:
            rank = math.ceil(sample * share + PILOT_SIGMAS * math.sqrt(sample * share * (1 - share)))
            if rank <= sample:
                self._bound = float(np.partition(pilot, sample - rank)[sample - rank])
        self._next_estimate = min(2 * self._seen_photos, self._pilot_photos)
        self._pilot = None if self._seen_photos >= self._pilot_photos else [pilot]
