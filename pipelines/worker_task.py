"""What runs on a worker around every task: is this machine fit, when did it begin, and what went wrong where.

A scheduler, and a worker that receives a task, unpickle whatever the task is made of; the one then refuses it and the
other dies of it, if a package is missing there. So a task is bytes for Python's own `pickle.loads`, and what a machine
lacks becomes an ordinary error. A failure of the work itself is a value: the scheduler would keep an exception's
traceback alive (distributed#8790), and the exception would not say whose it was.
"""

from __future__ import annotations

import pickle
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from distributed import get_worker

from pipelines.stopping import BuildStopped, stop_if_systemic

__all__ = ["TOPIC", "Answer", "Call", "Fault", "Letter", "in_one_line", "run_task"]

TOPIC = "hqdata-tasks"
"""Dask's events of this name say which task began where: [key, address of the worker, "began" or "ended"]."""
LONG_TASK_S = 1.0
"""A task that took longer says that it has ended; its answer may be one that nobody waits for any more."""
LEAVE_S = 0.01
"""Time for the news that a task began to leave the process, which a deadly item would take along."""
LAST_CALLS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function to call on a worker."""

    function: Callable[..., Any]
    items: list[Any]
    arguments: tuple[Any, ...]
    expected: Any
    """The Fitness that the worker must have; None where any worker will do."""


@dataclass(frozen=True, slots=True)
class Letter:
    """Runs a pickled Call when it is unpickled itself: `pickle.loads` of a pickled Letter is the Call's Answer."""

    key: str
    call: bytes

    def __reduce__(self) -> tuple[Callable[..., bytes], tuple[str, bytes]]:
        """Name what unpickling has to do."""
        return run_task, (self.key, self.call)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What went wrong, in words: an exception itself need not be picklable."""

    kind: Literal["environment", "unfit", "items"]
    """Whose fault it is: everybody's environment, this machine's alone, or the items'."""
    reason: str
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a task has to say to the driver."""

    worker: str
    host: str
    seconds: float
    result: Any = None
    fault: Fault | None = None
    newcomer: Any = None
    """What `require_fit` has to tell of the worker, mostly nothing."""


def run_task(key: str, call: bytes) -> bytes:
    """Return the pickled Answer of a pickled Call; never raises for what the call does."""
    worker = get_worker()
    worker.log_event(TOPIC, [key, worker.address, "began"])
    host, start = socket.gethostname(), time.monotonic()
    place = f"worker {worker.address} on {host}"
    newcomer, result, fault = _attempt(call, place)
    seconds = time.monotonic() - start
    if seconds > LONG_TASK_S:
        worker.log_event(TOPIC, [key, worker.address, "ended"])
    try:
        return pickle.dumps(
            Answer(worker=worker.address, host=host, seconds=seconds, result=result, fault=fault, newcomer=newcomer)
        )
    except Exception as error:
        fault = _fault(error, place)
        return pickle.dumps(Answer(worker=worker.address, host=host, seconds=seconds, fault=fault))


def _attempt(call: bytes, place: str) -> tuple[Any, Any, Fault | None]:
    newcomer = None
    try:
        task: Call = pickle.loads(call)
        if len(task.items) == 1:
            time.sleep(LEAVE_S)
        if task.expected is not None:
            newcomer = _require_fit(task.expected)
        return newcomer, task.function(task.items, *task.arguments), None
    except _Unfit as unfit:
        return None, None, Fault(kind="unfit", reason=str(unfit))
    except Exception as error:
        return newcomer, None, _fault(error, place)


class _Unfit(Exception):
    """This machine is not fit; others may be."""


def _require_fit(expected: Any) -> Any:
    from pipelines.preflight import require_fit  # imports torch, which a scheduler need not have

    try:
        return require_fit(expected)
    except BuildStopped as error:
        raise _Unfit(str(error)) from error


def _fault(error: Exception, place: str) -> Fault:
    trace = "".join(traceback.format_exception(error, limit=-LAST_CALLS))
    try:
        stop_if_systemic(error, place)
    except BuildStopped as stop:
        return Fault(kind="environment", reason=str(stop), trace=trace)
    return Fault(kind="items", reason=in_one_line(error), trace=trace)


def in_one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says, at most 300 characters.

    >>> in_one_line(ValueError("too dark\\nsee the manual"))
    'ValueError: too dark'
    """
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"
