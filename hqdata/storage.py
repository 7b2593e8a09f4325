"""A folder that may lie on a local disk, a shared file system or an object store: the one way to a run's files.

Whatever it is, a file appears whole or not at all. On a file system it is written beside its place, synced and renamed.
Object stores have no rename, and an open-ended upload that fails half-way may publish what it has, so there a file is
finished in local scratch first and then put in one request or one multipart upload.

Credentials and endpoints are fsspec's and the store's own business (environment, instance roles, ~/.config/fsspec):
nothing secret passes through a config, a task or run.json.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import fsspec
from fsspec import AbstractFileSystem

from hqdata.atomic import TEMPORARY_SUFFIX, atomic_path, json_bytes, write_bytes

__all__ = ["Folder", "StoredFile", "is_url", "open_folder", "scratch_folder"]

SCRATCH_VARIABLE = "HQDATA_SCRATCH"
"""Environment variable: the folder for temporary files, where the system's own is too small or too slow."""


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file in a folder, as listed."""

    name: str
    """Relative to the folder, with forward slashes."""
    bytes: int


def is_url(place: str | Path) -> bool:
    """Return whether fsspec must be asked for it; file:// is a path like others."""
    text = str(place)
    return ("://" in text or "::" in text) and not text.startswith("file://")


def scratch_folder() -> Path:
    """Return where temporary files go: $HQDATA_SCRATCH, else the system's temporary folder."""
    return Path(os.environ.get(SCRATCH_VARIABLE) or tempfile.gettempdir())


def open_folder(place: str | Path | Folder) -> Folder:
    """Return the folder at a path or an fsspec URL such as s3://bucket/run; it need not exist yet.

    >>> open_folder("s3://bucket/run/") / "work"
    Folder(url='s3://bucket/run/work')
    """
    if isinstance(place, Folder):
        return place
    if is_url(place):
        return Folder(str(place).rstrip("/"))
    return Folder(str(Path(str(place).removeprefix("file://")).expanduser().resolve()))


@dataclass(frozen=True, slots=True)
class Folder:
    """Files by name below one place; a plain value, so that it travels to any worker.

    Names are relative, with forward slashes. A missing file raises FileNotFoundError; a full disk, a missing permission
    or a network at fault raises OSError, and then nothing half-written is left.
    """

    url: str
    """An absolute path, or an fsspec URL without a slash at its end."""

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> Folder:
        """Return the folder `name` below this one."""
        return Folder(f"{self.url}/{name}")

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine, shared file systems included."""
        return not is_url(self.url)

    @property
    def path(self) -> Path:
        """The local path.

        Raises:
            ValueError: for an object store.
        """
        if not self.is_local:
            raise ValueError(f"{self.url}: is not on a file system; copy it to a local folder for this")
        return Path(self.url)

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        if self.is_local:
            return (self.path / name).read_bytes()
        store, base = self._store()
        return cast("bytes", store.cat_file(f"{base}/{name}"))

    def read_if_there(self, name: str) -> bytes | None:
        """Return a file's content; None where there is no such file."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) in the order of `names`; an object store is asked for several at once."""
        for name in names:
            yield name, self.read(name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one that is there."""
        if self.is_local:
            write_bytes(self.path / name, data)
        else:
            store, base = self._store()
            store.pipe_file(f"{base}/{name}", data)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON with sorted keys."""
        self.write(name, json_bytes(value))

    def read_json(self, name: str) -> Any:
        """Return the value of a JSON file; ValueError where it is none."""
        return json.loads(self.read(name))

    def create(self, name: str, data: bytes) -> None:
        """Write a file that must not be there yet; of several who try at once, one succeeds.

        Raises:
            FileExistsError: if it is there.
        """
        if self.is_local:
            target = self.path / name
            with atomic_path(target.with_name(f"{target.name}.new")) as temporary:
                temporary.write_bytes(data)
                os.link(temporary, target)
            target.with_name(f"{target.name}.new").unlink()
        else:
            store, base = self._store()
            store.pipe_file(f"{base}/{name}", data, mode="create")

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a local path to write to; the file appears as `name` when the block ends without an exception."""
        if self.is_local:
            with atomic_path(self.path / name) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory(prefix="hqdata-", dir=scratch_folder()) as folder:
            local = Path(folder) / name.rsplit("/", 1)[-1]
            yield local
            store, base = self._store()
            store.put_file(str(local), f"{base}/{name}")

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield a local path with a file's content: the file itself, or a copy for as long as the block lasts."""
        if self.is_local:
            yield self.path / name
            return
        with tempfile.TemporaryDirectory(prefix="hqdata-", dir=scratch_folder()) as folder:
            local = Path(folder) / name.rsplit("/", 1)[-1]
            store, base = self._store()
            store.get_file(f"{base}/{name}", str(local))
            yield local

    def size(self, name: str) -> int | None:
        """Return a file's bytes; None where there is no such file."""
        if self.is_local:
            path = self.path / name
            return path.stat().st_size if path.is_file() else None
        store, base = self._store()
        try:
            return int(store.info(f"{base}/{name}")["size"])
        except FileNotFoundError:
            return None

    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of several files; None for those that are not there. An object store is listed once."""
        if self.is_local:
            return {name: self.size(name) for name in names}
        wanted = list(names)
        listed = [self.size(name) for name in wanted if "/" not in name]
        there = dict(zip((name for name in wanted if "/" not in name), listed, strict=True))
        for top in sorted({name.split("/", 1)[0] for name in wanted if "/" in name}):
            there |= {f"{top}/{file.name}": file.bytes for file in (self / top).files()}
        return {name: there.get(name) for name in wanted}

    def is_empty(self) -> bool:
        """Return whether it holds nothing, or is not there."""
        if self.is_local:
            return not self.path.is_dir() or not any(self.path.iterdir())
        store, base = self._store()
        store.invalidate_cache()
        return not store.find(base, maxdepth=None)

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return self.size(name) is not None

    def files(self) -> list[StoredFile]:
        """Return all files in it and below, sorted by name, but no temporary ones; none where there is no folder."""
        if self.is_local:
            found = [path for path in self.path.rglob("*") if path.is_file() and not _is_temporary(path.name)]
            return sorted(StoredFile(p.relative_to(self.path).as_posix(), p.stat().st_size) for p in found)
        store, base = self._store()
        store.invalidate_cache()
        below = cast("dict[str, dict[str, Any]]", store.find(base, detail=True))
        return sorted(StoredFile(name.removeprefix(base).lstrip("/"), int(i["size"])) for name, i in below.items())

    def folders(self) -> list[str]:
        """Return the names of the folders directly in it, sorted."""
        return sorted({file.name.split("/", 1)[0] for file in self.files() if "/" in file.name})

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        if self.is_local:
            (self.path / name).unlink(missing_ok=True)
            return
        store, base = self._store()
        if self.exists(name):
            store.rm_file(f"{base}/{name}")

    def delete_all(self) -> None:
        """Remove the folder and everything in it; nothing happens where there is none."""
        if self.is_local:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        store, base = self._store()
        if store.exists(base):
            store.rm(base, recursive=True)

    def _store(self) -> tuple[AbstractFileSystem, str]:
        store, base = fsspec.core.url_to_fs(self.url)
        return store, base.rstrip("/")


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)
