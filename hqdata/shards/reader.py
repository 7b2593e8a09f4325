"""Read a finished run's pictures at one resolution, memory-mapped, for training.

Choosing and reading a picture is one copy out of the page cache; nothing is decoded. For the columns beside the
pictures read the Parquet files.
"""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from torch.utils.data import Dataset

from hqdata.shards.format import MANIFEST_PATH
from hqdata.shards.index import IndexedFile, read_index
from hqdata.shards.tensors import CHANNELS, TensorHeader, map_images, read_header
from hqdata.storage import is_url

__all__ = ["ShardDataset", "open_dataset"]


def open_dataset(run: Path | str, resolution: int = 256) -> ShardDataset:
    """Return the pictures of a finished run at one resolution, as a map-style data set.

    Only names, lengths and headers are checked here; `hqdata verify` compares every byte.

    Args:
        run: the run folder; it is only read.
        resolution: pixels of a picture's side, a power of two from 4 to the size that the run was built with.

    Raises:
        FileNotFoundError: if there is no such run, it is not finished, or one of its files is missing.
        ValueError: if the run lacks the resolution, a file is cut or damaged, which is named, or the run lies in an
            object store.
    """
    run = _on_a_disk(run)
    _check_finished(run)
    index = read_index(run)
    if resolution not in index.tensors:
        choices = ", ".join(map(str, sorted(index.tensors)))
        raise ValueError(f"{run} has no pictures of resolution {resolution}; choose one of {choices}")
    shards = [_open_shard(run, file, resolution) for file in index.tensors[resolution]]
    return ShardDataset(shards, resolution=resolution, ids=index.ids, ranks=index.ranks, scores=index.scores)


class ShardDataset(Dataset[torch.Tensor]):
    """Pictures by index: `dataset[i]` is a uint8 tensor (3, r, r), RGB, that owns its memory.

    Fit for a torch DataLoader with any number of workers, forked or spawned: each process maps the files on its first
    read, and pickling takes the names along, not the maps. The order is that of the Parquet files' rows.
    """

    def __init__(
        self,
        shards: Sequence[_Shard],
        *,
        resolution: int,
        ids: tuple[str, ...],
        ranks: Sequence[int],
        scores: Sequence[float],
    ) -> None:
        self.resolution = resolution
        self.ids = ids
        """Identity of each picture, in order."""
        self.ranks: Int64[np.ndarray, " n"] = np.asarray(ranks, dtype=np.int64)
        """Place of each picture in the selection, 0 for the best."""
        self.scores: Float64[np.ndarray, " n"] = np.asarray(scores, dtype=np.float64)
        """Quality of each picture."""
        self._shards = tuple(shards)
        self._starts = tuple(accumulate((shard.header.num_images for shard in shards), initial=0))
        self._maps: list[UInt8[np.ndarray, "n 3 r r"] | None] = [None] * len(shards)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: SupportsIndex) -> UInt8[torch.Tensor, "3 r r"]:
        return torch.from_numpy(self._view(operator.index(index)).copy())

    def __iter__(self) -> Iterator[UInt8[torch.Tensor, "3 r r"]]:
        return (self[index] for index in range(len(self)))

    def batch(self, indices: Sequence[int] | Int64[np.ndarray, " n"]) -> UInt8[torch.Tensor, "n 3 r r"]:
        """Return several pictures in one tensor, copied once; faster than stacking single ones.

        Raises:
            IndexError: if an index is outside of the data set.
        """
        pictures = np.empty((len(indices), CHANNELS, self.resolution, self.resolution), dtype=np.uint8)
        for picture, index in zip(pictures, indices, strict=True):
            picture[...] = self._view(operator.index(index))
        return torch.from_numpy(pictures)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": [None] * len(self._shards)}

    def __repr__(self) -> str:
        return (
            f"ShardDataset({len(self)} pictures of {self.resolution}x{self.resolution} in {len(self._shards)} shards)"
        )

    def _view(self, index: int) -> UInt8[np.ndarray, "3 r r"]:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is outside of a data set of {len(self)} pictures")
        shard = bisect_right(self._starts, position) - 1
        pictures = self._maps[shard]
        if pictures is None:
            pictures = self._maps[shard] = map_images(self._shards[shard].path, self._shards[shard].header)
        return pictures[position - self._starts[shard]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shard:
    """One tensor file and what its header says."""

    path: Path
    header: TensorHeader


def _on_a_disk(run: Path | str) -> Path:
    if is_url(run):
        raise ValueError(
            f"{run}: pictures are mapped into memory from files, which an object store has not; copy the run to a disk"
            f" first (without its work folder), as `aws s3 sync {run} FOLDER --exclude 'work/*'` does, and give FOLDER"
        )
    return Path(run)


def _check_finished(run: Path) -> None:
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such folder; give the folder that `hqdata build --out` wrote")
    if not (run / MANIFEST_PATH).is_file():
        raise FileNotFoundError(
            f"{run}: has no {MANIFEST_PATH}, so the run is not finished; repeat its `hqdata build` command to finish it"
        )


def _open_shard(run: Path, file: IndexedFile, resolution: int) -> _Shard:
    path = run / file.path
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; run `hqdata verify` and repeat the `hqdata build` command")
    header = read_header(path)
    if (header.num_images, header.resolution) != (file.rows, resolution):
        raise ValueError(
            f"{path}: holds {header.num_images} pictures of {header.resolution} px but the index says {file.rows} "
            f"of {resolution}; run `hqdata verify`"
        )
    return _Shard(path=path, header=header)
