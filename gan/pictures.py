"""Real pictures at every level, by index: from a finished run's tensors, or from an array in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from gan.zoo.shape import FIRST_LEVEL
from hqdata.shards import ShardDataset, open_dataset
from hqdata.shards.format import MANIFEST_PATH
from hqdata.shards.index import read_index

__all__ = ["ArrayPictures", "Pictures", "RunPictures", "one_hot"]

SOME = 1024
"""Pictures in memory are made smaller so many at a time."""


class Pictures(Protocol):
    """A set of real pictures that trainings draw from."""

    @property
    def last_level(self) -> int:
        """log2 of the largest pictures' nominal resolution."""
        ...

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        ...

    @property
    def labels(self) -> Float32[Tensor, "n k"] | None:
        """One-hot rows, or None."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of all pictures and labels; a resumed training must see the same."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: Int64[np.ndarray, " b"], level: int) -> UInt8[Tensor, "b c h w"]:
        """Return pictures by index, of a level's own size."""
        ...


class RunPictures:
    """The pictures of a folder that `hqdata build` wrote; memory-mapped, nothing is decoded.

    Args:
        run: the folder.
        label_column: a Parquet column whose values become one-hot labels, in sorted order; None for no labels.

    Raises:
        FileNotFoundError: when the run is not there or not finished.
        ValueError: when the column is missing or empty in places.
    """

    channels = 3

    def __init__(self, run: Path, *, label_column: str | None = None) -> None:
        self._sets: dict[int, ShardDataset] = {}
        self._run = run
        self._largest = open_dataset(run, resolution=max(_resolutions(run)))
        self.last_level = self._largest.resolution.bit_length() - 1
        self.labels = one_hot(_column(run, label_column, self._largest.ids)) if label_column else None
        manifest = (run / MANIFEST_PATH).read_bytes()
        self.fingerprint = hashlib.sha256(manifest + (label_column or "").encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._largest)

    def batch(self, indices: Int64[np.ndarray, " b"], level: int) -> UInt8[Tensor, "b 3 r r"]:
        """Return pictures by index, of a level's own size.

        Raises:
            ValueError: when the run has no pictures of that size.
        """
        if level not in self._sets:
            self._sets[level] = open_dataset(self._run, resolution=1 << level)
        return self._sets[level].batch(indices)


class ArrayPictures:
    """Pictures in memory, with every smaller size made at once by 2 x 2 means, rounded only when stored.

    Args:
        images: uint8; the side must be a power of two from 4, or `base` times one.
        labels: one-hot rows.
        base: height and width at level 2.

    Raises:
        TypeError: when the pictures are not uint8.
        ValueError: when their shape is none that a network makes.
    """

    def __init__(
        self,
        images: UInt8[np.ndarray, "n c h w"],
        *,
        labels: Float32[Tensor, "n k"] | None = None,
        base: tuple[int, int] = (4, 4),
    ) -> None:
        self.last_level = _checked_level(images, base)
        _check_labels(labels, len(images))
        self.labels = labels
        self.channels = images.shape[1]
        self._levels = _smaller(torch.from_numpy(np.ascontiguousarray(images)), self.last_level)
        named = b"" if labels is None else labels.numpy().tobytes()
        digest = hashlib.sha256(np.ascontiguousarray(images).data)
        digest.update(named)
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._levels[self.last_level])

    def batch(self, indices: Int64[np.ndarray, " b"], level: int) -> UInt8[Tensor, "b c h w"]:
        """Return pictures by index, of a level's own size."""
        return self._levels[level][torch.from_numpy(indices)]


def _check_labels(labels: Tensor | None, count: int) -> None:
    if labels is None:
        return
    if labels.ndim != 2 or not labels.is_floating_point():
        raise TypeError(
            f"labels must be float rows (n, k), such as `one_hot` makes of classes, got {labels.dtype}"
            f" {tuple(labels.shape)}"
        )
    if len(labels) != count:
        raise ValueError(f"labels must have a row for each of {count} pictures, got {len(labels)}")


def _smaller(images: UInt8[Tensor, "n c h w"], last_level: int) -> dict[int, UInt8[Tensor, "n c i j"]]:
    """Return the pictures of every level, some at a time, since they are four times as large while they are floats."""
    levels = {last_level: images}
    for level in range(last_level - 1, FIRST_LEVEL - 1, -1):
        n, c, h, w = levels[level + 1].shape
        levels[level] = torch.empty(n, c, h // 2, w // 2, dtype=torch.uint8)
    for start in range(0, len(images), SOME):
        wide = images[start : start + SOME].float()
        for level in range(last_level - 1, FIRST_LEVEL - 1, -1):
            wide = torch.nn.functional.avg_pool2d(wide, 2)
            levels[level][start : start + SOME] = wide.round().clamp(0, 255).to(torch.uint8)
    return levels


def _resolutions(run: Path) -> Sequence[int]:
    open_dataset(run, resolution=4)  # its errors are better than those of a missing index
    return list(read_index(run).tensors)


def _column(run: Path, name: str, ids: Sequence[str]) -> list[object]:
    files = sorted((run / "data").glob("*.parquet"))
    known = pq.read_schema(files[0]).names
    if name not in known:
        raise ValueError(f"{run}: has no column {name!r} for labels; its columns are {', '.join(known)}")
    values: dict[str, object] = {}
    for file in files:
        table = pq.read_table(file, columns=["id", name])
        values |= dict(zip(table["id"].to_pylist(), table[name].to_pylist(), strict=True))
    missing = [key for key in ids if values.get(key) is None]
    if missing:
        raise ValueError(f"{run}: column {name!r} is empty for {len(missing)} pictures, such as {missing[0]}")
    return [values[key] for key in ids]


def one_hot(values: Sequence[object]) -> Float32[Tensor, "n k"]:
    """Return one row for each value, with a 1 at the value's place among all, sorted.

    >>> one_hot(["cat", "ant", "cat"]).tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]

    Raises:
        ValueError: when the values cannot be sorted.
    """
    try:
        kinds = sorted(set(values))  # pyright: ignore[reportArgumentType]
    except TypeError as error:
        raise ValueError(f"labels must be numbers or texts, got {values[0]!r}") from error
    places = {kind: place for place, kind in enumerate(kinds)}
    return torch.eye(len(kinds))[[places[value] for value in values]]


def _checked_level(images: np.ndarray, base: tuple[int, int]) -> int:
    if images.dtype != np.uint8:
        raise TypeError(f"images must be uint8 in 0..255, got {images.dtype}")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must have shape (n, c, h, w) without a zero, got {images.shape}")
    if images.max() == 1:
        raise ValueError("images hold 0 and 1 alone, as floats in 0..1 do after a cast; multiply them with 255 first")
    times = images.shape[2] // base[0]
    if times < 1 or times & (times - 1) or images.shape[2:] != (base[0] * times, base[1] * times):
        raise ValueError(
            f"pictures must have {base[0]} x {base[1]} pixels times a power of two, got"
            f" {images.shape[2]} x {images.shape[3]}; crop or resize them, or set networks.base"
        )
    return FIRST_LEVEL + times.bit_length() - 1
