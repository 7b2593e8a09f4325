"""Pictures that somebody's code hands out: data sets, loaders, iterables of pictures or batches, generators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch.utils.data import DataLoader, RandomSampler

from metrics.sources.batches import Block
from metrics.sources.conversion import Conversion, Tally
from metrics.sources.options import Options
from metrics.sources.summary import Summary

__all__ = ["GeneratedPictures", "Indexed", "IndexedPictures", "StreamedPictures"]


class Indexed(Protocol):
    """A data set of known length whose items can be asked for by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class IndexedPictures:
    """A torch Dataset, or a list of pictures; items are asked for one by one, in the caller's thread."""

    def __init__(self, items: Indexed, *, name: str, options: Options) -> None:
        self.name = name
        self.count: int | None = len(items)
        self._items = items
        self._value_range = options.value_range
        self._convert = Conversion(name=name, value_range=options.value_range)

    @property
    def tally(self) -> Tally:
        """What was noticed while pictures were converted."""
        return self._convert.tally

    def label(self, index: int) -> str:
        """Return the item's number."""
        return f"picture {index}"

    def blocks(self, chosen: Sequence[int], *, size: int) -> Iterator[Block]:
        """Yield one item's picture at a time.

        Raises:
            ValueError: when an item is a batch.
        """
        self._convert = Conversion(name=self.name, value_range=self._value_range)
        for place, index in enumerate(chosen):
            images = self._convert(_picture(self._items[index], self.name, index), first_index=index)
            if len(images) != 1:
                raise ValueError(f"{self.name}: item {index} must be one picture, got a batch of {len(images)}")
            yield place, images

    def digests(self, chosen: Sequence[int]) -> None:
        """Return None: a data set may hand out other pictures each time."""

    def summary(self, chosen: Sequence[int]) -> Summary:
        """Return what was noticed so far."""
        return Summary(name=self.name, count=len(chosen), notes=tuple(self._convert.notes()))


class StreamedPictures:
    """A DataLoader, or any iterable of pictures or batches, read from its beginning to its end or to `limit`."""

    count: int | None = None

    def __init__(self, items: Iterable[Any], *, name: str, options: Options) -> None:
        self.name = name
        self._items = items
        self._value_range = options.value_range
        self._limit = options.limit
        self._spent = False
        self._convert = Conversion(name=name, value_range=options.value_range)

    @property
    def tally(self) -> Tally:
        """What was noticed while pictures were converted."""
        return self._convert.tally

    def label(self, index: int) -> str:
        """Return the picture's number in the stream."""
        return f"picture {index}"

    def blocks(self, chosen: Sequence[int], *, size: int) -> Iterator[Block]:
        """Yield each item's pictures; `chosen` and `size` do not matter.

        Raises:
            ValueError: when an iterator that can be read but once is read again.
        """
        self._convert = Conversion(name=self.name, value_range=self._value_range)
        start = 0
        for item in self._begun():
            images = self._convert(_picture(item, self.name, start), first_index=start)
            images = images if self._limit is None else images[: self._limit - start]
            yield start, images
            start += len(images)
            if start == self._limit:
                return

    def digests(self, chosen: Sequence[int]) -> None:
        """Return None: a stream has no content that could be known beforehand."""

    def summary(self, chosen: Sequence[int]) -> Summary:
        """Return what was noticed so far."""
        notes = self._convert.notes()
        if isinstance(self._items, DataLoader) and isinstance(self._items.sampler, RandomSampler):
            notes.append(f"{self.name}: the loader shuffles, so pictures have other indices in each pass")
        return Summary(name=self.name, count=None, notes=tuple(notes))

    def _begun(self) -> Iterator[Any]:
        iterator = iter(self._items)
        if iterator is self._items:
            if self._spent:
                raise ValueError(
                    f"{self.name} is an iterator that has been read already; give something that can be read again, or"
                    " ask for all metrics in one pass"
                )
            self._spent = True
        return iterator


class GeneratedPictures:
    """A generator of pictures: generate(count, seed) returns `count` of them, the same for the same arguments.

    It is always asked for `chunk` pictures (for fewer at the end), chunk c with seed (base + c) modulo 2**32, where
    base is drawn from the source's seed. So neither batch size nor number of processes changes a picture.
    """

    def __init__(self, generate: Callable[[int, int], Any], *, name: str, limit: int, options: Options) -> None:
        self.name = name
        self.count: int | None = limit
        self._limit = limit
        self._generate = generate
        self._base = int(np.random.SeedSequence(options.seed).generate_state(1)[0])
        self._chunk = options.chunk
        self._value_range = options.value_range
        self._convert = Conversion(name=name, value_range=options.value_range)

    @property
    def tally(self) -> Tally:
        """What was noticed while pictures were converted."""
        return self._convert.tally

    def label(self, index: int) -> str:
        """Return the picture's number."""
        return f"picture {index}"

    def blocks(self, chosen: Sequence[int], *, size: int) -> Iterator[Block]:
        """Yield the chosen pictures chunk by chunk.

        Raises:
            ValueError: when a call returns another number of pictures than it was asked for.
        """
        self._convert = Conversion(name=self.name, value_range=self._value_range)
        first, end = chosen[0], chosen[-1] + 1
        for number in range(first // self._chunk, -(-end // self._chunk)):
            start = number * self._chunk
            count = min(self._chunk, self._limit - start)
            seed = (self._base + number) % 2**32
            images = self._convert(self._generate(count, seed), first_index=start)
            if len(images) != count:
                raise ValueError(
                    f"{self.name}: asked for {count} pictures with seed {seed}, it returned {len(images)}; a generator"
                    " is called as generate(count, seed) and returns (count, 3, h, w)"
                )
            low, high = max(first, start), min(end, start + count)
            yield low - first, images[low - start : high - start]

    def digests(self, chosen: Sequence[int]) -> None:
        """Return None: what a generator will draw cannot be known beforehand."""

    def summary(self, chosen: Sequence[int]) -> Summary:
        """Return what was noticed so far."""
        return Summary(name=self.name, count=len(chosen), notes=tuple(self._convert.notes()))


def _picture(item: Any, name: str, index: int) -> Any:
    """Return the picture of a data set's item: the first of a tuple or list, or the value called image."""
    if isinstance(item, Mapping):
        if "image" not in item:
            raise ValueError(f"{name}: item {index} has no entry 'image', got {sorted(map(str, item))}")
        return item["image"]
    if isinstance(item, tuple | list):
        if not item:
            raise ValueError(f"{name}: item {index} is empty; its first entry must be the picture")
        return item[0]
    return item
