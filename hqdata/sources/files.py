"""Listing and reading files below a folder or an fsspec URL, with names that any table and log line can hold.

A path is relative to its root, with forward slashes, and escaped: "%", control characters (a newline, say) and bytes
that are not UTF-8 appear as %XX, so it is always valid, printable UTF-8 and leads back to exactly one file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import fsspec

from hqdata.record import PhotoRef, Refused
from hqdata.sources.source import SourceError
from hqdata.storage import is_url

__all__ = ["LIMIT_BYTES", "File", "absolute_root", "escape_path", "list_files", "read_bytes", "read_file"]

LIMIT_BYTES = 2**31
"""Larger files are refused unread; 200 megapixels of 16-bit TIFF are 1.2 GB."""

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
    """Yield the files below `root`, recursively; folder by folder, not sorted as a whole.

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
        return files.cat_file(f"{base.rstrip('/')}/{_unescape(path)}")
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
        entries = sorted(_scan(folder), key=lambda entry: entry.name, reverse=True)
        waiting += [f"{below}{entry.name}/" for entry in entries if entry.is_dir()]
        yield from (_local_file(below, entry) for entry in entries if _is_photo_like(entry))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
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
        found: dict[str, dict[str, Any]] = files.find(base, detail=True)
        if not found and not files.exists(base):
            raise SourceError(f"{root}: no such folder")
    except SourceError:
        raise
    except ImportError as error:
        raise SourceError(f"{root}: a package for this kind of storage is missing; {error}") from error
    except Exception as error:  # each storage has its own kinds of errors for network and credentials
        raise SourceError(f"{root}: cannot be listed ({error})") from error
    for name, information in found.items():
        below = name.removeprefix(base).lstrip("/")
        if not any(part.startswith(".") for part in below.split("/")):
            yield _remote_file(below, information)


def _remote_file(below: str, information: Mapping[str, Any]) -> File:
    size = int(information.get("size") or 0)
    told = next((information[key] for key in VERSION_KEYS if information.get(key)), "")
    return File(path=escape_path(below), size_bytes=size, version=f"{size}-{str(told).strip(chr(34))}")
