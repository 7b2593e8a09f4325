"""Listing and reading files below a folder or an fsspec URL, with names that any table and log line can hold.

A path is relative to its root, with forward slashes, and escaped: "%", control characters (a newline, say) and bytes
that are not UTF-8 appear as %XX, so it is always valid, printable UTF-8 and leads back to exactly one file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import fsspec

from hqdata.record import PhotoRef, Refused
from hqdata.s3_requests import describe_objects, is_s3, read_options
from hqdata.sources.source import SourceError
from hqdata.storage import is_url
from hqdata.store_errors import attempt

__all__ = ["LIMIT_BYTES", "File", "absolute_root", "escape_path", "list_files", "read_bytes", "read_file"]

LIMIT_BYTES = 2**31
"""Larger files are refused unread; 200 megapixels of 16-bit TIFF are 1.2 GB."""

ENTRIES_AT_ONCE = 65_536
"""Of a folder; each is some 300 bytes."""
ESCAPED = re.compile(rb"[%\x00-\x1f\x7f]|[\x80-\xff]+")
VERSION_KEYS = ("ETag", "etag", "md5Hash", "content_hash", "mtime", "LastModified", "last_modified", "created")
"""Where the file systems of fsspec tell that a file changed, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file below a root, as listed."""

    path: str
    size_bytes: int
    version: str


def absolute_root(root: str) -> str:
    """Return a URL as it is, and a folder as an absolute path, without "file://"."""
    if is_url(root):
        return root
    return os.path.abspath(Path(root.removeprefix("file://")).expanduser())  # noqa: PTH100 -- resolves ".." without links


def list_files(
    root: str, *, extensions: Iterable[str], storage_options: Mapping[str, Any] | None = None
) -> Iterator[File]:
    """Yield the files below `root`, recursively; folder by folder, mostly but not surely sorted.

    Names that begin with a dot are left out, and so is what lies below them. Links are followed, but each folder is
    read only once. A link that leads nowhere is listed, so that the run can report it.

    Args:
        root: as `absolute_root` returns it.
        extensions: endings in lower case, such as ".jpg"; a file's own may be in any case.
        storage_options: for fsspec, where `root` is a URL.

    Raises:
        SourceError: if the root or a folder below it is missing or cannot be listed.
    """
    endings = tuple(extensions)
    listed = _list_remote(root, storage_options or {}) if is_url(root) else _list_local(root)
    return (file for file in listed if file.path.lower().endswith(endings))


def read_bytes(root: str, ref: PhotoRef, *, storage_options: Mapping[str, Any] | None = None) -> bytes:
    """Return a photo's bytes, in any process, without listing the source again.

    Raises:
        Refused: with stage "read", if the file is missing, may not be read, or is larger than `LIMIT_BYTES`.
    """
    if ref.size_bytes > LIMIT_BYTES:
        raise Refused("read", f"the file has {ref.size_bytes} bytes, more than the limit of {LIMIT_BYTES}")
    try:
        return read_file(root, ref.path, storage_options=storage_options)
    except FileNotFoundError:
        raise Refused("read", "the file is missing, or a link that leads nowhere") from None
    except PermissionError:
        raise Refused("read", "no permission to read the file") from None
    except OSError as error:
        raise Refused("read", f"the file cannot be read ({error.strerror or error})") from error


def read_file(root: str, path: str, *, storage_options: Mapping[str, Any] | None = None) -> bytes:
    """Return the content of the file at an escaped `path` below `root`; raises OSError as the file system does."""
    if is_url(root):
        files, base = fsspec.core.url_to_fs(root, **(storage_options or {}))
        key = f"{base.rstrip('/')}/{_unescape(path)}"
        return attempt(lambda: files.cat_file(key, **read_options(files)), f"{root}/{path}")
    return Path(root, _unescape(path)).read_bytes()


def escape_path(path: str) -> str:
    """Return a path with "%", control characters and undecodable bytes as %XX.

    >>> escape_path("100% caf\\udce9/n\\nl/é.jpg")
    '100%25 caf%E9/n%0Al/é.jpg'
    """
    try:
        plain = path.isprintable() and "%" not in path and path.isascii()
        return path if plain else ESCAPED.sub(_escape, os.fsencode(path)).decode()
    except UnicodeEncodeError:  # lone surrogates of a remote store, which stand for no bytes
        return escape_path(path.encode("utf-8", "backslashreplace").decode())


def _escape(match: re.Match[bytes]) -> bytes:
    run = match.group()
    text = run.decode("utf-8", "surrogateescape")
    kept = (c.encode() if c.isprintable() and c != "%" else _percent(c) for c in text)
    return b"".join(kept)


def _percent(character: str) -> bytes:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape")).encode()


def _unescape(path: str) -> str:
    return os.fsdecode(unquote_to_bytes(path)) if "%" in path else path


def _list_local(root: str) -> Iterator[File]:
    if not Path(root).is_dir():
        raise SourceError(f"{root}: no such folder")
    seen: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        below = waiting.pop()
        folder = Path(root, below)
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders: list[str] = []
        for entries in _scan(folder):
            folders += [f"{below}{entry.name}/" for entry in entries if entry.is_dir()]
            yield from (_local_file(below, entry) for entry in entries if _is_photo_like(entry))
        waiting += sorted(folders, reverse=True)


def _scan(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
    """Yield a folder's entries, a part at a time and each part sorted: there may be millions in one folder."""
    try:
        with os.scandir(folder) as entries:
            shown = (entry for entry in entries if not entry.name.startswith("."))
            while part := list(islice(shown, ENTRIES_AT_ONCE)):
                yield sorted(part, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(f"{folder}: cannot be listed ({error.strerror}); allow reading it or move it away") from error


def _is_photo_like(entry: os.DirEntry[str]) -> bool:
    """Return whether to list an entry: a file, or a link that leads nowhere; pipes and devices would block a reader."""
    return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())


