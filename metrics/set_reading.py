"""One pass over a set of pictures, or what an earlier run's pass left in the cache."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch

from metrics.extraction import Pass, one_pass
from metrics.gathering import Gatherer
from metrics.reference_cache import DamagedEntry, ReferenceCache
from metrics.sources.source import ImageSource

__all__ = ["Clock", "PassMaker", "PassesHere", "Progress", "SetReader"]

Progress = Callable[[str, int, int | None], None]
"""Called with "reference" or "generated", pictures done, and pictures in all where that is known."""
COUNT = "count"


class Clock:
    """Seconds that each part has taken so far."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time until the block ends."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - start)

    def add(self, part: str, seconds: float) -> None:
        """Count time that was measured elsewhere."""
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


class PassMaker(Protocol):
    """Makes passes over sets: in this process, or in others whose work it puts together."""

    @property
    def device(self) -> str:
        """What the networks run on."""
        ...

    def one_pass(
        self,
        source: ImageSource,
        gatherers: Sequence[Gatherer],
        *,
        batch_size: int | str,
        progress: Callable[[int, int | None], None] | None,
    ) -> Pass:
        """Bring the empty gatherers, and what the source has noticed, to where `extraction.one_pass` would."""
        ...


@dataclass(frozen=True, slots=True)
class PassesHere:
    """Makes passes in this process."""

    device: str

    def one_pass(
        self,
        source: ImageSource,
        gatherers: Sequence[Gatherer],
        *,
        batch_size: int | str,
        progress: Callable[[int, int | None], None] | None,
    ) -> Pass:
        """Feed every picture to all gatherers."""
        return one_pass(source, gatherers, device=self.device, batch_size=batch_size, progress=progress)


@dataclass(kw_only=True)
class SetReader:
    """Fills gatherers from sources, and remembers what the report must tell about it."""

    batch_size: int | str
    passes: PassMaker
    device: str
    """What the passes' networks run on."""
    clock: Clock
    progress: Progress | None
    pictures_read: int = 0
    """In passes of this run, both sets."""
    seconds: float = 0.0
    """That these passes took."""
    notes: list[str] = field(default_factory=list)
    """About the cache."""

    def read(self, role: str, source: ImageSource, gatherers: Sequence[Gatherer]) -> int:
        """Give every picture to every gatherer, and return how many there were; for no gatherer nothing is read."""
        if not gatherers:
            return source.count or 0
        done = self.passes.one_pass(
            source,
            gatherers,
            batch_size=self.batch_size,
            progress=None if self.progress is None else partial(self.progress, role),
        )
        self.pictures_read += done.count
        for part, seconds in done.seconds.items():
            self.clock.add(part, seconds)
            self.seconds += seconds
        return done.count

    def recall(
        self, source: ImageSource, gatherers: Sequence[Gatherer], cache: ReferenceCache | None
    ) -> tuple[int, list[str]]:
        """Fill the gatherers from the cache as far as it goes, read the rest, and store that.

        Returns:
            How many pictures there are, and the parts that the cache had.
        """
        if cache is None or not gatherers:
            return self.read("reference", source, gatherers), []
        with self.clock("fingerprint"):
            content = source.fingerprint()
        if content is None:
            self.notes.append(f"{source.name} is a stream or a generator, so nothing of it is cached")
            return self.read("reference", source, gatherers), []
        counts = {gatherer.part: self._restored(gatherer, content, cache) for gatherer in gatherers}
        missing = [gatherer for gatherer in gatherers if counts[gatherer.part] is None]
        found = [part for part, count in counts.items() if count is not None]
        count = self.read("reference", source, missing) if missing else max(n for n in counts.values() if n is not None)
        with self.clock("fingerprint"):
            unchanged = not missing or source.fingerprint() == content
        with self.clock("cache"):
            for gatherer in missing if unchanged else ():
                self._store(gatherer, content, count, cache)
        if not unchanged:
            self.notes.append(f"{source.name} changed while it was read, so nothing of it is cached")
        if found:
            self.notes.append(f"{' and '.join(found)} of the reference came from the cache in {cache.folder}")
        return count, found

    def _restored(self, gatherer: Gatherer, content: str, cache: ReferenceCache) -> int | None:
        """Return the count of pictures of a cached part, or None when there is no whole entry."""
        with self.clock("cache"):
            try:
                arrays = cache.load(self._identity(gatherer, content))
            except DamagedEntry as error:
                self.notes.append(str(error))
                return None
            if arrays is None:
                return None
            count = int(arrays.pop(COUNT))
            gatherer.restore(arrays)
            return count

    def _store(self, gatherer: Gatherer, content: str, count: int, cache: ReferenceCache) -> None:
        """Keep a part for the next run; a cache that cannot be written costs time, not the result."""
        kept = gatherer.arrays()
        if kept is None:
            self.notes.append(f"{gatherer.part} of the reference are too many to be cached")
            return
        arrays = {**kept, COUNT: np.array(count)}
        try:
            if not cache.store(self._identity(gatherer, content), arrays):
                size = sum(array.nbytes for array in arrays.values()) / 2**30
                limit = cache.limit_bytes / 2**30
                self.notes.append(
                    f"{gatherer.part} of the reference are not cached: {size:.1f} GiB are over the cache's limit of"
                    f" {limit:.1f} GiB; raise $HQ_CACHE_LIMIT to keep them"
                )
        except OSError as error:
            self.notes.append(f"{gatherer.part} of the reference are not cached: {error}; set $HQ_CACHE to a folder")

    def _identity(self, gatherer: Gatherer, content: str) -> dict[str, object]:
        return {
            "content": content,
            "part": gatherer.part,
            "device": torch.device(self.device).type,
            "package": importlib.metadata.version("progan-hq"),
            **gatherer.identity(),
        }
