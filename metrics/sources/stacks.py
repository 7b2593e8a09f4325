"""Pictures that lie in arrays: tensors, numpy arrays, .npy and .npz files, and tensor shards, never loaded whole."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metrics.arrays import ArrayLike
from metrics.sources.batches import Block
from metrics.sources.conversion import Conversion, Tally
from metrics.sources.ordered import in_order
from metrics.sources.summary import Summary, same_content
from metrics.whole_files import DAMAGED

__all__ = ["StackedPictures", "read_npy", "read_npz"]

AHEAD = 2
"""Slices that are read from memory-mapped files before they are needed."""
HASHED = 16
"""Pictures in memory at a time while fingerprints are taken."""
FileState = tuple[int, int, int]
"""Of a file: inode, size in bytes, and time of its last change in nanoseconds."""
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""Of a zip entry (APPNOTE 4.3.7); its last two numbers are the lengths of name and extra field."""


class StackedPictures:
    """One or several arrays whose first axis counts pictures, one after the other."""

    def __init__(
        self,
        stacks: Sequence[ArrayLike],
        *,
        name: str,
        value_range: tuple[float, float] | None,
        notes: Sequence[str] = (),
    ) -> None:
        for stack in stacks:
            if stack.ndim != 4:
                raise ValueError(
                    f"{name}: pictures must have shape (n, 3, h, w) or (n, h, w, 3), got {tuple(stack.shape)}"
                    + ("; add a first axis for a single picture" if stack.ndim == 3 else "")
                )
        self.name = name
        self.count: int | None = sum(len(stack) for stack in stacks)
        self._stacks = [stack for stack in stacks if len(stack)]
        self._value_range = value_range
        self._notes = notes
        self._convert = Conversion(name=name, value_range=value_range)
        self._hashed: dict[tuple[int, int], tuple[FileState, bytes]] = {}
        """Digests of pictures in files by stack and place, good for as long as the file stays as it is."""

    @property
    def tally(self) -> Tally:
        """What was noticed while pictures were converted."""
        return self._convert.tally

    def label(self, index: int) -> str:
        """Return the picture's number."""
        return f"picture {index}"

    def blocks(self, chosen: Sequence[int], *, size: int) -> Iterator[Block]:
        """Yield slices of at most `size` neighbours."""
        self._convert = Conversion(name=self.name, value_range=self._value_range)
        runs = list(_runs(chosen, [len(stack) for stack in self._stacks], size))
        for run, piece in zip(runs, in_order(self._piece, runs, num_threads=1, ahead=AHEAD), strict=True):
            place, _, start, _ = run
            yield place, self._convert(piece, first_index=chosen[place] if start >= 0 else place)

    def digests(self, chosen: Sequence[int]) -> list[bytes]:
        """Return the sha256 of each picture's values, type, shape and range; an unchanged file is read once for it."""
        digests = []
        for _, stack, start, stop in _runs(chosen, [len(stack) for stack in self._stacks], HASHED):
            state = _file_state(self._stacks[stack])
            known = [self._hashed.get((stack, place)) for place in range(start, stop)]
            found = [one[1] for one in known if one is not None and one[0] == state]
            if len(found) < stop - start:
                found = self._digests(stack, start, stop)
                if state is not None:
                    self._hashed.update({(stack, start + i): (state, digest) for i, digest in enumerate(found)})
            digests.extend(found)
        return digests

    def _digests(self, stack: int, start: int, stop: int) -> list[bytes]:
        piece = self._stacks[stack][start:stop]
        array = piece.detach().cpu() if isinstance(piece, Tensor) else np.ascontiguousarray(piece)
        meaning = f"{piece.dtype}{tuple(piece.shape[1:])}{self._value_range}".replace("torch.", "").encode()
        return [hashlib.sha256(meaning + _bytes_of(picture)).digest() for picture in array]

    def summary(self, chosen: Sequence[int]) -> Summary:
        """Return sizes and what was noticed; every picture is hashed to find exact copies."""
        sizes: Counter[tuple[int, int]] = Counter()
        for _, stack, start, stop in _runs(chosen, [len(s) for s in self._stacks], len(chosen)):
            sizes[_size(tuple(self._stacks[stack].shape[1:]))] += stop - start
        copies = same_content(self.name, [self.label(index) for index in chosen], self.digests(chosen))
        return Summary(
            name=self.name,
            count=len(chosen),
            sizes=dict(sizes),
            notes=(*self._notes, *self._convert.notes(), *copies),
        )

    def _piece(self, run: tuple[int, int, int, int]) -> ArrayLike:
        _, stack, start, stop = run
        piece = self._stacks[stack][start:stop]
        return np.array(piece) if isinstance(piece, np.memmap) else piece


