"""A function over many lists of items on a Dask cluster, with a bounded window of futures.

Only small values cross the scheduler. A list whose worker died is halved until the guilty item stands alone, so one
poisonous photo costs one photo (distributed#2694: KilledWorker blames whatever was queued).
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from distributed import Client, Future, KilledWorker, as_completed

from pipelines.stopping import BuildStopped

__all__ = ["BuildStopped", "Done", "Failed", "map_bounded", "stop_if_systemic"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

FUTURES_PER_WORKER = 2
"""One running, one waiting: the scheduler is never idle and never holds a long queue."""
SYSTEMIC_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE})


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Result]):
    """A list of items and what the function returned for it."""

    items: list[Item]
    result: Result


@dataclass(frozen=True, slots=True)
class Failed(Generic[Item]):
    """The one item that fails on its own, and how."""

    item: Item
    reason: str


def map_bounded(
    client: Client,
    function: Callable[..., Result],
    chunks: Iterable[list[Item]],
    *,
    arguments: Callable[[], tuple[Any, ...]] = tuple,
) -> Iterator[Done[Item, Result] | Failed[Item]]:
    """Run `function(chunk, *arguments())` for every chunk; yield outcomes as they come, in no fixed order.

    Args:
        client: connected client; its workers' threads are the slots.
        function: importable on the workers, idempotent: it may run twice.
        chunks: consumed lazily; never more than a few a worker are in flight.
        arguments: called at each submission, for values that change during the run.

    Raises:
        BuildStopped: for a full disk, missing permission, missing module or anything else no other chunk would survive.
    """
    work = _Work(iter(chunks))
    running: dict[Future, list[Item]] = {}
    completed = as_completed([])

    def submit_next() -> bool:
        chunk = work.take(idle=not running)
        if chunk is None:
            return False
        future = client.submit(function, chunk, *arguments(), pure=False, retries=0)
        running[future] = chunk
        completed.add(future)
        return True

    try:
        while True:
            while len(running) < _window(client) and submit_next():
                pass
            if not running:
                return
            future = next(completed)
            outcome = _outcome(future, running.pop(future), work)
            future.release()
            if outcome is not None:
                yield outcome
    finally:
        client.cancel(list(running), force=True)


class _Work(Generic[Item]):
    """What is still to be submitted: fresh lists, those to try again, and suspects.

    A suspect is an item that was with a worker when that died, perhaps only queued behind the guilty one. Suspects come
    last and one at a time, with nothing else in flight, so that the next death has one possible cause.
    """

    def __init__(self, source: Iterator[list[Item]]) -> None:
        self._source = source
        self._again: deque[list[Item]] = deque()
        self._suspects: deque[list[Item]] = deque()
        self._alone: list[Item] | None = None

    def take(self, *, idle: bool) -> list[Item] | None:
        """Return the next list; None where there is none, or only suspects and not `idle`."""
        chunk = self._again.popleft() if self._again else next(self._source, None)
        if chunk is None and idle and self._suspects:
            chunk = self._alone = self._suspects.popleft()
        return chunk

    def try_again(self, *chunks: list[Item]) -> None:
        """Hand these lists out before fresh ones."""
        self._again.extend(chunks)

    def is_convicted(self, chunk: list[Item]) -> bool:
        """Return whether a single item whose worker died was alone then; otherwise it becomes a suspect."""
        if chunk is self._alone:
            return True
        self._suspects.append(chunk)
        return False


def _window(client: Client) -> int:
    threads = sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
    return max(1, FUTURES_PER_WORKER * threads)


def _outcome(future: Future, chunk: list[Item], work: _Work[Item]) -> Done[Item, Any] | Failed[Item] | None:
    """Return a result or a single item's failure; None where the list, or its halves, are tried again."""
    if future.status == "finished":
        return Done(chunk, future.result())
    if future.status == "cancelled":
        work.try_again(chunk)
        return None
    error = cast("BaseException", future.exception())
    stop_if_systemic(error)
    if len(chunk) > 1:
        logger.warning("a task of %d items failed (%s); halving it", len(chunk), _reason(error))
        middle = len(chunk) // 2
        work.try_again(chunk[:middle], chunk[middle:])
        return None
    if isinstance(error, KilledWorker) and not work.is_convicted(chunk):
        return None
    return Failed(chunk[0], _reason(error))


def stop_if_systemic(error: BaseException) -> None:
    """Raise BuildStopped for what no other chunk would survive; return for anything else."""
    if isinstance(error, OSError) and error.errno in SYSTEMIC_ERRNOS:
        raise BuildStopped(f"{error}; mend that and run the same command to go on") from error
    if isinstance(error, (ImportError, AttributeError, TypeError)):
        raise BuildStopped(f"workers cannot run the task: {type(error).__name__}: {error}") from error
    if isinstance(error, BuildStopped):
        raise error


def _reason(error: BaseException) -> str:
    if isinstance(error, KilledWorker):
        return "the worker process died; a crash, a kill, or too little memory"
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
