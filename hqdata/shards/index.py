"""RUN/tensors/index.json: which files hold which pictures, in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hqdata.atomic import json_bytes
from hqdata.shards.format import INDEX_FORMAT, INDEX_PATH, VERSION, FileRecord, ShardFiles, level_name, levels_of
from hqdata.storage import Folder, open_folder

__all__ = ["Index", "IndexedFile", "read_index", "write_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFile:
    """A shard's file and how many pictures it holds."""

    path: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What the index says, with one place per picture in `ids`, `ranks` and `scores`."""

    size: int
    ids: tuple[str, ...]
    ranks: tuple[int, ...]
    scores: tuple[float, ...]
    data: tuple[IndexedFile, ...]
    """The Parquet files, by shard."""
    tensors: Mapping[int, tuple[IndexedFile, ...]]
    """The tensor files of each resolution, by shard."""

    def shard_files(self, shard: int) -> list[IndexedFile]:
        """Return the shard's Parquet file and its tensor file of each resolution, largest first."""
        return [self.data[shard], *(files[shard] for files in self.tensors.values())]

    def shard_ids(self, shard: int) -> list[str]:
        """Return the ids of the shard's pictures."""
        start = sum(file.rows for file in self.data[:shard])
        return list(self.ids[start : start + self.data[shard].rows])


def write_index(run: Folder | Path | str, shards: Sequence[ShardFiles], *, size: int | None = None) -> FileRecord:
    """Write RUN/tensors/index.json over all shards of the run; return its record for the manifest.

    Args:
        run: the run folder.
        shards: all of them, in any order; none for a run in which nothing was chosen.
        size: side of the crops in pixels, needed only where there are no shards.

    Raises:
        ValueError: if a shard is missing or comes twice, the shards disagree in size, or an id is in two of them,
            or if there is neither a shard nor a size.
    """
    ordered = sorted(shards, key=lambda files: files.shard)
    size = _common_size(ordered, size)
    levels = levels_of(size)
    index = {
        "format": INDEX_FORMAT,
        "version": VERSION,
        "size": size,
        "num_rows": sum(files.num_rows for files in ordered),
        "levels": {
            level_name(level): {
                "resolution": 1 << level,
                "files": [_index_entry(files.tensors[position], files) for files in ordered],
            }
            for position, level in enumerate(levels)
        },
        "data": [_index_entry(files.data, files) for files in ordered],
        "ids": [id for files in ordered for id in files.ids],
        "ranks": [rank for files in ordered for rank in files.ranks],
        "scores": [score for files in ordered for score in files.scores],
    }
    data = json_bytes(index)
    open_folder(run).write(INDEX_PATH, data)
    return FileRecord(path=INDEX_PATH, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def read_index(run: Folder | Path | str) -> Index:
    """Return the index of a run.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, contradicts itself or has a version that this reader does not know.
    """
    path = f"{run}/{INDEX_PATH}"
    data = open_folder(run).read_if_there(INDEX_PATH)
    if data is None:
        raise FileNotFoundError(f"{path}: missing, so there are no tensors to read; repeat the `hqdata build` command")
    try:
        value = json.loads(data)
        known = (value["format"], value["version"])
        index = _parsed(value) if known == (INDEX_FORMAT, VERSION) else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: damaged ({error!r}); repeat the `hqdata build` command") from error
    if index is None:
        raise ValueError(f"{path}: format and version must be {(INDEX_FORMAT, VERSION)}, got {known}")
    return index


def _parsed(value: Mapping[str, Any]) -> Index:
    levels = (value["levels"][level_name(level)] for level in levels_of(value["size"]))
    index = Index(
        size=value["size"],
        ids=tuple(value["ids"]),
        ranks=tuple(value["ranks"]),
        scores=tuple(value["scores"]),
        data=_indexed(value["data"]),
        tensors={level["resolution"]: _indexed(level["files"]) for level in levels},
    )
    rows = [file.rows for file in index.data]
    counts = {value["num_rows"], sum(rows), len(index.ids), len(index.ranks), len(index.scores)}
    if len(counts) != 1 or any([file.rows for file in files] != rows for files in index.tensors.values()):
        raise ValueError("its row counts disagree")
    return index


def _indexed(entries: Sequence[Mapping[str, Any]]) -> tuple[IndexedFile, ...]:
    return tuple(IndexedFile(path=entry["path"], rows=entry["rows"]) for entry in entries)


def _common_size(ordered: Sequence[ShardFiles], size: int | None) -> int:
    if ordered:
        _check_together(ordered)
        return ordered[0].size
    if size is None:
        raise ValueError("shards must not be empty without size; give the side of the crops in pixels")
    return size


def _check_together(ordered: Sequence[ShardFiles]) -> None:
    numbers = [files.shard for files in ordered]
    totals = {(files.num_shards, files.size) for files in ordered}
    if len(totals) != 1 or numbers != list(range(ordered[0].num_shards)):
        raise ValueError(f"shards must be 0 to num_shards - 1 of one layout, got {numbers} of (count, size) {totals}")
    seen: dict[str, int] = {}
    for files in ordered:
        for id in files.ids:
            if id in seen:
                raise ValueError(f"id {id!r} is in shards {seen[id]} and {files.shard}; give each id to one shard")
            seen[id] = files.shard


def _index_entry(file: FileRecord, files: ShardFiles) -> dict[str, str | int]:
    return {"path": file.path, "rows": files.num_rows, "bytes": file.bytes, "sha256": file.sha256}
