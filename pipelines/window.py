"""The driver's eyes and ears: who works, what began, what arrived; and whether anybody is still there.

Dask's client lives on an event loop in a thread of its own. Everything that happens there becomes a message in one
queue, so the driver has a single place to wait and shares no state with that thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, cast

from distributed import Client
from distributed import Future as DaskFuture

from pipelines.patience import Patience
from pipelines.stopping import SchedulerLost
from pipelines.worker_task import TOPIC

__all__ = ["Arrived", "Began", "Ended", "Erred", "Lost", "Message", "Seen", "Window"]

logger = logging.getLogger(__name__)

FUTURES_PER_THREAD = 2
"""One running, one waiting: the scheduler is never idle and never holds a long queue."""
LOOK_EVERY_S = 1.0
LOOK_FOR_LOSS_EVERY_S = 0.25
ANSWER_WITHIN_S = 30.0
FETCH_S = 2.0
"""How long a first attempt to fetch an answer may take; each next one twice as long. The answer may have been lost with
its worker and made again elsewhere, while the attempt still waits for the dead one."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The workers of this moment, and the threads of each."""

    threads: dict[str, int]


@dataclass(frozen=True, slots=True)
class Began:
    """A task began to run."""

    key: str
    worker: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A long task has ended, perhaps one that nobody waits for."""

    worker: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A task's answer."""

    key: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class Erred:
    """Dask itself gave a task up."""

    key: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Lost:
    """A task was cancelled by somebody else, or its answer could not be fetched."""

    key: str
    reason: str


Message = Seen | Began | Ended | Arrived | Erred | Lost


