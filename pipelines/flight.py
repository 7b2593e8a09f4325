"""What is in flight: every list handed out, its tasks on the cluster, and where they began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from distributed import Future

from pipelines.backlog import MOST_SPARED, Chunk

__all__ = ["Attempt", "Evidence", "Flight"]

Item = TypeVar("Item")

Evidence = Literal["alibi", "suspicion", "proof"]
"""Of a task beside a dead worker: it was not running, it may have been, or it ran there and nothing else did."""


@dataclass(slots=True, eq=False)
class Attempt(Generic[Item]):
    """One task for a list; a straggling list has two."""

    key: str
    future: Future
    chunk: Chunk[Item]
    submitted: float
    """By the monotonic clock, as all times here."""
    began: float | None = None
    """When it began to run, as far as that is known."""
    worker: str = ""
    """Where it began to run; empty while that is not known."""
    told: float = 0.0
    """When the user was last told that it does not end."""


class Flight(Generic[Item]):
    """The lists in flight, by the keys of their tasks."""

    def __init__(self) -> None:
        self._attempts: dict[str, Attempt[Item]] = {}
        self._by_chunk: dict[Chunk[Item], list[Attempt[Item]]] = {}
        self._ran_at_death: dict[str, frozenset[str]] = {}

    def __len__(self) -> int:
        """Lists in flight."""
        return len(self._by_chunk)

    @property
    def copies(self) -> int:
        """Tasks beyond one a list."""
        return len(self._attempts) - len(self._by_chunk)

    def add(self, attempt: Attempt[Item]) -> None:
        """Note a task that was just submitted."""
        self._attempts[attempt.key] = attempt
        self._by_chunk.setdefault(attempt.chunk, []).append(attempt)

    def get(self, key: str) -> Attempt[Item] | None:
        """Return the task with this key if it is still waited for."""
        return self._attempts.get(key)

    def drop(self, attempt: Attempt[Item]) -> bool:
        """Forget one task; return whether its list has none left."""
        others = self._by_chunk[attempt.chunk]
        others.remove(attempt)
        del self._attempts[attempt.key]
        attempt.future.release()
        if not others:
            del self._by_chunk[attempt.chunk]
        return not others

    def land(self, chunk: Chunk[Item]) -> None:
        """Forget a list that is answered for, with all its tasks; the scheduler then forgets them too."""
        for attempt in list(self._by_chunk.get(chunk, ())):
            self.drop(attempt)

    def land_unbegun(self) -> None:
        """Forget the lists of which no task has begun, as far as is known."""
        for chunk, attempts in list(self._by_chunk.items()):
            if all(attempt.began is None for attempt in attempts):
                self.land(chunk)

    def land_all(self) -> None:
        """Forget everything."""
        for chunk in list(self._by_chunk):
            self.land(chunk)

    def all_attempts(self) -> Iterator[Attempt[Item]]:
        """Yield every task."""
        yield from list(self._attempts.values())

    def only_attempts(self) -> Iterator[Attempt[Item]]:
        """Yield the tasks of lists that have one."""
        for attempts in list(self._by_chunk.values()):
            if len(attempts) == 1:
                yield attempts[0]

    def evidence(self, attempt: Attempt[Item], worker: str) -> Evidence:
        """Return what is known of a task's part in the death of a worker that died with it.

        It has none if it is not known to have begun there, while another is. What began in a worker's last moments is
        not known, so a list is spared only so often.
        """
        ran = self._ran_at_death.setdefault(worker, frozenset(self._keys_begun_on(worker)))
        if attempt.key in ran or not ran or attempt.chunk.spared >= MOST_SPARED:
            return "proof" if ran == {attempt.key} else "suspicion"
        attempt.chunk.spared += 1
        return "alibi"

    def _keys_begun_on(self, worker: str) -> Iterable[str]:
        return (
            key for key, attempt in self._attempts.items() if attempt.began is not None and attempt.worker == worker
        )
