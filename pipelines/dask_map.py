"""A function over many lists of items on a Dask cluster, whatever becomes of its machines.

Only small values cross the scheduler, and it keeps none. A list whose worker died is cut until the guilty item stands
alone, so one poisonous photo costs one photo (distributed#2694: KilledWorker blames whatever was queued).
"""

from __future__ import annotations

import itertools
import logging
import pickle
import pkgutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from distributed import Client, KilledWorker
from distributed.client import ClosedClientError
from distributed.protocol.pickle import dumps

from hqdata.training.stopping import StopRequest
from pipelines.backlog import Backlog, Chunk
from pipelines.breaker import Breaker
from pipelines.flight import Attempt, Flight
from pipelines.patience import Patience
from pipelines.stopping import BuildStopped, SchedulerLost, stop_if_systemic
from pipelines.stragglers import Stragglers
from pipelines.window import FUTURES_PER_THREAD, Arrived, Began, Ended, Erred, Lost, Message, Seen, Window
from pipelines.worker_task import Answer, Call, Letter, in_one_line, run_task

__all__ = ["BuildStopped", "Done", "Failed", "SchedulerLost", "map_bounded", "stop_if_systemic"]

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_LOST = 10
"""So often a list's answer may be lost before that is no accident."""
DEATHS_FOR_A_PROOF = 3
"""An item is given up at the third death that it, or the list it was cut from, may have caused: machines die too."""
GRAPH_ERROR = "Error during deserialization of the task graph"
DIED = "the worker process died; a crash, a kill, or too little memory"


@dataclass(frozen=True, slots=True)
class Done(Generic[Item, Result]):
    """A list of items and what the function returned for it."""

    items: list[Item]
    result: Result
    seconds: float = 0.0
    """How long the function ran on its worker."""
    newcomer: Any = None
    """The `fitness.Newcomer` that did it, where it was one."""


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
    expected: Any = None,
    patience: Patience | None = None,
) -> Iterator[Done[Item, Result] | Failed[Item]]:
    """Run `function(chunk, *arguments())` for every chunk; yield outcomes as they come, in no fixed order.

    Each item is in exactly one outcome. A first SIGINT or SIGTERM lets running tasks end, a second SIGINT does not.

    Args:
        client: connected client; its workers' threads are the slots.
        function: importable on the workers, idempotent: it may run twice.
        chunks: consumed lazily; never more than a few a worker are in flight.
        arguments: called at each submission, for values that change during the run.
        expected: a Fitness that every worker must have before its first task; an unfit worker is sent home.
        patience: how long to wait for what; what Dask's configuration says where None.

    Raises:
        BuildStopped: for a full disk, missing permission, missing module or anything else no other chunk would survive.
        SchedulerLost: when the scheduler or all workers are gone for too long.
        KeyboardInterrupt: after a signal.
    """
    yield from _Map(client, function, chunks, arguments, expected, patience or Patience.configured()).outcomes()


