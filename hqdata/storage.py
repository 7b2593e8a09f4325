"""A folder that may lie on a local disk, a shared file system or an object store: the one way to a run's files.

Whatever it is, a file appears whole or not at all. On a file system it is written beside its place, synced and renamed.
Object stores have no rename, and an open-ended upload that fails half-way may publish what it has, so there a file is
finished in local scratch first and then put in one request or one multipart upload.

Credentials and endpoints are fsspec's and the store's own business (environment, instance roles, ~/.config/fsspec):
nothing secret passes through a config, a task or run.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from hqdata.atomic import json_bytes
from hqdata.disk_folder import DiskFolder, StoredFile
from hqdata.scratch import SCRATCH_VARIABLE, scratch_folder
from hqdata.settings import ConfigError
from hqdata.store_folder import StoreFolder

__all__ = ["SCRATCH_VARIABLE", "Folder", "StoredFile", "is_url", "open_folder", "scratch_folder"]


def is_url(place: str | Path) -> bool:
    """Return whether fsspec must be asked for it; file:// is a path like others."""
    text = str(place)
    return ("://" in text or "::" in text) and not text.startswith("file://")


def open_folder(place: str | Path | Folder) -> Folder:
    """Return the folder at a path or an fsspec URL such as s3://bucket/run; it need not exist yet.

    >>> open_folder("memory://bucket/run/") / "work"
    Folder(url='memory://bucket/run/work')

    Raises:
        ConfigError: if nothing that is installed can read such a URL.
    """
    if isinstance(place, Folder):
        return place
    if is_url(place):
        _require_readable(str(place))
        return Folder(str(place).rstrip("/"))
    return Folder(str(Path(str(place).removeprefix("file://")).expanduser().resolve()))


@dataclass(frozen=True, slots=True)
class Folder:
    """Files by name below one place; a plain value, so that it travels to any worker.

    Names are relative, with forward slashes. A missing file raises FileNotFoundError; a full disk, a missing permission
    or a network at fault raises OSError with its `errno` and the file, and then nothing half-written is left. What an
    object store answers with a passing error is asked for up to three times.
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
        return self._place().read(name)

    def read_if_there(self, name: str) -> bytes | None:
        """Return a file's content; None where there is no such file."""
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) in the order of `names`, of which several are fetched at once, at most 64."""
        return self._place().read_many(names)

    def read_json(self, name: str) -> Any:
        """Return the value of a JSON file; ValueError where it is none."""
        return json.loads(self.read(name))

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading, for those who need little of it: of an object only what is asked for is fetched."""
        return self._place().open(name)

    def sha256(self, name: str) -> str:
        """Return the hash of a file's bytes in hexadecimal; a file of any size passes through in pieces."""
        digest = hashlib.sha256()
        for piece in self._place().pieces(name):
            digest.update(piece)
        return digest.hexdigest()

    def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one that is there."""
        self._place().write(name, data)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON with sorted keys."""
        self.write(name, json_bytes(value))

    def create(self, name: str, data: bytes) -> None:
        """Write a file that must not be there yet; of several who try at once, one succeeds.

        Over a network the answer may get lost: after a FileExistsError the file may be the caller's own. Stores without
        conditional writes are asked first and written then, which leaves an instant for a second one.

        Raises:
            FileExistsError: if it is there.
        """
        self._place().create(name, data)

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Yield a local path to write to; the file appears as `name` when the block ends without an exception."""
        return self._place().writing(name)

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """Yield a local path with a file's content: the file itself, or a copy for as long as the block lasts."""
        return self._place().reading(name)

    def size(self, name: str) -> int | None:
        """Return a file's bytes; None where there is no such file."""
        return self._place().size(name)

    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of several files; None for those that are not there. An object store is listed once."""
        return self._place().sizes(names)

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        return self.size(name) is not None

    def is_empty(self) -> bool:
        """Return whether it holds nothing, or is not there."""
        return self._place().is_empty()

    def walk(self, *, without: Collection[str] = (), temporary: bool = False) -> Iterator[StoredFile]:
        """Yield all files in it and below, sorted by name; none where there is no folder.

        Holds one folder's names at a time, or of S3 one page of a thousand.

        Args:
            without: folders directly in it that are not looked into.
            temporary: also those that are being written, or that a killed process left half-written.
        """
        return self._place().walk(without, temporary)

    def files(self) -> list[StoredFile]:
        """Return what `walk` yields."""
        return list(self.walk())

    def folders(self) -> list[str]:
        """Return the names of the folders directly in it, sorted; what lies in them is not looked at."""
        return self._place().folders()

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        self.delete_many([name])

    def delete_many(self, names: Iterable[str]) -> None:
        """Remove files, of S3 a thousand in a request; those that are not there are passed over."""
        self._place().delete_many(names)

    def delete_all(self) -> None:
        """Remove the folder and everything in it; nothing happens where there is none."""
        self._place().delete_all()

    def delete_remains(self) -> None:
        """Remove what is no file but stays of some: folders with nothing in them, and uploads that nobody finished.

        Such uploads cost storage, and no listing shows them. Not while anybody writes there: a running one would fail.
        """
        self._place().delete_remains()

    def _place(self) -> DiskFolder | StoreFolder:
        return DiskFolder(Path(self.url)) if self.is_local else StoreFolder(self.url)


def _require_readable(url: str) -> None:
    protocol = url.split("::")[-1].split("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        remedy = "pip install 'progan-hq[s3]'" if protocol in ("s3", "s3a") else "install what it names"
        raise ConfigError(f"{url}: a package for {protocol}:// is missing ({error}); {remedy}") from error
    except ValueError as error:
        raise ConfigError(f"{url}: {error}; give a folder, or a URL such as s3://bucket/run") from error
