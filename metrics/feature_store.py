"""Feature rows of pictures, kept in the pictures' order whatever order they arrive in, on disk beyond a limit."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_tensor
from metrics.whole_files import DAMAGED, whole_file

__all__ = ["LIMIT_BYTES", "FeatureStore"]

LIMIT_BYTES = 2**30
"""Rows kept in memory before they go to a file: 130,000 of Inception's."""
DTYPES = {"float16": np.float16, "float32": np.float32, "float64": np.float64}
MAGIC = "progan-hq/features 1"


@dataclass(slots=True, eq=False)
class _Stretch:
    """Rows of neighbouring pictures, in memory or at a place of the spill file."""

    first: int
    count: int
    rows: np.ndarray
    """Empty when they are in the file."""
    offset: int | None = None
    """Byte of the file at which they begin."""


class FeatureStore:
    """Rows with the index of each one's picture; `rows()` is in the order of indices.

    >>> store = FeatureStore(2)
    >>> store.update(np.array([[3.0, 4.0]]), first_index=1)
    >>> store.update(np.array([[1.0, 2.0]]), first_index=0)
    >>> store.rows().tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """

    def __init__(
        self, width: int, dtype: str = "float32", *, limit_bytes: int = LIMIT_BYTES, folder: Path | None = None
    ) -> None:
        """Begin empty.

        Args:
            width: length of a row.
            dtype: how rows are kept: "float16", "float32" or "float64".
            limit_bytes: rows beyond this go to a file without a name that vanishes with the store.
            folder: where that file lies; None for the system's temporary folder.
        """
        if width < 1:
            raise ValueError(f"width must be the length of a row, at least 1, got {width}")
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.width = width
        self.dtype = dtype
        self._limit_bytes = limit_bytes
        self._folder = folder
        self._stretches: list[_Stretch] = []
        self._bytes_held = 0
        self._spill: IO[bytes] | None = None
        self._copying: tuple[int, Tensor, torch.cuda.Event] | None = None

    def __len__(self) -> int:
        self._settle()
        return sum(stretch.count for stretch in self._stretches)

    @property
    def spilled(self) -> bool:
        """Whether rows lie in a file."""
        return self._spill is not None

    def update(self, rows: ArrayLike, *, first_index: int) -> None:
        """Take in (n, width) rows of the pictures from `first_index` on.

        Rows on CUDA are copied while the device works on: they are here for certain after the next call of anything.

        Raises:
            TypeError: when they are no array of real numbers.
            ValueError: when the rows have another length, or numbers that the store's type cannot hold.
        """
        values = checked_tensor("rows", rows)
        if values.ndim != 2 or values.shape[1] != self.width:
            raise ValueError(f"rows must have shape (n, {self.width}), got {tuple(values.shape)}; use one extractor")
        if first_index < 0:
            raise ValueError(f"first_index must be at least 0, got {first_index}")
        self._settle()
        if values.is_cuda:
            self._begin_copy(values, first_index)
            return
        self._keep(first_index, self._converted(values, first_index))

    def merge(self, other: FeatureStore) -> None:
        """Add another store's rows, such as another process's, in place; `other` keeps its own.

        Raises:
            ValueError: when widths or types differ.
        """
        if (self.width, self.dtype) != (other.width, other.dtype):
            raise ValueError(
                f"stores must be alike to be merged, got {self.width} of {self.dtype} and {other.width} of"
                f" {other.dtype}"
            )
        self._settle()
        other._settle()
        for stretch in list(other._stretches):
            self._keep(stretch.first, np.array(other._read(stretch)))

    def indices(self) -> Int64[np.ndarray, " n"]:
        """Return the pictures' indices, ascending.

        Raises:
            ValueError: when a picture was given twice, naming its index.
        """
        return np.concatenate(
            [np.arange(s.first, s.first + s.count) for s in self._sorted()] or [np.zeros(0, np.int64)]
        ).astype(np.int64)

    def rows(self) -> Float[np.ndarray, "n d"]:
        """Return all rows in the order of the pictures; memory-mapped, and not to be written to, when spilled.

        Raises:
            ValueError: when a picture was given twice, naming its index.
        """
        stretches = self._sorted()
        if self._spill is None:
            return np.concatenate([self._read(s) for s in stretches] or [np.zeros((0, self.width), DTYPES[self.dtype])])
        self._write_out()
        shape = sum(stretch.count for stretch in stretches), self.width
        if stretches == self._stretches:  # as they were written
            return np.memmap(self._spill, DTYPES[self.dtype], "r", shape=shape)
        with tempfile.TemporaryFile(dir=self._folder, prefix="features-") as whole:
            for stretch in stretches:
                whole.write(self._read(stretch).data)
            whole.flush()
            return np.memmap(whole, DTYPES[self.dtype], "r", shape=shape)

    def tensor(self, device: torch.device | str = "cpu") -> Float[Tensor, "n d"]:
        """Return a copy of all rows on a device, in the order of the pictures."""
        return torch.from_numpy(np.array(self.rows())).to(device)

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain values and tensors, fit for `torch.save` and `torch.load(weights_only=True)`."""
        return {
            "width": self.width,
            "dtype": self.dtype,
            "indices": torch.from_numpy(self.indices()),
            "rows": torch.from_numpy(np.array(self.rows())),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> FeatureStore:
        """Return the store that `state_dict` described."""
        store = cls(int(state["width"]), str(state["dtype"]))
        store._take(np.asarray(state["indices"]), np.asarray(state["rows"]))
        return store

    def save(self, path: Path | str) -> None:
        """Write rows and indices as .npz, or rows alone as .npy; whole or not at all, without pickle."""
        target = Path(path)
        if target.suffix not in (".npz", ".npy"):
            raise ValueError(f"{target}: must end in .npz, or in .npy for rows without indices")
        with whole_file(target) as file:
            if target.suffix == ".npy":
                np.save(file, self.rows(), allow_pickle=False)
            else:
                np.savez(file, rows=self.rows(), indices=self.indices(), format=np.array(MAGIC))

    @classmethod
    def load(cls, path: Path | str) -> FeatureStore:
        """Return a store from a file of `save`, or from any .npy of floats (n, d).

        Raises:
            ValueError: when the file is damaged, holds objects, or is no file of feature rows.
        """
        indices, rows = _loaded(Path(path))
        store = cls(rows.shape[1], str(rows.dtype))
        store._take(indices, rows)
        return store

    def _take(self, indices: np.ndarray, rows: np.ndarray) -> None:
        """Keep rows of ascending indices as stretches of neighbours."""
        cuts = np.flatnonzero(np.diff(indices) != 1) + 1
        for start, stop in zip([0, *cuts], [*cuts, len(indices)], strict=True):
            if stop > start:
                self.update(rows[start:stop], first_index=int(indices[start]))

    def _converted(self, rows: Tensor, first_index: int) -> np.ndarray:
        """Return a copy in the store's type, refusing finite numbers that become infinite in it."""
        kept = rows.to("cpu", getattr(torch, self.dtype), copy=True)
        lost = (kept.isinf() & ~rows.isinf().cpu()).any(dim=1)
        if bool(lost.any()):
            row = first_index + int(lost.int().argmax())
            raise ValueError(f"row of picture {row} has numbers too large for {self.dtype}; keep rows as float32")
        return kept.numpy()

    def _begin_copy(self, rows: Tensor, first_index: int) -> None:
        wanted = getattr(torch, self.dtype)
        landing = torch.empty(rows.shape, dtype=wanted, pin_memory=True)
        landing.copy_(rows.to(wanted), non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(rows.device))
        self._copying = first_index, landing, done

    def _settle(self) -> None:
        """Wait for the copy under way."""
        if self._copying is None:
            return
        first, landing, done = self._copying
        self._copying = None
        done.synchronize()
        self._keep(first, landing.numpy().copy())

    def _keep(self, first_index: int, rows: np.ndarray) -> None:
        if not len(rows):
            return
        self._stretches.append(_Stretch(first_index, len(rows), rows))
        self._bytes_held += rows.nbytes
        if self._bytes_held > self._limit_bytes:
            self._write_out()

    def _write_out(self) -> None:
        """Move the rows in memory to the spill file."""
        if self._spill is None:
            self._spill = tempfile.TemporaryFile(dir=self._folder, prefix="features-")  # noqa: SIM115 (next line)
            weakref.finalize(self, self._spill.close)
        self._spill.seek(0, os.SEEK_END)
        for stretch in self._stretches:
            if stretch.offset is None:
                stretch.offset = self._spill.tell()
                self._spill.write(np.ascontiguousarray(stretch.rows).data)
                stretch.rows = stretch.rows[:0].copy()
        self._spill.flush()
        self._bytes_held = 0

    def _read(self, stretch: _Stretch) -> np.ndarray:
        if stretch.offset is None or self._spill is None:
            return stretch.rows
        return np.memmap(self._spill, DTYPES[self.dtype], "r", stretch.offset, (stretch.count, self.width))

    def _sorted(self) -> list[_Stretch]:
        self._settle()
        stretches = sorted(self._stretches, key=lambda stretch: stretch.first)
        for before, after in pairwise(stretches):
            if after.first < before.first + before.count:
                raise ValueError(f"picture {after.first} was given twice; give each process its own part of the source")
        return stretches


def _loaded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                indices, rows = np.arange(len(found)), found
            else:
                indices, rows = found["indices"], found["rows"]
    except FileNotFoundError:
        raise
    except DAMAGED as error:
        raise ValueError(f"{path}: holds no feature rows, or is damaged ({error}); extract them again") from error
    if rows.ndim != 2 or str(rows.dtype) not in DTYPES or indices.shape != (len(rows),):
        raise ValueError(f"{path}: must hold float rows (n, d), got {rows.dtype} {rows.shape}")
    return indices, rows
