"""One question to each worker of a cluster, and an answer or a reason for each, whatever state the workers are in.

Question and answer travel as bytes: the scheduler, which unpickles whatever a task is made of, then needs no torch.
"""

from __future__ import annotations

import importlib.util
import logging
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from typing import Any, Generic, TypeVar, cast

from distributed import Client, Future, KilledWorker, wait

__all__ = ["Answers", "ask_workers", "worker_addresses"]

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

ANSWER_S = 600.0
"""The first task imports torch, which takes minutes where a thousand workers read it from one file server."""
FETCH_S = 60.0
"""How long the way of an answer may take; it is lost if the worker leaves on it."""
GONE = "left before it answered"
REMINDER_S = 30.0
"""After so long without an answer the driver says whom it waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers(Generic[Answer]):
    """What came back, by the worker's address."""

    given: dict[str, Answer] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Workers that could not run the question, or died of it, and why."""
    silent: dict[str, str] = field(default_factory=dict)
    """Workers that left or did not answer in time."""


def worker_addresses(client: Client) -> list[str]:
    """Return the addresses of the workers that are there now."""
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


def ask_workers(
    client: Client, question: Callable[..., Answer], *arguments: Any, timeout_s: float = ANSWER_S
) -> Answers[Answer]:
    """Run `question(*arguments)` once on each worker, as a task, all at the same time.

    Args:
        client: connected client.
        question: importable on the workers.
        arguments: small values that can be pickled.
        timeout_s: how long to wait for the last worker.
    """
    answers: Answers[Answer] = Answers()
    deadline = time.monotonic() + timeout_s
    # a worker that cannot import what a task is made of dies of receiving it, without a word; this is Python's own
    has_ours = _each(client, worker_addresses(client), answers, deadline, importlib.import_module, __name__)
    able = [address for address, _ in has_ours]
    for address, future in _each(client, able, answers, deadline, answer, pickle.dumps((question, arguments))):
        try:
            answers.given[address] = pickle.loads(cast("bytes", future.result(timeout=FETCH_S)))
        except TimeoutError:  # only that worker could give its answer again
            answers.silent[address] = GONE
    return answers


def answer(asking: bytes) -> bytes:
    """Answer a pickled question, on a worker."""
    question, arguments = pickle.loads(asking)
    return pickle.dumps(question(*arguments))


def _each(
    client: Client,
    addresses: Iterable[str],
    answers: Answers[Any],
    deadline: float,
    function: Callable[..., Any],
    *arguments: Any,
) -> Iterator[tuple[str, Future]]:
    """Yield each worker that ran the function, with the finished future; note down the others in `answers`."""
    asked = {
        client.submit(function, *arguments, workers=[address], pure=False, retries=0): address for address in addresses
    }
    reminded = time.monotonic()
    try:
        while asked and time.monotonic() < deadline:
            for future in _done(client, asked, answers):
                address = asked.pop(future)
                if future.status == "finished":
                    yield address, future
                elif future.status == "error":
                    answers.failed[address] = _why(client, address, cast("BaseException", future.exception()))
                else:
                    answers.silent[address] = GONE
            if asked and time.monotonic() - reminded > REMINDER_S:
                reminded = time.monotonic()
                logger.info("still waiting for %d workers, such as %s", len(asked), next(iter(asked.values())))
        answers.silent.update(dict.fromkeys(asked.values(), "did not answer in time"))
    finally:
        client.cancel(list(asked), force=True)


def _done(client: Client, asked: dict[Future, str], answers: Answers[Any]) -> Iterable[Future]:
    """Return what is done; where nothing is for a second, give up the workers that left."""
    try:
        return cast("Any", wait(list(asked), timeout=1.0, return_when="FIRST_COMPLETED")).done
    except TimeoutError:
        present = set(worker_addresses(client))
        for future in [future for future, address in asked.items() if address not in present]:
            answers.silent[asked.pop(future)] = GONE
        return ()


def _why(client: Client, address: str, error: BaseException) -> str:
    if isinstance(error, KilledWorker):
        return "the process died of a task that every build begins with; see the worker's own log"
    if isinstance(error, (ImportError, AttributeError)):
        return f"it cannot run our code: {type(error).__name__}: {error}{_imported_from(client, address)}"
    return f"{type(error).__name__}: {error}"


def _imported_from(client: Client, address: str) -> str:
    """Say which packages of ours that worker finds; asked with Python's own function, which any worker knows."""
    places = []
    for room in ("hqdata", "pipelines"):
        found = cast("dict[str, Any]", client.run(importlib.util.find_spec, room, workers=[address], on_error="return"))
        spec = found.get(address)
        places.append(f"{room} is {spec.origin}" if isinstance(spec, ModuleSpec) else f"there is no {room}")
    return f" ({', '.join(places)})"
