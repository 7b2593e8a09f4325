"""What a task costs: CPU seconds by step, over all threads that take part, and crops written to the cache."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Costs"]


class Costs:
    """Counters of one task; safe to use from several threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cached = 0
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the block's CPU time in this thread under `name`."""
        start = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - start
            with self._lock:
                self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def count_cached(self) -> None:
        """Count one crop."""
        with self._lock:
            self.cached += 1