def _local_file(below: str, entry: os.DirEntry[str]) -> File:
    path = escape_path(below + entry.name)
    try:
        status = entry.stat()
    except OSError:
        return File(path=path, size_bytes=0, version="unreadable")
    return File(path=path, size_bytes=status.st_size, version=f"{status.st_size}-{status.st_mtime_ns}")


def _list_remote(root: str, storage_options: Mapping[str, Any]) -> Iterator[File]:
    try:
        files, base = fsspec.core.url_to_fs(root, **storage_options)
        files.invalidate_cache()
        listed = _describe(files, base)
        first = next(listed, None)
        if first is None and not files.exists(base):
            raise SourceError(f"{root}: no such folder")
        for below, information in () if first is None else chain([first], listed):
            if not any(part.startswith(".") for part in below.split("/")):
                yield _remote_file(below, information)
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(f"{root}: no such folder") from None
    except ImportError as error:
        raise SourceError(f"{root}: a package for this kind of storage is missing; {error}") from error
    except Exception as error:  # each storage has its own kinds of errors for network and credentials
        raise SourceError(f"{root}: cannot be listed ({error})") from error


def _describe(files: Any, base: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what lies below `base`, a page or a folder at a time: each file takes about a kilobyte."""
    if is_s3(files):
        yield from (
            (below, {"size": item["Size"], **item}) for below, item in describe_objects(files, base.rstrip("/"))
        )
        return
    for entry in files.ls(base, detail=True):
        if entry["type"] == "directory":
            found = files.find(entry["name"], detail=True).items()
            files.invalidate_cache()
        else:
            found = [(entry["name"], entry)]
        yield from ((name.removeprefix(base).lstrip("/"), information) for name, information in found)


def _remote_file(below: str, information: Mapping[str, Any]) -> File:
    size = int(information.get("size") or 0)
    told = next((information[key] for key in VERSION_KEYS if information.get(key)), "")
    return File(path=escape_path(below), size_bytes=size, version=f"{size}-{str(told).strip(chr(34))}")
