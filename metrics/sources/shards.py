"""Run folders of this distribution, their tensor shards and Parquet shards, read by docs/formats.md alone."""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from metrics.sources.encoded import EncodedPictures
from metrics.sources.options import Options
from metrics.sources.source import NoPictures
from metrics.sources.stacks import StackedPictures

__all__ = ["INDEX", "from_parquet", "from_run", "from_tensor_shards"]

INDEX = "tensors/index.json"
VERSION = 1
LONGEST_HEADER = 2**20
"""Bytes; ours are 4096."""
COLUMN = "image"


def from_run(run: Path, *, name: str | None, side: int | None) -> tuple[StackedPictures, int]:
    """Return the crops of a finished run at its largest level, or at the stored level of `side` pixels.

    The stored levels are means of 2 x 2 blocks, so a level is not what resizing the largest one would give.

    Returns:
        The pictures, and how many pixels their sides have.

    Raises:
        ValueError: for an unfinished run, another version, or shards that are not what the index says.
    """
    index = _index(run)
    if not (run / "manifest.json").is_file():
        raise ValueError(f"{run}: has no manifest.json, so its build is not finished; run `hqdata build` again")
    levels = {int(level["resolution"]): level["files"] for level in index["levels"].values()}
    if not levels or not index["num_rows"]:
        raise NoPictures(f"{run}: nothing was chosen in this run, so it holds no pictures")
    resolution = side if side in levels else max(levels)
    stacks = [_shard(_inside(run, file["path"]), int(file["rows"])) for file in levels[resolution]]
    if sum(len(stack) for stack in stacks) != index["num_rows"]:
        raise ValueError(f"{run}: its shards hold other crops than {INDEX} says; run `hqdata verify`")
    return StackedPictures(stacks, name=name or f"{run} at {resolution} px", value_range=None), resolution


def from_tensor_shards(paths: Sequence[Path], *, name: str) -> StackedPictures:
    """Return the pictures of tensor shards, one after the other.

    Raises:
        ValueError: when a file is no such shard, or is cut off.
    """
    return StackedPictures([_shard(path, None) for path in paths], name=name, value_range=None)


def from_parquet(paths: Sequence[Path], *, name: str, options: Options) -> EncodedPictures:
    """Return the pictures in the column `image` of Parquet files: struct<bytes, path> as `datasets` has it, or binary.

    Raises:
        ValueError: when a file is no Parquet file or has no such column.
    """
    table = _Table(paths)
    return EncodedPictures(
        name=name,
        labels=[f"{path.name} row {row}" for path, rows in zip(paths, table.rows, strict=True) for row in range(rows)],
        read=table.picture,
        options=options,
    )


def _index(run: Path) -> dict[str, Any]:
    path = run / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        known = index["format"], index["version"], index["levels"], index["num_rows"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path}: is no index of a run ({error!r}); run `hqdata verify`") from error
    if known[:2] != ("progan-hq/index", VERSION):
        raise ValueError(f"{path}: is {known[0]!r} of version {known[1]!r}, version {VERSION} is read here")
    return index


def _inside(run: Path, path: str) -> Path:
    whole = (run / path).resolve()
    if not whole.is_relative_to(run.resolve()):
        raise ValueError(f"{run / INDEX}: {path!r} leads out of the run folder; this index was not written by a build")
    return whole


def _shard(path: Path, rows: int | None) -> UInt8[np.ndarray, "n 3 r r"]:
    """Return a tensor shard, memory-mapped."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= LONGEST_HEADER else {}
        meta = json.loads(header["__metadata__"]["meta"])
        entry = header["images"]
        shape, (start, stop), dtype = tuple(entry["shape"]), entry["data_offsets"], entry["dtype"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path}: is no tensor shard ({error!r}); run `hqdata verify`") from error
    if meta != {"format": "progan-hq/tensors", "version": VERSION}:
        raise ValueError(f"{path}: is {meta}, version {VERSION} of progan-hq/tensors is read here")
    whole = dtype == "U8" and len(shape) == 4 and int(np.prod(shape)) == stop - start
    if not whole or path.stat().st_size != 8 + length + stop or rows not in (None, shape[0]):
        raise ValueError(f"{path}: is damaged or cut off; run `hqdata verify`")
    return np.memmap(path, np.uint8, "r", 8 + length + start, shape)


class _Table:
    """Rows of several Parquet files by their number; the two row groups last used stay in memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [_parquet(path) for path in paths]
        self._paths = paths
        self.rows = [file.metadata.num_rows for file in self._files]
        self._groups = [
            (file, group) for file in range(len(paths)) for group in range(self._files[file].metadata.num_row_groups)
        ]
        counts = [self._files[file].metadata.row_group(group).num_rows for file, group in self._groups]
        self._starts = [0, *np.cumsum(counts).tolist()]
        self._cached: dict[int, pa.Array] = {}
        self._lock = threading.Lock()

    def picture(self, index: int) -> bytes:
        number = bisect_right(self._starts, index) - 1
        with self._lock:
            if number not in self._cached:
                while len(self._cached) > 1:
                    del self._cached[next(iter(self._cached))]
                self._cached[number] = self._column(number)
            value = self._cached[number][index - self._starts[number]].as_py()
        if value is None:
            raise OSError("the row holds no picture")
        return value

    def _column(self, number: int) -> pa.Array:
        file, group = self._groups[number]
        try:
            column = self._files[file].read_row_group(group, columns=[COLUMN]).column(COLUMN).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise OSError(f"row group {group} of {self._paths[file]} cannot be read: {error}") from error
        return column.field("bytes") if pa.types.is_struct(column.type) else column


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: is no whole Parquet file ({error})") from error
    schema = file.schema_arrow
    kind = schema.field(COLUMN).type if COLUMN in schema.names else None
    if kind is not None and pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if kind is None or not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise ValueError(f"{path}: has no column {COLUMN!r} of encoded pictures, got {schema.names}")
    return file
