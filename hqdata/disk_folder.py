"""A folder on a file system, local or shared: the calls of `hqdata.storage.Folder` there.

A file is written under a temporary name beside its place, synced, and then renamed or linked to it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from hqdata.atomic import TEMPORARY_SUFFIX, atomic_path, sync, write_bytes

__all__ = ["DiskFolder", "StoredFile"]

CHUNK_BYTES = 1 << 20
READ_AT_ONCE = 64
READ_THREADS = 8
"""On a network file system a small file costs a round trip; waiting for several at once costs one too."""
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
"""How file systems without hard links refuse one: FAT, SMB, some FUSE."""


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file in a folder, as listed."""

    name: str
    """Relative to the folder, with forward slashes."""
    bytes: int


@dataclass(frozen=True, slots=True)
class DiskFolder:
    """Files below a path; the methods are those of `hqdata.storage.Folder`."""

    path: Path

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        return (self.path / name).read_bytes()

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) in the order of `names`."""
        remaining = iter(names)
        with ThreadPoolExecutor(READ_THREADS) as pool:
            while batch := list(islice(remaining, READ_AT_ONCE)):
                yield from zip(batch, pool.map(self.read, batch), strict=True)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's content piece by piece."""
        with self.open(name) as file:
            while piece := file.read(CHUNK_BYTES):
                yield piece

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        return (self.path / name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one that is there."""
        write_bytes(self.path / name, data)

    def create(self, name: str, data: bytes) -> None:
        """Write a file that must not be there yet."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
            sync(temporary)
            _link(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        sync(target.parent)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a temporary path beside the file's place."""
        with atomic_path(self.path / name) as temporary:
            yield temporary

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield the file's own path."""
        yield self.path / name

    def size(self, name: str) -> int | None:
        """Return a file's bytes; None where there is no such file."""
        path = self.path / name
        return path.stat().st_size if path.is_file() else None

    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of several files."""
        return {name: self.size(name) for name in names}

    def walk(self, without: Collection[str], temporary: bool) -> Iterator[StoredFile]:
        """Yield the files in it and below, sorted by name."""
        return (file for file in _walk(self.path, "", without) if temporary or not _is_temporary(file.name))

    def folders(self) -> list[str]:
        """Return the names of the folders directly in it, sorted."""
        return sorted(entry.name for entry in _entries(self.path) if entry.is_dir(follow_symlinks=False))

    def is_empty(self) -> bool:
        """Return whether it holds nothing, or is not there."""
        return not self.path.is_dir() or not any(self.path.iterdir())

    def delete_many(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are passed over."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, onerror=_raise_unless_gone)

    def delete_remains(self) -> None:
        """Remove the folders that hold no file."""
        for name in self.folders():
            DiskFolder(self.path / name).delete_remains()
        with suppress(OSError):  # it is not empty, not there, or filled just now
            self.path.rmdir()


def _link(temporary: Path, target: Path) -> None:
    """Give `target` the content of `temporary`, unless it is there.

    Without hard links it is made exclusively and then filled, so that for an instant a reader may find it short.
    """
    try:
        os.link(temporary, target)
    except FileExistsError:
        if temporary.stat().st_nlink != 2:  # a network file system may lose its answer, ask again and meet its own link
            raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with target.open("xb") as file:
            _fill(file, temporary, target)


def _fill(file: BinaryIO, temporary: Path, target: Path) -> None:
    try:
        file.write(temporary.read_bytes())
        file.flush()
        os.fsync(file.fileno())
    except BaseException:
        target.unlink()
        raise


def _walk(folder: Path, prefix: str, without: Collection[str] = ()) -> Iterator[StoredFile]:
    """Go down in an order that leaves the full names sorted, with one folder's entries in memory at a time."""
    for name, entry in sorted((_sortable(entry), entry) for entry in _entries(folder)):
        if name.endswith("/"):
            if entry.name not in without:
                yield from _walk(folder / entry.name, prefix + name)
        elif entry.is_file():
            try:
                yield StoredFile(prefix + name, entry.stat().st_size)
            except FileNotFoundError:
                continue  # removed since it was listed


def _is_temporary(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return last.startswith(".") and last.endswith(TEMPORARY_SUFFIX)


def _sortable(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _raise_unless_gone(function: Any, path: str, failure: tuple[Any, BaseException, Any]) -> None:
    """Let `shutil.rmtree` pass over what somebody else removed first, and over nothing else."""
    error = failure[1]
    if not isinstance(error, FileNotFoundError):
        raise error
