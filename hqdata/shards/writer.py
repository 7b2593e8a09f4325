"""Write the shards: one pure function per shard.

The same rows give the same bytes on any worker; a shard's files appear whole or not at all; memory holds one Parquet
row group and one picture's pyramid, whatever the shard's length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from hqdata.png import decode_png, pixel_sha256
from hqdata.resample import box_pyramid
from hqdata.shards.format import (
    DATA_FOLDER,
    INDEX_PATH,
    TENSORS_FOLDER,
    FileRecord,
    ShardFiles,
    data_path,
    levels_of,
    tensor_path,
)
from hqdata.shards.hashing import HashedFile
from hqdata.shards.parquet import ParquetShard
from hqdata.shards.rows import ShardLayout, ShardRow
from hqdata.shards.tensors import TensorShard
from hqdata.storage import Folder, open_folder

__all__ = ["prune", "whole_shards", "write_shard"]


def write_shard(
    run: Folder | Path | str, shard: int, rows: Iterable[ShardRow], *, num_rows: int, layout: ShardLayout
) -> ShardFiles:
    """Write one shard's Parquet file and its tensor file at every level; return what was written.

    Files of an earlier attempt are replaced. A failure leaves no new file behind, or, where it is one of the storage
    while the files are published, some whole ones, which the next attempt writes again. For an object store the whole
    shard is built in scratch first, which needs room for it.

    Args:
        run: the run folder.
        shard: this shard's number, 0 to `layout.num_shards` - 1.
        rows: consumed one at a time; their order is the order in the files.
        num_rows: how many rows will come, at least 1; it stands in the tensor files before the first picture.
        layout: what all shards of the run share.

    Raises:
        ValueError: if a row's PNG is damaged, has another size or other pixels than its hash says, if its columns do
            not fit the layout, if two rows have one id, or if other than `num_rows` rows come; it names the row.
        OSError: if the disk is full or the folder cannot be written.
    """
    folder = open_folder(run)
    if not 0 <= shard < layout.num_shards or num_rows < 1:
        raise ValueError(f"shard {shard} of {layout.num_shards} with {num_rows} rows cannot be; number shards from 0")
    paths = [data_path(shard, layout.num_shards)]
    paths += [tensor_path(level, shard, layout.num_shards) for level in levels_of(layout.size)]
    with ExitStack() as stack:
        files = [stack.enter_context(HashedFile(stack.enter_context(folder.writing(path)))) for path in paths]
        written = _write_rows(files, rows, num_rows, layout)
    data, *tensors = (
        FileRecord(path=path, bytes=file.tell(), sha256=file.sha256) for path, file in zip(paths, files, strict=True)
    )
    return ShardFiles(
        shard=shard,
        num_shards=layout.num_shards,
        size=layout.size,
        ids=tuple(written),
        ranks=tuple(rank for rank, _ in written.values()),
        scores=tuple(score for _, score in written.values()),
        data=data,
        tensors=tuple(tensors),
    )


def whole_shards(run: Folder | Path | str, shards: Iterable[ShardFiles]) -> list[ShardFiles]:
    """Return those of which every file is there with its size; bytes are not compared, see `verify_run`."""
    candidates = list(shards)
    sizes = open_folder(run).sizes(file.path for files in candidates for file in files.files)
    return [files for files in candidates if all(sizes[file.path] == file.bytes for file in files.files)]


def prune(run: Folder | Path | str, shards: Sequence[ShardFiles]) -> list[str]:
    """Delete what is in data/ and tensors/ but belongs to none of `shards`; return the deleted paths, sorted.

    Such files are temporary ones of a killed process, or shards of an earlier build with another count or size.
    Unfinished uploads go, too. Not for a run that another process is still writing.
    """
    run = open_folder(run)
    keep = {file.path for files in shards for file in files.files} | {INDEX_PATH}
    others = []
    for name in (DATA_FOLDER, TENSORS_FOLDER):
        found = (f"{name}/{file.name}" for file in (run / name).walk(temporary=True))
        others += [path for path in found if path not in keep]
    run.delete_many(others)
    for name in (DATA_FOLDER, TENSORS_FOLDER):
        (run / name).delete_remains()
    return others


def _write_rows(
    files: Sequence[HashedFile], rows: Iterable[ShardRow], num_rows: int, layout: ShardLayout
) -> dict[str, tuple[int, float]]:
    """Write all rows to the Parquet file and the tensor files, in this order; return rank and score of each id."""
    data, *tensors = files
    levels = [
        TensorShard(file, num_rows, 1 << level) for file, level in zip(tensors, levels_of(layout.size), strict=True)
    ]
    written: dict[str, tuple[int, float]] = {}
    with ParquetShard(data, layout) as parquet:
        for row in rows:
            _check_row(row, written, num_rows)
            image = _decoded(row, layout.size)
            parquet.add(row, pixel_sha256(image))
            for level, picture in zip(levels, box_pyramid(image.transpose(2, 0, 1)), strict=True):
                level.add(picture)
            written[row.id] = (int(row.rank), float(row.score))
    if len(written) != num_rows:
        raise ValueError(f"num_rows says {num_rows} rows but {len(written)} came; give the shard's true row count")
    return written


def _check_row(row: ShardRow, written: dict[str, tuple[int, float]], num_rows: int) -> None:
    if row.id in written:
        raise ValueError(f"row {row.id!r} comes twice in this shard; give each id once")
    if len(written) == num_rows:
        raise ValueError(f"row {row.id!r} is beyond the {num_rows} rows that num_rows says; give the true row count")
    if not math.isfinite(row.score):
        raise ValueError(f"row {row.id!r}: score must be finite, got {row.score}")


def _decoded(row: ShardRow, size: int) -> UInt8[np.ndarray, "size size 3"]:
    try:
        image = decode_png(row.png, size)
    except ValueError as error:
        raise ValueError(f"row {row.id!r}: its picture {error}; render it again") from error
    if row.pixel_sha256 is not None and pixel_sha256(image) != row.pixel_sha256:
        raise ValueError(
            f"row {row.id!r}: its PNG decodes to pixels with sha256 {pixel_sha256(image)}, "
            f"but they must have {row.pixel_sha256}; render it again"
        )
    return image
