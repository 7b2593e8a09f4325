"""A list of photos in columns: some thirty to sixty bytes a photo instead of a thousand, so that millions fit in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt32

from hqdata.record import PhotoRef
from hqdata.sources.files import File
from hqdata.sources.front_coding import FrontCoded

__all__ = ["PhotoTable", "pack_version", "unpack_version"]

BATCH_BITS = 14
BATCH = 1 << BATCH_BITS
"""Photos that are objects at the same time while a table is made."""
DECIMAL, HEXADECIMAL, OTHER, WHOLE = b"d", b"h", b"o", b"w"
NANOSECONDS = re.compile(r"0|[1-9][0-9]{0,17}|[1-8][0-9]{18}")
ETAG = re.compile(r"[0-9a-f]{32}")


class PhotoTable(Sequence[PhotoRef]):
    """Photos whose id is their path, sorted by it; each `PhotoRef` is made when it is asked for.

    Args:
        batches: of `BATCH` photos each, the last one of fewer, in the order of listing.
        rows: the photos' places in them, in the order of the table; None for the order of listing.
    """

    def __init__(self, batches: Sequence[_Batch], rows: UInt32[np.ndarray, " n"] | None = None) -> None:
        self._batches = batches
        self._rows = rows
        self._length = sum(map(len, batches)) if rows is None else len(rows)

    @staticmethod
    def of(files: Iterable[File]) -> PhotoTable:
        """Return the table of some files, in any order; only a few of them are held as objects at a time."""
        remaining = iter(files)
        batches, last, is_sorted = [], "", True
        while listed := list(islice(remaining, BATCH)):
            paths = [file.path for file in listed]
            is_sorted = is_sorted and last <= paths[0] and all(map(str.__le__, paths, paths[1:]))
            last = paths[-1]
            batches.append(_Batch(listed))
        return PhotoTable(batches, None if is_sorted else _order(batches))

    @property
    def nbytes(self) -> int:
        """What the photos take in memory."""
        return sum(batch.nbytes for batch in self._batches) + (0 if self._rows is None else self._rows.nbytes)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> PhotoRef: ...
    @overload
    def __getitem__(self, index: slice) -> PhotoTable: ...
    def __getitem__(self, index: int | slice) -> PhotoRef | PhotoTable:
        """Return one photo, or a table of some that shares this one's memory."""
        if isinstance(index, slice):
            rows = np.arange(len(self), dtype=np.uint32) if self._rows is None else self._rows
            return PhotoTable(self._batches, rows[index])
        place = range(self._length)[index]
        row = place if self._rows is None else int(self._rows[place])
        return self._batches[row >> BATCH_BITS].photo(row & BATCH - 1)

    def __iter__(self) -> Iterator[PhotoRef]:
        if self._rows is None:
            for batch in self._batches:
                yield from batch
        else:
            for row in self._rows:
                yield self._batches[row >> BATCH_BITS].photo(int(row) & BATCH - 1)


class _Batch:
    """Some photos as columns."""

    def __init__(self, files: Sequence[File]) -> None:
        self.paths = FrontCoded([file.path for file in files])
        versions = [pack_version(file.version, file.size_bytes) for file in files]
        lengths = set(map(len, versions))
        self._versions = pa.array(versions, pa.binary(lengths.pop() if len(lengths) == 1 else -1))
        sizes = np.array([file.size_bytes for file in files], np.uint64)
        self._sizes = sizes.astype(np.min_scalar_type(sizes.max()))

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[PhotoRef]:
        for path, packed, size in zip(self.paths, self._versions.to_pylist(), self._sizes.tolist(), strict=True):
            yield PhotoRef(id=path, path=path, size_bytes=size, version=unpack_version(packed, size))

    @property
    def nbytes(self) -> int:
        return self.paths.nbytes + self._versions.nbytes + self._sizes.nbytes

    def photo(self, row: int) -> PhotoRef:
        path, size = self.paths[row], int(self._sizes[row])
        return PhotoRef(id=path, path=path, size_bytes=size, version=unpack_version(self._versions[row].as_py(), size))


def pack_version(version: str, size_bytes: int) -> bytes:
    """Return a photo's version in few bytes: nine for a size and nanoseconds, 17 for a size and an etag.

    >>> len(pack_version("123-1700000000123456789", 123)), len(pack_version("a quite different one", 123))
    (9, 22)
    """
    told = version.removeprefix(f"{size_bytes}-")
    if len(told) == len(version):
        return WHOLE + version.encode("utf-8", "surrogatepass")
    if NANOSECONDS.fullmatch(told):
        return DECIMAL + int(told).to_bytes(8, "little")
    if ETAG.fullmatch(told):
        return HEXADECIMAL + bytes.fromhex(told)
    return OTHER + told.encode("utf-8", "surrogatepass")


def unpack_version(packed: bytes, size_bytes: int) -> str:
    """Return the version that was packed.

    >>> unpack_version(pack_version("123-etag", 123), 123)
    '123-etag'
    """
    kind, told = packed[:1], packed[1:]
    if kind == DECIMAL:
        return f"{size_bytes}-{int.from_bytes(told, 'little')}"
    if kind == HEXADECIMAL:
        return f"{size_bytes}-{told.hex()}"
    text = told.decode("utf-8", "surrogatepass")
    return text if kind == WHOLE else f"{size_bytes}-{text}"


def _order(batches: Sequence[_Batch]) -> UInt32[np.ndarray, " n"]:
    """Return the rows in the order of their paths."""
    paths = pa.chunked_array([pa.array(batch.paths, pa.large_string()) for batch in batches])
    order = pc.call_function("sort_indices", [paths]).to_numpy().astype(np.uint32)
    del paths
    pa.default_memory_pool().release_unused()
    return order
