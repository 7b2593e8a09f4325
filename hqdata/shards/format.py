"""The run folder's names and the values that describe its files; docs/formats.md is the specification.

Everything here is plain data: a worker that writes a shard returns a `ShardFiles`, and the driver builds the index and
the manifest from those without opening a file again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "DATA_FOLDER",
    "DATA_FORMAT",
    "INDEX_FORMAT",
    "INDEX_PATH",
    "MANIFEST_FORMAT",
    "MANIFEST_PATH",
    "SELECTED_PATH",
    "SMALLEST_LEVEL",
    "TENSORS_FOLDER",
    "TENSOR_FORMAT",
    "VERSION",
    "WORK_FOLDER",
    "FileRecord",
    "Problem",
    "ShardFiles",
    "data_path",
    "level_name",
    "levels_of",
    "tensor_path",
]

VERSION = 1
"""Of all four formats together; readers accept the versions that they know and refuse others by name."""
DATA_FORMAT = "progan-hq/data"
TENSOR_FORMAT = "progan-hq/tensors"
INDEX_FORMAT = "progan-hq/index"
MANIFEST_FORMAT = "progan-hq/manifest"

DATA_FOLDER = "data"
TENSORS_FOLDER = "tensors"
WORK_FOLDER = "work"
"""Chunks, caches and the ledger of a build; no output, so neither in the manifest nor verified."""
INDEX_PATH = "tensors/index.json"
MANIFEST_PATH = "manifest.json"
SELECTED_PATH = "selected.parquet"
SMALLEST_LEVEL = 2


def levels_of(size: int) -> tuple[int, ...]:
    """Return the pyramid's levels log2(resolution), largest first, down to 2 (4x4 pixels).

    >>> levels_of(16)
    (4, 3, 2)

    Raises:
        ValueError: if `size` is no power of two or below 4.
    """
    level = size.bit_length() - 1
    if size != 1 << max(level, 0) or level < SMALLEST_LEVEL:
        raise ValueError(f"size must be a power of two and at least 4, got {size}; choose one such as 256 or 1024")
    return tuple(range(level, SMALLEST_LEVEL - 1, -1))


def level_name(level: int) -> str:
    """Return the level's name in folders and the index: r10 for 1024 pixels."""
    return f"r{level:02d}"


def data_path(shard: int, num_shards: int) -> str:
    """Return the Parquet shard's path within the run folder."""
    return f"{DATA_FOLDER}/train-{shard:05d}-of-{num_shards:05d}.parquet"


def tensor_path(level: int, shard: int, num_shards: int) -> str:
    """Return the tensor shard's path within the run folder."""
    return f"{TENSORS_FOLDER}/{level_name(level)}/images-{shard:05d}-of-{num_shards:05d}.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """An output file as it was written."""

    path: str
    """Relative to the run folder, with forward slashes."""
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """Something wrong with a run, as `verify_run` found it."""

    path: str
    """The file within the run folder."""
    what: str
    """What is wrong and what to do."""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFiles:
    """One written shard: its Parquet file, its tensor file at each level, and what the index needs of its rows."""

    shard: int
    num_shards: int
    size: int
    """Pixels of the largest level's side."""
    ids: tuple[str, ...]
    """In the order of the rows, like the next two."""
    ranks: tuple[int, ...]
    scores: tuple[float, ...]
    data: FileRecord
    tensors: tuple[FileRecord, ...]
    """Largest level first."""

    @property
    def num_rows(self) -> int:
        """Images in the shard, the same number in each of its files."""
        return len(self.ids)

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """All files of the shard."""
        return (self.data, *self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON types; `from_json` gives it back."""
        fields = {name: getattr(self, name) for name in ("shard", "num_shards", "size")}
        rows = {name: list(getattr(self, name)) for name in ("ids", "ranks", "scores")}
        return fields | rows | {"data": _file_to_json(self.data), "tensors": [_file_to_json(f) for f in self.tensors]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ShardFiles:
        """Return the value that `to_json` described."""
        rows = {name: tuple(value[name]) for name in ("ids", "ranks", "scores")}
        files = {"data": FileRecord(**value["data"]), "tensors": tuple(FileRecord(**file) for file in value["tensors"])}
        return cls(shard=value["shard"], num_shards=value["num_shards"], size=value["size"], **rows, **files)


def _file_to_json(file: FileRecord) -> dict[str, Any]:
    return {"path": file.path, "bytes": file.bytes, "sha256": file.sha256}
