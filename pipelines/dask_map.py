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

from distributed import Client, Future, as_completed

__all__ = ["BuildStopped", "Done", "Failed", "map_bounded"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

FUTURES_PER_WORKER = 2
"""One running, one waiting: the scheduler is never idle and never holds a long queue."""
SYSTEMIC_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE})


class BuildStopped(RuntimeError):
    """The environment, not a photo, is at fault; finished work is kept."""


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
    waiting: deque[list[Item]] = deque()
    source = iter(chunks)
    running: dict[Future, list[Item]] = {}
    completed = as_completed([])

    def submit_next() -> bool:
        chunk = waiting.popleft() if waiting else next(source, None)
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
            chunk = running.pop(future)
            outcome = _outcome(future, chunk)
            future.release()
            if isinstance(outcome, list):
                waiting.extend(outcome)
            else:
                yield outcome
    finally:
        client.cancel(list(running), force=True)


def _window(client: Client) -> int:
    threads = sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())
    return max(1, FUTURES_PER_WORKER * threads)


def _outcome(future: Future, chunk: list[Item]) -> Done[Item, Any] | Failed[Item] | list[list[Item]]:
    """Return a result, a single item's failure, or the two halves to try again."""
    if future.status == "finished":
        return Done(chunk, future.result())
    if future.status == "cancelled":
        return [chunk]
    error = cast("BaseException", future.exception())
    _stop_if_systemic(error)
    if len(chunk) == 1:
        return Failed(chunk[0], f"{type(error).__name__}: {_first_line(error)}")
    logger.warning(
        "a task of %d items failed (%s: %s); halving it", len(chunk), type(error).__name__, _first_line(error)
    )
    middle = len(chunk) // 2
    return [chunk[:middle], chunk[middle:]]


def _stop_if_systemic(error: BaseException) -> None:
    if isinstance(error, OSError) and error.errno in SYSTEMIC_ERRNOS:
        raise BuildStopped(f"{error}; mend that and run the same command to go on") from error
    if isinstance(error, (ImportError, AttributeError, TypeError)):
        raise BuildStopped(f"workers cannot run the task: {type(error).__name__}: {error}") from error
    if isinstance(error, BuildStopped):
        raise error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]
