"""Done-markers: what is known about every photo, on disk before a task returns.

One JSON-lines file a finished chunk, under a folder named by the fingerprint of all that the rows depend on. A file is
renamed into place whole and ends with the sha256 of its rows, so that a row is either there and right or not there.
Rows are looked up by photo and version, so chunk sizes, added photos and replaced photos need no special case.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hqdata.atomic import write_bytes

__all__ = ["append_rows", "fingerprint", "read_rows"]

logger = logging.getLogger(__name__)


def fingerprint(values: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that change whenever any of `values` does.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(_canonical(values)).hexdigest()[:16]


def append_rows(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path | None:
    """Write `rows` as one file named by their content; nothing for no rows.

    Raises:
        OSError: when the disk is full or not writable; no partial file stays.
    """
    lines = [_canonical(row) for row in rows]
    if not lines:
        return None
    body = b"\n".join(lines) + b"\n"
    digest = hashlib.sha256(body).hexdigest()
    path = folder / digest[:2] / f"{digest[:32]}.jsonl"
    write_bytes(path, body + _canonical({"sha256": digest}) + b"\n")
    return path


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every row below `folder`; a damaged file is reported and left out, so its photos are simply done again."""
    for path in sorted(folder.glob("*/*.jsonl")):
        data = path.read_bytes()
        body, _, tail = data.rstrip(b"\n").rpartition(b"\n")
        body += b"\n"
        if tail != _canonical({"sha256": hashlib.sha256(body).hexdigest()}):
            logger.warning("%s: damaged and left out, may be deleted; photos that only it knew are done again", path)
            continue
        yield from map(json.loads, body.splitlines())


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
