"""Which tasks take so much longer than the others that a second copy on another worker is worth it.

A stopped process keeps its connections, so nobody tells that it will never answer; only the time does.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import TypeVar

from pipelines.flight import Attempt
from pipelines.patience import Patience

__all__ = ["Stragglers"]

Item = TypeVar("Item")

REMEMBERED = 201
"""Tasks whose durations make the median."""
COPIES_SHARE = 0.1
"""Copies in all, as a share of finished tasks, beyond one a thread."""


class Stragglers:
    """Knows how long tasks take, which one is late, and how many copies there may be."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._finished = 0
        self._copies = 0

    def finished(self, seconds: float) -> None:
        """Take in how long a task ran."""
        self._seconds.append(seconds)
        self._finished += 1

    def limit_s(self) -> float:
        """Return how long a task may run before a copy is started; for ever while none has finished."""
        if not self._seconds:
            return math.inf
        return max(self._patience.straggler_s, self._patience.straggler_factor * statistics.median(self._seconds))

    def is_late(self, attempt: Attempt[Item], now: float, limit_s: float) -> bool:
        """Return whether a task should have ended; one that waits behind a stopped one counts from its submission."""
        return now - (attempt.submitted if attempt.began is None else attempt.began) > limit_s

    def may_copy(self, copies_in_flight: int, threads: int) -> bool:
        """Return whether one more copy is within bounds, and count it."""
        if copies_in_flight >= threads or self._copies >= threads + COPIES_SHARE * self._finished:
            return False
        self._copies += 1
        return True