class _Map(Generic[Item, Result]):
    """The state of one map: what is to do, what is in flight, and who can be trusted with it."""

    def __init__(
        self,
        client: Client,
        function: Callable[..., Result],
        chunks: Iterable[list[Item]],
        arguments: Callable[[], tuple[Any, ...]],
        expected: Any,
        patience: Patience,
    ) -> None:
        self._client = client
        self._function = function
        self._arguments = arguments
        self._expected = expected
        self._patience = patience
        self._backlog = Backlog(iter(chunks), most_suspects=patience.quarantined)
        self._flight: Flight[Item] = Flight()
        self._window = Window(client, patience)
        self._stragglers = Stragglers(patience)
        self._breaker = Breaker(patience)
        self._suspended: set[str] = set()
        """Workers that hold a straggler, until they are heard of again: they may be stopped."""
        self._unfit: dict[str, str] = {}
        name = getattr(function, "__name__", type(function).__name__)
        self._keys = (f"{name}-{uuid.uuid4().hex[:8]}-{number:06d}" for number in itertools.count())
        self._drain_until: float | None = None

    def outcomes(self) -> Iterator[Done[Item, Result] | Failed[Item]]:
        """Yield them all."""
        with StopRequest() as stop, self._window:
            try:
                while self._goes_on(stop.requested):
                    message = self._window.next_message(self._breaker.results)
                    outcome = None if message is None else self._take_in(message)
                    if outcome is not None:
                        yield outcome
            except ClosedClientError as error:
                raise SchedulerLost(
                    f"the scheduler is gone; {self._breaker.results} results of this phase are safe; run the same"
                    " command to resume"
                ) from error
            finally:
                self._flight.land_all()

    def _goes_on(self, stopping: bool) -> bool:
        """Keep the workers busy; return whether there is anything to wait for."""
        if stopping:
            return self._drain()
        if not (self._window.is_connected and self._slots()):
            return True
        while len(self._flight) < self._slots():
            chunk = self._backlog.take(idle=not self._flight)
            if chunk is None:
                break
            self._submit(chunk)
        return bool(self._flight)

    def _drain(self) -> bool:
        now = time.monotonic()
        if self._drain_until is None:
            self._drain_until = now + self._patience.drain_s
            self._flight.land_unbegun()
            logger.warning(
                "stopping: waiting up to %g s for %d running tasks; interrupt again to stop at once",
                self._patience.drain_s,
                len(self._flight),
            )
        if not self._flight or now > self._drain_until:
            raise KeyboardInterrupt
        return True

    def _slots(self) -> int:
        trusted = self._window.threads(but={*self._suspended, *self._unfit})
        return FUTURES_PER_THREAD * (trusted or self._window.threads(but=self._unfit))

    def _submit(self, chunk: Chunk[Item], *, but: str = "", priority: int = 0) -> None:
        key = next(self._keys)
        call = Call(function=self._function, items=chunk.items, arguments=self._arguments(), expected=self._expected)
        future = self._client.submit(
            pickle.loads,
            pickle.dumps(Letter(key, dumps(call))),
            key=key,
            pure=False,
            retries=0,
            priority=priority,
            **self._placement(but),
        )
        self._flight.add(Attempt(key, future, chunk, time.monotonic()))
        self._window.follow(key, future)

    def _placement(self, but: str) -> dict[str, Any]:
        """Keep away from some workers, unless those are the only ones left when the task is placed."""
        avoided = {*self._suspended, *self._unfit, but}
        others = [worker for worker in self._window.workers if worker not in avoided]
        if not others or len(others) == len(self._window.workers):
            return {}
        return {"workers": others, "allow_other_workers": True}

    def _take_in(self, message: Message) -> Done[Item, Result] | Failed[Item] | None:
        match message:
            case Arrived(key, answer):
                attempt = self._flight.get(key)
                return None if attempt is None else self._answered(attempt, pickle.loads(answer))
            case Began(key, worker):
                self._began(key, worker)
            case Ended(worker):
                self._suspended.discard(worker)
            case Seen():
                self._suspended.intersection_update(message.threads)
                self._copy_stragglers()
                self._tell_of_hung()
            case Lost(key, reason):
                self._lost(key, reason)
            case Erred(key, error):
                attempt = self._flight.get(key)
                return None if attempt is None else self._erred(attempt, error)
        return None

    def _began(self, key: str, worker: str) -> None:
        self._suspended.discard(worker)
        attempt = self._flight.get(key)
        if attempt is not None:
            attempt.began, attempt.worker = time.monotonic(), worker

    def _answered(self, attempt: Attempt[Item], answer: Answer) -> Done[Item, Result] | Failed[Item] | None:
        chunk, fault = attempt.chunk, answer.fault
        self._suspended.discard(answer.worker)
        if fault is None:
            self._flight.land(chunk)
            self._stragglers.finished(answer.seconds)
            self._breaker.success(len(chunk.items))
            return Done(chunk.items, answer.result, answer.seconds, answer.newcomer)
        logger.debug("%s on %s: %s\n%s", attempt.key, answer.worker, fault.reason, fault.trace)
        if fault.kind == "environment":
            raise BuildStopped(fault.reason)
        if fault.kind == "unfit":
            self._send_home(answer.worker, fault.reason)
            self._resubmit(attempt)
            return None
        self._flight.land(chunk)
        return self._failed(chunk, fault.reason)

    def _failed(self, chunk: Chunk[Item], reason: str) -> Failed[Item] | None:
        """Cut a list that failed; give up a single item."""
        self._breaker.failure(reason, len(self._window.workers))
        if len(chunk.items) > 1:
            parts = self._backlog.cut(chunk)
            logger.warning("a task of %d items failed (%s); trying it in %d parts", len(chunk.items), reason, parts)
            return None
        self._breaker.quarantine(reason)
        return Failed(chunk.items[0], reason)

    def _erred(self, attempt: Attempt[Item], error: Exception) -> Failed[Item] | None:
        if isinstance(error, KilledWorker):
            return self._died(attempt, error.last_worker.address)
        if GRAPH_ERROR in str(error):
            raise BuildStopped(
                f"the scheduler at {self._address()} cannot unpack a task ({in_one_line(error.__cause__ or error)});"
                " install the same progan-hq there as for the driver, and run the same command to go on"
            ) from error
        self._send_strangers_home(error)
        self._resubmit(attempt)
        return None

    def _died(self, attempt: Attempt[Item], worker: str) -> Failed[Item] | None:
        chunk = attempt.chunk
        evidence = self._flight.evidence(attempt, worker)
        if not self._flight.drop(attempt):
            return None  # its copy goes on
        if evidence == "alibi":
            self._backlog.try_again(chunk)
            return None
        chunk.deaths += 1
        proved = chunk.alone or (evidence == "proof" and chunk.deaths >= DEATHS_FOR_A_PROOF)
        if len(chunk.items) > 1 or proved:
            return self._failed(chunk, DIED)
        self._breaker.failure(DIED, len(self._window.workers))
        if chunk.deaths < DEATHS_FOR_A_PROOF:
            self._backlog.try_again(chunk)
        else:
            self._backlog.suspect(chunk)
        return None

    def _lost(self, key: str, reason: str) -> None:
        attempt = self._flight.get(key)
        if attempt is None:
            return
        attempt.chunk.lost += 1
        if attempt.chunk.lost > MOST_LOST:
            raise BuildStopped(
                f"the answer of one task was lost {MOST_LOST} times, the last time with: {reason}; look at the"
                " scheduler's own log, mend that and run the same command to go on"
            )
        self._resubmit(attempt)

    def _resubmit(self, attempt: Attempt[Item]) -> None:
        if self._flight.drop(attempt):
            self._backlog.try_again(attempt.chunk)

    def _copy_stragglers(self) -> None:
        now, limit_s = time.monotonic(), self._stragglers.limit_s()
        for attempt in self._flight.only_attempts():
            if not self._stragglers.is_late(attempt, now, limit_s):
                continue
            others = self._window.threads(but={*self._suspended, *self._unfit, attempt.worker})
            if not others or not self._stragglers.may_copy(self._flight.copies, self._window.threads()):
                continue
            if attempt.worker:
                self._suspended.add(attempt.worker)
            logger.warning("a task on %s takes over %.0f s; starting a copy", attempt.worker or "a worker", limit_s)
            self._submit(attempt.chunk, but=attempt.worker, priority=1)

    def _tell_of_hung(self) -> None:
        """Say what a run waits for that does not end: nobody can tell a hung task from a long one but its user."""
        now = time.monotonic()
        for attempt in self._flight.all_attempts():
            began = attempt.submitted if attempt.began is None else attempt.began
            if now - max(began, attempt.told) > self._patience.hung_s:
                attempt.told = now
                logger.warning(
                    "a task of %d items on %s has not ended in %.0f s; if it has hung, kill that worker process, and"
                    " the items are tried one by one",
                    len(attempt.chunk.items),
                    attempt.worker or "a worker",
                    now - began,
                )

    def _send_home(self, worker: str, reason: str) -> None:
        """Send an unfit worker home.

        Raises:
            BuildStopped: if no other is left.
        """
        known = worker in self._unfit
        self._unfit[worker] = reason
        if set(self._window.workers) <= set(self._unfit):
            reasons = dict.fromkeys(self._unfit[address] for address in self._window.workers)
            raise BuildStopped(f"no worker can be used: {'; '.join(reasons) or reason}")
        if not known:
            logger.warning("%s; it is sent home, the others go on", reason)
            self._window.retire(worker)

    def _send_strangers_home(self, error: Exception) -> None:
        """Send home those workers on which even the task around all tasks cannot be imported.

        Raises:
            BuildStopped: if there is no other worker, or they are not the cause.
        """
        task = f"{run_task.__module__}:{run_task.__qualname__}"
        found = self._window.ask_workers(pkgutil.resolve_name, task)
        strangers = {worker: answer for worker, answer in found.items() if isinstance(answer, Exception)}
        if not strangers:
            raise BuildStopped(f"Dask gave a task up: {in_one_line(error)}") from error
        for worker, cause in strangers.items():
            self._send_home(worker, f"worker {worker} cannot import progan-hq as the driver has it: {cause}")

    def _address(self) -> str:
        return str(self._client.scheduler.address) if self._client.scheduler else "an unknown address"
