"""What is still to be done: fresh lists, those to try again, and suspects that are tried alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Backlog", "Chunk"]

Item = TypeVar("Item")

MOST_SPARED = 2
"""So often a list is not blamed for the death of a worker on which another list is known to have run."""
MOST_SINGLES = 64
"""A list no longer than this is cut into single items: an item's task costs milliseconds, a worker's death seconds."""


@dataclass(slots=True, eq=False)
class Chunk(Generic[Item]):
    """A list of items that one task works on."""

    items: list[Item]
    deaths: int = 0
    """Workers that died while it, or the list that it was cut from, may have run there."""
    alone: bool = False
    """Whether nothing else is in flight beside it."""
    spared: int = 0
    """How often it had an alibi for a worker's death."""
    lost: int = 0
    """How often its answer was lost, by no fault of its own as far as anybody knows."""


class Backlog(Generic[Item]):
    """Lists to hand out.

    A list that fails is cut into single items, or a long one into about as many parts as each part is long. An item
    whose worker died may have had bad luck, or only have waited there behind the guilty one. Where that cannot be told
    it becomes a suspect: suspects come last and one at a time, with nothing else in flight, so that the next death has
    one possible cause.
    """

    def __init__(self, source: Iterator[list[Item]], *, most_suspects: int) -> None:
        self._source = source
        self._again: deque[Chunk[Item]] = deque()
        self._suspects: deque[Chunk[Item]] = deque()
        self._most_suspects = most_suspects

    def take(self, *, idle: bool) -> Chunk[Item] | None:
        """Return the next list; None where there is none, or where suspects must wait until all is idle."""
        if self._again:
            return self._again.popleft()
        fresh = None if self._is_full() else next(self._source, None)
        if fresh is not None:
            return Chunk(fresh)
        if not (idle and self._suspects):
            return None
        suspect = self._suspects.popleft()
        suspect.alone = True
        return suspect

    def try_again(self, chunk: Chunk[Item]) -> None:
        """Hand this list out once more, before fresh ones."""
        chunk.alone = False
        self._again.append(chunk)

    def cut(self, chunk: Chunk[Item]) -> int:
        """Hand out the list's parts instead of it; return how many they are."""
        size = 1 if len(chunk.items) <= MOST_SINGLES else math.isqrt(len(chunk.items))
        starts = range(0, len(chunk.items), size)
        self._again.extend(Chunk(chunk.items[start : start + size], deaths=chunk.deaths) for start in starts)
        return len(starts)

    def suspect(self, chunk: Chunk[Item]) -> None:
        """Keep a single item for a trial alone."""
        self._suspects.append(chunk)

    def _is_full(self) -> bool:
        """Too many suspects are tried before more work is begun: perhaps the cluster kills everything."""
        return len(self._suspects) > self._most_suspects
