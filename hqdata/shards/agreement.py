"""Whether the files of a run say the same: the index, the selection, the Parquet rows and the tensors.

For files whose bytes are those that were written; what is found here is a fault of the program that wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8

from hqdata.png import decode_png, pixel_sha256
from hqdata.resample import box_pyramid
from hqdata.shards.format import INDEX_PATH, SELECTED_PATH, Problem
from hqdata.shards.index import Index, IndexedFile, read_index
from hqdata.shards.spreading import Spread
from hqdata.shards.tensors import TensorHeader, map_images, parse_header, read_header
from hqdata.storage import Folder

__all__ = ["ListedShard", "check_agreement", "check_shards"]

DECODED_ROWS = 16
"""PNGs held at once by the deep check."""
PARQUET_ERRORS = (pa.ArrowException, KeyError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedShard:
    """What the index says of one shard."""

    data: IndexedFile
    tensors: tuple[IndexedFile, ...]
    """By resolution, as in `resolutions`."""
    resolutions: tuple[int, ...]
    ids: tuple[str, ...]
    size: int
    """Side of its pictures in pixels."""
    deep: bool
    """Whether the pixels are to be compared too."""


def check_agreement(run: Folder, *, known: Set[str], sound: Set[str], deep: bool, spread: Spread) -> list[Problem]:
    """Return where the files of a run contradict each other.

    Args:
        run: the run folder.
        known: paths that the manifest lists.
        sound: those of them whose bytes are right, the index and the selection among them; others are not opened.
        deep: also compare the pixels of every PNG with the tensors of every resolution.
        spread: how the shards are shared out.
    """
    try:
        index = read_index(run)
    except ValueError as error:
        return [Problem(path=INDEX_PATH, what=str(error))]
    problems = list(_check_selection(run, index))
    shards = []
    for number in range(len(index.data)):
        paths = {file.path for file in index.shard_files(number)}
        problems += [Problem(path=path, what="is in the index but not in the manifest") for path in paths - known]
        if paths <= sound:
            shards.append(_listed(index, number, deep=deep))
    return [*problems, *spread(check_shards, run, shards)]


def check_shards(run: Folder, shards: Sequence[ListedShard]) -> list[Problem]:
    """Return where shards contradict the index, or, where the deep check is asked for, themselves."""
    problems = []
    for shard in shards:
        found = list(_check_shard(run, shard))
        problems += found or (_check_pixels(run, shard) if shard.deep else [])
    return problems


def _listed(index: Index, number: int, *, deep: bool) -> ListedShard:
    data, *tensors = index.shard_files(number)
    return ListedShard(
        data=data,
        tensors=tuple(tensors),
        resolutions=tuple(index.tensors),
        ids=tuple(index.shard_ids(number)),
        size=index.size,
        deep=deep,
    )


def _check_selection(run: Folder, index: Index) -> Iterator[Problem]:
    try:
        selected = _column(run, SELECTED_PATH, "id")
    except PARQUET_ERRORS as error:
        yield Problem(path=SELECTED_PATH, what=f"is no readable table with ids ({error})")
        return
    if sorted(selected) != sorted(index.ids):
        what = f"names {len(selected)} faces, but the index holds {len(index.ids)} and not the same ones"
        yield Problem(path=SELECTED_PATH, what=what)


def _check_shard(run: Folder, shard: ListedShard) -> Iterator[Problem]:
    yield from _check_ids(run, shard.data, list(shard.ids))
    for resolution, file in zip(shard.resolutions, shard.tensors, strict=True):
        try:
            header = _header(run, file.path)
        except ValueError as error:
            yield Problem(path=file.path, what=str(error))
            continue
        if (header.num_images, header.resolution) != (file.rows, resolution):
            what = f"holds {header.num_images} pictures of {header.resolution} px, but the index says"
            yield Problem(path=file.path, what=f"{what} {file.rows} of {resolution}")


def _check_ids(run: Folder, data: IndexedFile, expected: list[str]) -> Iterator[Problem]:
    try:
        ids = _column(run, data.path, "id")
    except PARQUET_ERRORS as error:
        yield Problem(path=data.path, what=f"is no readable Parquet file with ids ({error})")
        return
    if ids != expected:
        what = f"has {len(ids)} rows, but the index holds {len(expected)} and not the same ones in the same order"
        yield Problem(path=data.path, what=what)


def _check_pixels(run: Folder, shard: ListedShard) -> Iterator[Problem]:
    """Decode every picture of a shard and compare it with its hash and with the tensors."""
    with ExitStack() as stack:
        files = (shard.data, *shard.tensors)
        data, *tensors = ((file.path, stack.enter_context(run.reading(file.path))) for file in files)
        levels = [(name, map_images(path, read_header(path))) for name, path in tensors]
        yield from _compare_pixels(shard.size, data, levels)


def _compare_pixels(
    size: int, data: tuple[str, Path], levels: Sequence[tuple[str, UInt8[np.ndarray, "n 3 r r"]]]
) -> Iterator[Problem]:
    name, path = data
    for position, row in enumerate(_stored_pictures(path)):
        try:
            image = decode_png(row["image"]["bytes"], size)
        except ValueError as error:
            yield Problem(path=name, what=f"the picture of {row['id']!r} {error}")
            continue
        if pixel_sha256(image) != row["pixel_sha256"]:
            yield Problem(path=name, what=f"the picture of {row['id']!r} has other pixels than its hash says")
        for (tensor, level), pixels in zip(levels, box_pyramid(image.transpose(2, 0, 1)), strict=True):
            if not np.array_equal(level[position], pixels):
                yield Problem(path=tensor, what=f"picture {position} differs from the PNG of {row['id']!r}")


def _stored_pictures(path: Path) -> Iterator[dict[str, Any]]:
    for batch in pq.ParquetFile(path).iter_batches(DECODED_ROWS, columns=["image", "id", "pixel_sha256"]):
        yield from batch.to_pylist()


def _header(run: Folder, path: str) -> TensorHeader:
    with run.open(path) as file:
        return parse_header(file, run.size(path) or 0, f"{run}/{path}")


def _column(run: Folder, path: str, name: str) -> list[str]:
    with run.open(path) as file:
        return pq.read_table(file, columns=[name]).column(name).to_pylist()