class Window:
    """A view of the cluster while a map runs; to be used as a context.

    Raises:
        SchedulerLost: from `next_message`, if the scheduler is out of reach for too long or no worker is left.
    """

    def __init__(self, client: Client, patience: Patience) -> None:
        self._client = client
        self._patience = patience
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._threads: dict[str, int] = {}
        self._contact = self._crew = time.monotonic()
        self._looking: Future[None] | None = None
        self._following: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Window:
        """Begin to look."""
        self._contact = self._crew = time.monotonic()
        self._looking = asyncio.run_coroutine_threadsafe(self._look(), self._loop())
        return self

    def __exit__(self, *error: object) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = self._client.loop
        if loop is None or self._client.status == "closed":
            raise SchedulerLost("the connection to the scheduler is closed; run the same command to go on")
        return cast("Any", loop).asyncio_loop

    @property
    def is_connected(self) -> bool:
        """Whether tasks can be submitted right now."""
        return self._client.status == "running"

    @property
    def workers(self) -> list[str]:
        """Addresses of the workers, about a second old."""
        return list(self._threads)

    def threads(self, but: Iterable[str] = ()) -> int:
        """Return how many threads the workers have, but for those at some addresses."""
        return sum(self._threads.values()) - sum(self._threads.get(address, 0) for address in but)

    def follow(self, key: str, future: DaskFuture) -> None:
        """Let what becomes of a task become a message."""
        self._loop().call_soon_threadsafe(self._start_following, key, future)

    def retire(self, worker: str) -> None:
        """Send a worker home without waiting for it to go."""
        asyncio.run_coroutine_threadsafe(self._retire(worker), self._loop())

    def ask_workers(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Return what a function of the standard library gives on each worker, or the exception it raised there."""
        asking = asyncio.run_coroutine_threadsafe(self._ask(function, *arguments), self._loop())
        return asking.result(timeout=ANSWER_WITHIN_S)

    def next_message(self, results: int) -> Message | None:
        """Return the next message, or None when there is none for a moment.

        Args:
            results: how many tasks have succeeded, for the sentence that ends the run.

        Raises:
            SchedulerLost: if the scheduler is out of reach for too long, or no worker is left for too long.
        """
        message = self._receive()
        now = time.monotonic()
        if isinstance(message, Seen):
            self._contact = now
            self._threads = message.threads
            self._crew = now if message.threads else self._crew
        if now - self._contact > self._patience.lost_s or self._client.status == "closed":
            raise SchedulerLost(
                f"the scheduler is gone; {results} results of this phase are safe; run the same command to resume"
            )
        if now - self._crew > self._patience.wait_s:
            raise SchedulerLost(
                f"no worker for {self._patience.wait_s:g} s; {results} results of this phase are safe; run the same"
                " command to resume when there are some"
            )
        return message

    def _receive(self) -> Message | None:
        try:
            return self._messages.get(timeout=LOOK_EVERY_S / 2)
        except Empty:
            return None

    async def _look(self) -> None:
        subscribed = False
        while True:
            if not self.is_connected:
                subscribed = False  # the next scheduler, if there is one, knows of no subscription
            elif not subscribed:
                self._client.subscribe_topic(TOPIC, self._hear)
                subscribed = True
            if self.is_connected:
                await self._look_once()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look_once(self) -> None:
        try:
            threads = await asyncio.wait_for(cast("Awaitable[Any]", self._client.nthreads()), ANSWER_WITHIN_S)
        except (OSError, TimeoutError, AttributeError) as error:
            # no contact this time, or the client was closed in between
            logger.debug("the scheduler did not answer: %r", error)
        else:
            self._messages.put(Seen(dict(threads)))

    def _hear(self, event: tuple[float, Any]) -> None:
        key, worker, what = event[1]
        self._messages.put(Began(key, worker) if what == "began" else Ended(worker))

    def _start_following(self, key: str, future: DaskFuture) -> None:
        task = asyncio.ensure_future(self._follow(key, future))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, key: str, future: DaskFuture) -> None:
        try:
            message = await self._outcome(key, future)
        except Exception as error:  # mostly the scheduler went away, and the client forgets what it knew of it
            message = Lost(key, repr(error))
        except asyncio.CancelledError:
            message = Lost(key, "the connection was closed")
        self._messages.put(message)

    async def _outcome(self, key: str, future: DaskFuture) -> Message:
        """Wait for a task and fetch its answer, again and again where the answer is lost with its worker.

        Not `Client.gather`: it fetches five times at once at most, and each of those waits for a minute and more on a
        worker that died since.
        """
        patience_s = FETCH_S
        while True:
            error = await cast("Awaitable[Exception | None]", future.exception())
            if error is not None:
                return Erred(key, error)
            if future.status == "cancelled":
                return Lost(key, "Dask cancelled it")
            answer = await self._fetch(key, future, patience_s)
            if answer is not None:
                return Arrived(key, answer)
            patience_s = min(2 * patience_s, ANSWER_WITHIN_S)

    async def _fetch(self, key: str, future: DaskFuture, patience_s: float) -> bytes | None:
        """Return the answer of a finished task; None where it seems to be lost, or is being made again."""
        scheduler = cast("Any", self._client.scheduler)
        fetching = asyncio.ensure_future(scheduler.gather(keys=[key]))
        fetching.add_done_callback(_look_at_error)
        give_up = time.monotonic() + patience_s
        try:
            while future.status == "finished" and not fetching.done() and time.monotonic() < give_up:
                await asyncio.wait({fetching}, timeout=LOOK_FOR_LOSS_EVERY_S)
            if not fetching.done():
                return None
            response = fetching.result()
        finally:
            fetching.cancel()
        if response["status"] == "OK":
            return response["data"][key]
        await asyncio.sleep(LOOK_FOR_LOSS_EVERY_S)  # the scheduler is about to notice, too
        return None

    async def _retire(self, worker: str) -> None:
        await cast("Awaitable[Any]", self._client.retire_workers([worker], close_workers=True))

    async def _ask(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        return await cast("Awaitable[Any]", self._client.run(function, *arguments, on_error="return"))


def _look_at_error(task: asyncio.Task[Any]) -> None:
    """Asyncio prints the errors of tasks that nobody asks for theirs, and a fetch may be given up."""
    if not task.cancelled():
        task.exception()
