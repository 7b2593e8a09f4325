"""Which faces to keep: the best scores, the same ones whatever the order in which they arrive.

Equal scores are ordered by id, so a choice never depends on who finished first, and `best(k)` is always the beginning
of `best(k + 1)`. Karras et al. 2018, appendix C: sort by score, keep the best 30,000.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import cast

import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["TopK", "best", "best_places"]


def best(scores: Mapping[str, float] | Iterable[tuple[str, float]], count: int) -> list[str]:
    """Return the ids of the `count` highest scores, best first.

    Holds every id in memory; use `TopK` for a stream or to combine the results of several workers.

    >>> best({"a": 1.0, "b": 3.0, "c": 1.0}, 2)
    ['b', 'a']

    Args:
        scores: (id, score) pairs in any order, or a mapping from id to score; infinite scores are ordered like others.
        count: how many to keep, at least 0; all of them where fewer exist.

    Raises:
        ValueError: if `count` is negative, a score is NaN, or an id comes twice; it names the id.
    """
    _check_count(count)
    pairs = cast("Mapping[str, float]", scores).items() if isinstance(scores, Mapping) else scores
    return [id for _, id in sorted(_best_first(pairs))[:count]]


def best_places(scores: Float64[np.ndarray, " n"], count: int, id_of: Callable[[int], str]) -> Int64[np.ndarray, " k"]:
    """Return where the `count` highest scores are, best first: as `best`, but for millions of scores in a column.

    >>> best_places(np.array([1.0, 3.0, 1.0]), 2, "cba".__getitem__)
    array([1, 2])

    Args:
        scores: one a face.
        count: how many to keep, at least 0; all of them where fewer exist.
        id_of: gives the id of the face at a place; asked only for those whose scores are equal.

    Raises:
        ValueError: if `count` is negative or a score is NaN; it names the id.
    """
    _check_count(count)
    for place in np.flatnonzero(np.isnan(scores)).tolist():
        _check_score(id_of(place), math.nan)
    places = np.arange(len(scores) if count else 0)
    if 0 < count < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, len(scores) - count)[len(scores) - count])
    places = places[np.argsort(-scores[places], kind="stable")]
    ranked = scores[places]
    begins = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))[: len(places)]
    lengths = np.diff(begins, append=len(places))
    for begin, length in zip(begins[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True):
        equals = slice(begin, begin + length)
        places[equals] = sorted(places[equals].tolist(), key=id_of)
    return places[:count]


class TopK:
    """The `count` best of a stream of scores, in memory that grows with `count` and not with the stream.

    Adding the same id with the same score again changes nothing, so a worker that repeats its chunk does no harm.

    Args:
        count: how many to keep, at least 0.

    Raises:
        ValueError: if `count` is negative.
    """

    def __init__(self, count: int) -> None:
        _check_count(count)
        self.count = count
        self._heap: list[_Entry] = []  # the worst kept entry is at the front
        self._held: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def threshold(self) -> float:
        """The score that a newcomer must reach: -inf until `count` entries are held, then the worst kept score.

        A newcomer with exactly this score enters only if its id comes before the worst kept id.
        """
        if self.count == 0:
            return math.inf
        return self._heap[0].score if len(self._heap) == self.count else -math.inf

    def add(self, id: str, score: float) -> bool:
        """Offer one entry; return whether it is now among the best.

        Raises:
            ValueError: if `score` is NaN, or `id` is held with another score; it names the id.
        """
        _check_score(id, score)
        if id in self._held:
            _check_same_score(id, self._held[id], score)
            return True
        if self.count == 0:
            return False
        entry = _Entry(id, score)
        if len(self._heap) < self.count:
            heapq.heappush(self._heap, entry)
        elif self._heap[0] < entry:
            del self._held[heapq.heapreplace(self._heap, entry).id]
        else:
            return False
        self._held[id] = score
        return True

    def merge(self, other: TopK) -> None:
        """Add all that `other` holds; the result equals having seen both streams.

        Raises:
            ValueError: if `other` keeps fewer entries than this one, since it has forgotten some that belong here, or
                if both hold one id with different scores.
        """
        if other.count < self.count:
            raise ValueError(
                f"cannot merge the best {other.count} into the best {self.count}: entries that belong here are already "
                f"forgotten there; make both with count={self.count}"
            )
        for entry in other._heap:
            self.add(entry.id, entry.score)

    def items(self) -> list[tuple[str, float]]:
        """Return the kept (id, score) pairs, best first."""
        return [(entry.id, entry.score) for entry in sorted(self._heap, reverse=True)]

    def ids(self) -> list[str]:
        """Return the kept ids, best first."""
        return [id for id, _ in self.items()]


class _Entry:
    """An id and its score; smaller means worse, which is a lower score or, for equal scores, a later id."""

    __slots__ = ("id", "score")

    def __init__(self, id: str, score: float) -> None:
        self.id = id
        self.score = score

    def __lt__(self, other: _Entry) -> bool:
        return (self.score, other.id) < (other.score, self.id)


def _best_first(pairs: Iterable[tuple[str, float]]) -> Iterator[tuple[float, str]]:
    """Yield keys whose ascending order is best first."""
    seen: set[str] = set()
    for id, score in pairs:
        _check_score(id, score)
        if id in seen:
            raise ValueError(f"id {id!r} has two scores; give each id once")
        seen.add(id)
        yield -score, id


def _check_count(count: int) -> None:
    if count < 0:
        raise ValueError(f"count must be at least 0, got {count}")


def _check_score(id: str, score: float) -> None:
    if math.isnan(score):
        raise ValueError(f"the score of {id!r} is NaN and cannot be ranked; drop this face with a reason first")


def _check_same_score(id: str, held: float, score: float) -> None:
    if score != held:
        raise ValueError(f"id {id!r} was added with score {held!r} and now {score!r}; scores must be reproducible")
