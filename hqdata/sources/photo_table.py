"""A list of photos in columns: a hundred bytes a photo instead of a thousand, so that millions fit into one process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from hqdata.record import PhotoRef
from hqdata.sources.files import File

__all__ = ["PhotoTable"]

FILES_AT_ONCE = 65_536


class PhotoTable(Sequence[PhotoRef]):
    """Photos whose id is their path, sorted by it; each `PhotoRef` is made when it is asked for.

    Args:
        paths: sorted, as `list_files` gives them.
        versions: of the same length.
        sizes: in bytes.
    """

    def __init__(self, paths: pa.ChunkedArray, versions: pa.ChunkedArray, sizes: Int64[np.ndarray, " n"]) -> None:
        self._paths = paths.combine_chunks()
        self._versions = versions.combine_chunks()
        self._sizes = sizes

    @staticmethod
    def of(files: Iterable[File]) -> PhotoTable:
        """Return the table of some files, in any order; only a few of them are held as objects at a time."""
        remaining = iter(files)
        schema = pa.schema([("path", pa.large_string()), ("version", pa.large_string()), ("size", pa.int64())])
        parts = [schema.empty_table()]
        while batch := list(islice(remaining, FILES_AT_ONCE)):
            columns = [[f.path for f in batch], [f.version for f in batch], [f.size_bytes for f in batch]]
            parts.append(pa.table(columns, schema=schema))
        table = pa.concat_tables(parts).sort_by("path")
        return PhotoTable(table["path"], table["version"], table["size"].to_numpy())

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> PhotoRef: ...
    @overload
    def __getitem__(self, index: slice) -> PhotoTable: ...
    def __getitem__(self, index: int | slice) -> PhotoRef | PhotoTable:
        """Return one photo, or a table of some."""
        if isinstance(index, slice):
            rows = pa.array(np.arange(len(self))[index])
            taken = (pa.chunked_array([column.take(rows)]) for column in (self._paths, self._versions))
            return PhotoTable(*taken, sizes=self._sizes[index])
        path = self._paths[index].as_py()
        return PhotoRef(id=path, path=path, size_bytes=int(self._sizes[index]), version=self._versions[index].as_py())

    def __iter__(self) -> Iterator[PhotoRef]:
        for start in range(0, len(self), FILES_AT_ONCE):
            paths = self._paths[start : start + FILES_AT_ONCE].to_pylist()
            versions = self._versions[start : start + FILES_AT_ONCE].to_pylist()
            sizes = self._sizes[start : start + FILES_AT_ONCE].tolist()
            for path, version, size in zip(paths, versions, sizes, strict=True):
                yield PhotoRef(id=path, path=path, size_bytes=size, version=version)
