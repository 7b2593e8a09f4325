"""A folder in an object store that fsspec knows: the calls of `hqdata.storage.Folder` there.

Listings are never taken from fsspec's cache: other machines write there too.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from hqdata import s3_requests
from hqdata.disk_folder import StoredFile
from hqdata.scratch import scratch_file
from hqdata.store_errors import attempt

__all__ = ["StoreFolder"]

READ_AT_ONCE = 32
"""Files asked for at once, and so held in memory."""
PIECE_BYTES = 8 << 20
BLOCK_BYTES = 256 << 10
"""Read ahead in an opened file; s3fs's own 50 MB are too much for a header."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreFolder:
    """Files below a URL; the methods are those of `hqdata.storage.Folder`."""

    url: str

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        store = self._store()
        return attempt(lambda: store.cat_file(self._key(name), **s3_requests.read_options(store)), self._url(name))

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) in the order of `names`; one that failed is asked for again by itself."""
        store, remaining = self._store(), iter(names)
        while batch := list(islice(remaining, READ_AT_ONCE)):
            # not cat(): that takes "[" and "*" in a name for a pattern
            keys = [self._key(name) for name in batch]
            found = store.cat_ranges(keys, None, None, on_error="return", **s3_requests.read_options(store))
            for name, data in zip(batch, found, strict=True):
                yield name, data if isinstance(data, bytes) else self.read(name)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield a file's content piece by piece."""
        start, end = 0, self.size(name)
        if end is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", self._url(name))
        while start < end:
            yield attempt(
                lambda first=start: self._store().cat_file(self._key(name), start=first, end=first + PIECE_BYTES),
                self._url(name),
            )
            start += PIECE_BYTES

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading; only what is asked for is fetched, and some bytes beyond."""
        return attempt(lambda: self._store().open(self._key(name), "rb", block_size=BLOCK_BYTES), self._url(name))

    def write(self, name: str, data: bytes) -> None:
        """Write a file in one request, in place of one that is there."""
        attempt(lambda: self._store().pipe_file(self._key(name), data), self._url(name))

    def create(self, name: str, data: bytes) -> None:
        """Write a file that must not be there yet.

        The store decides (If-None-Match). Stores that do not know this condition are asked first and written then: of
        two who do so in the same instant both succeed, and the later content stays.
        """
        if self.size(name) is not None:
            raise FileExistsError(errno.EEXIST, "is there already", self._url(name))
        try:
            attempt(lambda: self._store().pipe_file(self._key(name), data, mode="create"), self._url(name))
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP):
                raise
            logger.warning("%s: the store knows no exclusive writes", self.url)
            self.write(name, data)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a path in scratch, uploaded when the block ends; a failed upload is aborted and leaves nothing."""
        with scratch_file(name) as local:
            yield local
            attempt(lambda: _upload(self._store(), local, self._key(name)), self._url(name))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield a path in scratch with a copy."""
        with scratch_file(name) as local:
            attempt(lambda: self._store().get_file(self._key(name), str(local)), self._url(name))
            yield local

    def size(self, name: str) -> int | None:
        """Return a file's bytes; None where there is no such file."""
        try:
            found = attempt(lambda: self._store().info(self._key(name)), self._url(name))
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def sizes(self, names: Iterable[str]) -> dict[str, int | None]:
        """Return the bytes of several files, from one listing of each folder at the top."""
        wanted = list(names)
        there = {name: self.size(name) for name in wanted if "/" not in name}
        for top in sorted({name.split("/", 1)[0] for name in wanted if "/" in name}):
            there |= {f"{top}/{file.name}": file.bytes for file in StoreFolder(f"{self.url}/{top}").walk()}
        return {name: there.get(name) for name in wanted}

    def walk(self, without: Collection[str] = (), temporary: bool = False) -> Iterator[StoredFile]:
        """Yield the files in it and below, sorted by name; an object store has no temporary ones."""
        store, base = self._store(), self._base()
        with suppress(FileNotFoundError):  # no such bucket
            if s3_requests.is_s3(store) and not without:
                yield from (file for file in s3_requests.list_objects(store, base) if not file.name.endswith("/"))
                return
            for name, size in _entries(store, base):
                if not name.endswith("/"):
                    yield StoredFile(name, size)
                elif name.rstrip("/") not in without:
                    below = StoreFolder(f"{self.url}/{name.rstrip('/')}").walk()
                    yield from (StoredFile(name + file.name, file.bytes) for file in below)

    def folders(self) -> list[str]:
        """Return the names of the folders directly in it, sorted."""
        entries = _entries(self._store(), self._base())
        return [name.rstrip("/") for name, _ in entries if name.endswith("/")]

    def is_empty(self) -> bool:
        """Return whether it holds nothing, or is not there."""
        return next(iter(self.walk()), None) is None

    def delete_many(self, names: Iterable[str]) -> None:
        """Remove files; those that are not there are passed over."""
        remaining = iter(names)
        while batch := [self._key(name) for name in islice(remaining, s3_requests.DELETED_AT_ONCE)]:
            attempt(lambda keys=batch: _delete(self._store(), keys), self.url)

    def delete_all(self) -> None:
        """Remove everything in it."""
        store, base = self._store(), self._base()
        if s3_requests.is_s3(store):
            with suppress(FileNotFoundError):  # no such bucket
                self.delete_many(file.name for file in s3_requests.list_objects(store, base))
        else:
            attempt(lambda: _delete_folder(store, base), self.url)

    def delete_remains(self) -> None:
        """Abort what killed processes began to upload to S3; other stores do so themselves after a while."""
        if not s3_requests.is_s3(self._store()):
            return
        try:
            attempt(lambda: s3_requests.abandon_uploads(self._store(), self._base()), self.url)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.ENOSYS, errno.ENOTSUP):
                raise
            logger.warning("unfinished uploads of killed processes may stay and cost storage: %s", error)

    def _store(self) -> Any:  # an AbstractFileSystem; what its methods take differs from store to store
        return fsspec.core.url_to_fs(self.url, use_listings_cache=False)[0]

    def _base(self) -> str:
        return fsspec.core.url_to_fs(self.url, use_listings_cache=False)[1].rstrip("/")

    def _key(self, name: str) -> str:
        return f"{self._base()}/{name}"

    def _url(self, name: str) -> str:
        return f"{self.url}/{name}"


def _upload(store: Any, local: Path, key: str) -> None:
    if s3_requests.is_s3(store):
        s3_requests.upload(store, local, key)
    else:
        store.put_file(str(local), key)


def _entries(store: Any, base: str) -> list[tuple[str, int]]:
    """Return (name, bytes) of what is directly in a folder, folders with a slash at the end.

    Sorted so that the full names are sorted, too, where each folder is replaced by what is in it.
    """
    try:
        found: list[dict[str, Any]] = attempt(lambda: store.ls(base, detail=True), store.unstrip_protocol(base))
    except FileNotFoundError:
        return []
    below = [item for item in found if item["name"].rstrip("/").startswith(f"{base}/")]  # not the folder itself
    named = ((item["name"].rstrip("/").removeprefix(f"{base}/"), item) for item in below)
    return sorted((f"{name}/", 0) if item["type"] == "directory" else (name, int(item["size"])) for name, item in named)


def _delete(store: Any, keys: list[str]) -> None:
    if s3_requests.is_s3(store):
        s3_requests.delete_objects(store, keys)
        return
    for key in keys:
        try:
            store.rm_file(key)
        except FileNotFoundError:
            continue


def _delete_folder(store: Any, base: str) -> None:
    try:
        store.rm(base, recursive=True)
    except FileNotFoundError:
        return
