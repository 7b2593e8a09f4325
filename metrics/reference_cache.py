"""What an earlier run computed of a reference set, kept in files that cannot pass for another set's.

An entry's name is the sha256 of its identity: content fingerprint, weights, protocol, precision, settings and versions.
The identity is also written inside and compared again, and the archive's checksums are read with the numbers. Entries
are .npz files without pickles, written under a temporary name and renamed, so any number of processes may share a
folder. The least recently used go when the folder grows over its limit; any file in it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metrics.whole_files import DAMAGED, whole_file

__all__ = ["LIMIT_BYTES", "DamagedEntry", "ReferenceCache", "default_folder", "open_cache"]

FORMAT = "metrics-reference"
VERSION = 1
"""Of the files; a raised one makes every older entry a miss."""
LIMIT_BYTES = 8 * 2**30
"""Of all entries together, where $HQ_CACHE_LIMIT (in bytes) does not say otherwise."""
STALE_S = 86_400.0
"""A temporary file older than a day belongs to a process that was killed."""
HEADER, NAMES = "identity", "names"
"""Arrays of every entry: whose numbers it holds, and which ones; a damaged archive may hide some."""
PREFIX, SUFFIX = "reference-", ".npz"


class DamagedEntry(Exception):
    """An entry is truncated, altered or another set's; it is to be computed anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCache:
    """One folder of entries; made by `open_cache`."""

    folder: Path
    limit_bytes: int = LIMIT_BYTES

    def path(self, identity: Mapping[str, object]) -> Path:
        """Return where the entry of this identity is, or would be."""
        return self.folder / f"{PREFIX}{hashlib.sha256(_header(identity)).hexdigest()[:40]}{SUFFIX}"

    def load(self, identity: Mapping[str, object]) -> dict[str, np.ndarray] | None:
        """Return the arrays stored under this identity, or None when there are none.

        Raises:
            DamagedEntry: when there is a file, but not a whole one of this identity; `store` replaces it.
        """
        path = self.path(identity)
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            raise DamagedEntry(f"{path}: is no whole entry ({error}); it is computed anew") from error
        header, names = arrays.pop(HEADER, None), arrays.pop(NAMES, None)
        if header is None or names is None or names.tobytes() != _names(arrays):
            raise DamagedEntry(f"{path}: is no whole entry (arrays are missing); it is computed anew")
        if header.tobytes() != _header(identity):
            raise DamagedEntry(f"{path}: holds another set's numbers; they are computed anew")
        with suppress(OSError):  # a folder that may only be read still serves
            os.utime(path)
        return arrays

    def store(self, identity: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> bool:
        """Write the arrays and return True, or False when they alone are over the limit.

        Raises:
            OSError: when the folder cannot be written; nothing half-written stays.
        """
        if sum(array.nbytes for array in arrays.values()) > self.limit_bytes:
            return False
        path = self.path(identity)
        self.folder.mkdir(parents=True, exist_ok=True)
        header = np.frombuffer(_header(identity), dtype=np.uint8)
        names = np.frombuffer(_names(arrays), dtype=np.uint8)
        with whole_file(path) as stream:
            np.savez(stream, **{HEADER: header, NAMES: names, **arrays})  # pyright: ignore[reportArgumentType]
        self._make_room(path)
        return True

    def entries(self) -> list[Path]:
        """Return the entries, the least recently used first."""
        found = [(_last_use(path), path) for path in self.folder.glob(f"{PREFIX}*{SUFFIX}")]
        return [path for _, path in sorted(found)]

    def size_bytes(self) -> int:
        """Return the room that all entries take."""
        return sum(_size(path) for path in self.entries())

    def clear(self) -> int:
        """Delete every entry and what killed processes left, and return how many entries went."""
        entries = self.entries()
        for path in [*entries, *self.folder.glob(f".{PREFIX}*")]:
            path.unlink(missing_ok=True)
        return len(entries)

    def _make_room(self, newest: Path) -> None:
        """Delete old entries over the limit; another process may be deleting the same ones."""
        for path in self.folder.glob(f".{PREFIX}*"):
            if time.time() - _last_use(path) > STALE_S:
                path.unlink(missing_ok=True)
        room = self.size_bytes()
        for path in self.entries():
            if room <= self.limit_bytes:
                return
            if path != newest:
                room -= _size(path)
                path.unlink(missing_ok=True)


def open_cache(cache: Path | str | None) -> ReferenceCache | None:
    """Return the cache that "auto", a folder or None (no cache) stands for; writes nothing yet.

    Raises:
        ValueError: when $HQ_CACHE_LIMIT is no number of bytes.
        NotADirectoryError: when the folder is a file.
    """
    if cache is None:
        return None
    folder = default_folder() if cache == "auto" else Path(cache)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is no folder to keep a cache in; give another, or cache=None")
    return ReferenceCache(folder=folder, limit_bytes=_limit())


def default_folder() -> Path:
    """Return $HQ_CACHE, or progan-hq/metrics below $XDG_CACHE_HOME, or below ~/.cache."""
    if os.environ.get("HQ_CACHE"):
        return Path(os.environ["HQ_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "progan-hq" / "metrics"


def _limit() -> int:
    text = os.environ.get("HQ_CACHE_LIMIT") or str(LIMIT_BYTES)
    if not text.isdigit():
        raise ValueError(f"$HQ_CACHE_LIMIT must be a number of bytes, got {text!r}")
    return int(text)


def _header(identity: Mapping[str, object]) -> bytes:
    content = {"format": FORMAT, "version": VERSION, "identity": dict(identity)}
    return json.dumps(content, sort_keys=True, allow_nan=False).encode()


def _names(arrays: Mapping[str, np.ndarray]) -> bytes:
    return json.dumps(sorted(arrays)).encode()


def _last_use(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
