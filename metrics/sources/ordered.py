"""Work done ahead of need by threads, its results taken in the order of the questions."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["default_threads", "in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 16
"""More decoders than this outrun every network that we know of."""


def default_threads() -> int:
    """Return how many threads decode unless told: the cores that this process may use, at most 16."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_THREADS, allowed)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, num_threads: int, ahead: int
) -> Iterator[Result]:
    """Yield function(item) for each item in order, at most `ahead` results waiting beside the one being used.

    The first error is raised in its turn; work not begun by then, or when the iterator is closed, never begins.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="metrics-pictures") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for waiting in pending:
                waiting.cancel()
