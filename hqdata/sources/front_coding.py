"""Lists of names in a third of their memory: names in a row begin alike, so each keeps only what it does not share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

__all__ = ["FrontCoded"]

BLOCK = 16
"""The first of so many names is kept whole: reading one name looks at half as many on the average."""
MOST_SHARED = 255
LONG = 255
"""In the place of a rest's length: it follows in four bytes."""


class FrontCoded(Sequence[str]):
    """A list of strings, any at all; those that are sorted, or listed folder by folder, take the least memory.

    Each string is one byte with the count of bytes that it shares with the one before, the length of the rest, and the
    rest.

    >>> names = FrontCoded(["photos/0001.jpg", "photos/0002.jpg"])
    >>> names[1], names.nbytes
    ('photos/0002.jpg', 28)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._length = len(names)
        coded, starts, before = bytearray(), [], b""
        for place, text in enumerate(names):
            name = text.encode("utf-8", "surrogatepass")
            if place % BLOCK == 0:
                starts.append(len(coded))
                before = b""
            shared = _shared(before, name)
            rest = name[shared:]
            coded.append(shared)
            coded += bytes([len(rest)]) if len(rest) < LONG else bytes([LONG]) + len(rest).to_bytes(4, "little")
            coded += rest
            before = name
        self._coded = bytes(coded)
        self._starts = np.array(starts, np.uint32)

    @property
    def nbytes(self) -> int:
        """What the strings take in memory."""
        return len(self._coded) + self._starts.nbytes

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one string, or some."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < self._length:
            raise IndexError(f"index must be in 0..{self._length - 1}, got {index}")
        block, within = divmod(index, BLOCK)
        coded, place, name = self._coded, int(self._starts[block]), b""
        for _ in range(within + 1):
            name, place = _next(coded, place, name)
        return name.decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        place, name = 0, b""
        for _ in range(self._length):
            name, place = _next(self._coded, place, name)
            yield name.decode("utf-8", "surrogatepass")


def _next(coded: bytes, place: int, before: bytes) -> tuple[bytes, int]:
    """Return the string that begins at `place`, and where the next one does."""
    size = coded[place + 1]
    start = place + 2
    if size == LONG:
        size = int.from_bytes(coded[start : start + 4], "little")
        start += 4
    return before[: coded[place]] + coded[start : start + size], start + size


def _shared(before: bytes, name: bytes) -> int:
    """Return how many bytes two names have in common at their beginnings, at most 255."""
    size = min(len(before), len(name), MOST_SHARED)
    different = int.from_bytes(before[:size], "big") ^ int.from_bytes(name[:size], "big")
    return size - (different.bit_length() + 7) // 8
