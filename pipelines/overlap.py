"""Reading ahead and writing behind: a GPU shall not wait while a photo is decoded or a crop is compressed.

libjpeg, zlib and file systems let go of Python's lock, so a few threads of the task itself are enough, and no picture
ever leaves its process. On a CPU the networks use the core anyway, and everything happens in turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["Overlap", "threads_beside"]

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS_BESIDE_A_GPU = 3


def threads_beside(device: str) -> int:
    """Return how many threads are worth having beside one that computes on this device."""
    return 0 if device == "cpu" else THREADS_BESIDE_A_GPU


class Overlap:
    """A few threads beside the one that computes; use as a context manager, whose end waits for what was put behind.

    Args:
        threads: 0 does everything at once, in turn, in the caller's thread.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="overlap") if threads else None
        self._behind: deque[Future[Any]] = deque()

    def __enter__(self) -> Overlap:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            self._collect(0)

    def ahead(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `function(item)` for each item, in order; as many items are worked on ahead as there are threads."""
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self._pool.submit(function, item))
            if len(waiting) > self._threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def behind(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call the function soon; what it raises is raised by a later call or by the end of the block."""
        if self._pool is None:
            function(*arguments)
            return
        self._behind.append(self._pool.submit(function, *arguments))
        self._collect(2 * self._threads)  # pictures that wait to be written are held in memory

    def _collect(self, most: int) -> None:
        while len(self._behind) > most:
            self._behind.popleft().result()
