"""Done-markers: what is known about every photo, in the run folder before a task returns.

One JSON-lines file a finished chunk, in a folder named by the fingerprint of all that the rows depend on. A file
appears whole and ends with the sha256 of its rows, so that a row is either there and right or not there. Rows are
looked up by photo and version, so chunk sizes, added photos and replaced photos need no special case.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from hqdata.storage import Folder

__all__ = ["FACE_KEY", "PHOTO_KEY", "LedgerReader", "append_rows", "fingerprint", "read_rows", "rewrite_rows"]

logger = logging.getLogger(__name__)

PHOTO_KEY = itemgetter("photo_id")
FACE_KEY = itemgetter("photo_id", "index")
CHANGED = "it was changed while the build ran, run the same command to do its photos again"
FILES_HELD = 64
"""A driver walks over the photos in the order of the chunks, so few files at a time are of interest."""


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that change whenever any of `values` does.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(_canonical(values)).hexdigest()[:16]


def append_rows(folder: Folder, rows: Iterable[Mapping[str, Any]]) -> str | None:
    """Write `rows` as one file named by their content and return its name; nothing for no rows.

    Raises:
        OSError: when the disk is full or not writable; no partial file stays.
    """
    lines = [_canonical(row) for row in rows]
    if not lines:
        return None
    body = b"\n".join(lines) + b"\n"
    digest = hashlib.sha256(body).hexdigest()
    name = f"{digest[:2]}/{digest[:32]}.jsonl"
    folder.write(name, body + _canonical({"sha256": digest}) + b"\n")
    return name


def read_rows(folder: Folder) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the name and the rows of every file; a damaged one is reported and left out: its photos are done again."""
    names = (file.name for file in folder.files() if file.name.endswith(".jsonl"))
    for name, data in folder.read_many(names):
        rows = _rows(data)
        if rows is None:
            logger.warning(
                "%s/%s: damaged and left out, may be deleted; photos that only it knew are done again", folder, name
            )
        else:
            yield name, rows


def rewrite_rows(folder: Folder, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put a file with these rows in the place of the file `name`; the other rows are forgotten."""
    new = append_rows(folder, rows)
    if new != name:
        folder.delete(name)


class LedgerReader:
    """Single rows of one ledger folder; the last few files are held in memory.

    Args:
        folder: as given to `append_rows`.
        key: names a row within its file.
        held: files in memory at once.
    """

    def __init__(self, folder: Folder, *, key: Callable[[Mapping[str, Any]], Any], held: int = FILES_HELD) -> None:
        self._folder = folder
        self._key = key
        self._held = held
        self._files: OrderedDict[str, dict[Any, dict[str, Any]]] = OrderedDict()

    def row(self, name: str, key: Any) -> dict[str, Any]:
        """Return the row with this key in this file.

        Raises:
            OSError: if the file cannot be read any more.
            ValueError: if it is damaged.
        """
        if name in self._files:
            self._files.move_to_end(name)
        else:
            self._files[name] = self._read(name)
            if len(self._files) > self._held:
                self._files.popitem(last=False)
        try:
            return self._files[name][key]
        except KeyError:
            raise ValueError(f"{self._folder}/{name}: has no row {key}; {CHANGED}") from None

    def _read(self, name: str) -> dict[Any, dict[str, Any]]:
        rows = _rows(self._folder.read(name))
        if rows is None:
            raise ValueError(f"{self._folder}/{name}: is damaged; {CHANGED}")
        return {self._key(row): row for row in rows}


def _rows(data: bytes) -> list[dict[str, Any]] | None:
    body, _, tail = data.rstrip(b"\n").rpartition(b"\n")
    body += b"\n"
    if tail != _canonical({"sha256": hashlib.sha256(body).hexdigest()}):
        return None
    return [json.loads(line) for line in body.splitlines()]


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