def read_npy(path: Path) -> np.ndarray:
    """Return an array file, memory-mapped.

    Raises:
        ValueError: when it is damaged, or holds objects, which would need pickle.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except DAMAGED as error:
        raise ValueError(f"{path}: is no whole .npy file of numbers ({error}); write it again") from error


def read_npz(path: Path) -> np.ndarray:
    """Return the pictures of an archive of arrays: `arr_0`, as guided-diffusion's evaluator has them, or its only one.

    An array that lies uncompressed in the archive is memory-mapped; a compressed one is unpacked into memory.

    Raises:
        ValueError: when it is damaged, holds statistics or objects, or several arrays of which none is called arr_0.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo(f"{_only_array(path, archive)}.npy")
            if entry.compress_type == zipfile.ZIP_STORED:
                return _mapped(path, entry)
            with np.load(path, allow_pickle=False) as arrays:
                return arrays[entry.filename.removesuffix(".npy")]
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: holds no array of numbers ({error}); write it with numpy.savez") from error
    except DAMAGED as error:
        raise ValueError(f"{path}: is no whole .npz file ({error}); copy or write it again") from error


def _only_array(path: Path, archive: zipfile.ZipFile) -> str:
    names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if {"mu", "sigma"} <= set(names):
        raise ValueError(f"{path}: holds statistics (mu and sigma), no pictures; give it where statistics are taken")
    if "arr_0" in names:
        return "arr_0"
    if len(names) != 1:
        raise ValueError(f"{path}: must hold pictures as arr_0 or as its only array, got {names or 'no arrays'}")
    return names[0]


def _mapped(path: Path, entry: zipfile.ZipInfo) -> np.ndarray:
    """Return an array that lies in a zip archive as it is."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        *_, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        file.seek(name_length + extra_length, 1)
        begin = file.tell()
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        offset = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{path}: holds Python objects, which only pickle could read; save plain arrays")
    if offset - begin + dtype.itemsize * int(np.prod(shape)) != entry.file_size:
        raise ValueError(f"{path}: the array's header and its length disagree; write it again")
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _runs(chosen: Sequence[int], lengths: Sequence[int], size: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (place in `chosen`, stack, start, stop) of neighbours in one stack, at most `size` together."""
    bounds = np.cumsum([0, *lengths])
    place = 0
    while place < len(chosen):
        index = chosen[place]
        stack = int(np.searchsorted(bounds, index, side="right")) - 1
        most = min(size, int(bounds[stack + 1]) - index, len(chosen) - place)
        count = 1
        while count < most and chosen[place + count] == index + count:
            count += 1
        start = index - int(bounds[stack])
        yield place, stack, start, start + count
        place += count


def _file_state(stack: ArrayLike) -> FileState | None:
    """Return the state of the file that an array is mapped from; None for one in memory, or that can be written to."""
    if not isinstance(stack, np.memmap) or stack.filename is None or stack.mode != "r":
        return None
    try:
        found = Path(stack.filename).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[1], shape[2]) if shape[0] in (1, 3) else (shape[0], shape[1])


def _bytes_of(picture: ArrayLike) -> bytes:
    if isinstance(picture, Tensor):
        return picture.contiguous().view(torch.uint8).numpy().tobytes()
    return np.ascontiguousarray(picture).tobytes()
