"""Whole rows of photos and faces, read back from the ledger by the few numbers that the driver holds."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from hqdata.storage import scratch_folder
from pipelines.job import Job
from pipelines.knowledge import Knowledge
from pipelines.ledger import FACE_KEY, PHOTO_KEY, LedgerReader
from pipelines.photo_index import order_key
from pipelines.rows import FoundPhoto, PackRow, ScoredFace

__all__ = ["ChosenFaces", "FaceRows"]

KEY_DIGITS = 16
FILES_HELD = 16
"""Of each kind: rows are asked for in the order of the photos, and so were the files written; each is 100 to 200 kB."""


class FaceRows:
    """Rows of one build; fast where they are asked for in the order of the photos' numbers, as they were written."""

    def __init__(self, known: Knowledge, job: Job) -> None:
        self._known = known
        self._found = LedgerReader(job.folder("found", job.find_key), key=PHOTO_KEY, held=FILES_HELD)
        self._scored = LedgerReader(job.folder("scored", job.score_key), key=FACE_KEY, held=FILES_HELD)

    def found(self, number: int) -> dict[str, Any]:
        """Return the ledger's row of a photo whose faces are known; `FoundPhoto.from_dict` takes it."""
        file = self._known.found_file(number)
        if file is None:
            raise ValueError(f"{self._known.photos[number].id}: the ledger has no row of it")
        return self._found.row(file, self._known.photos[number].id)

    def scored(self, row: int) -> dict[str, Any] | None:
        """Return the ledger's row of a face; None for a refusal that may pass and so was not written down."""
        file = self._known.scored_file(row)
        photo_id = self._known.photos[self._known.photo_of(row)].id
        return None if file is None else self._scored.row(file, (photo_id, self._known.index_of(row)))

    def pack_row(self, row: int, rank: int) -> PackRow:
        """Return all that is needed to render and pack a scored face."""
        return _pack_row(self._known, row, rank, {"found": self._of_photo(row), "scored": self.scored(row)})

    def pairs(self, rows: Int64[np.ndarray, " k"]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (position in `rows`, its "found" and "scored" rows), in the order of the ledger."""
        photos = np.array([self._known.photo_of(row) for row in rows.tolist()], np.int64)
        for position in np.argsort(photos, kind="stable").tolist():
            row = int(rows[position])
            yield position, {"found": self._of_photo(row), "scored": self.scored(row)}

    def _of_photo(self, row: int) -> dict[str, Any]:
        return self.found(self._known.photo_of(row))


class ChosenFaces(Sequence[PackRow]):
    """The chosen faces by rank, best first, kept in a temporary file: they are asked for in the order of the shards.

    Use as a context manager.

    Args:
        known: all that was found out.
        job: the build's settings.
        rows: of the chosen faces, best first.
    """

    def __init__(self, known: Knowledge, job: Job, rows: Int64[np.ndarray, " k"]) -> None:
        self.known = known
        self.rows = rows
        self._places = np.zeros((len(rows), 2), np.int64)
        self._file = tempfile.TemporaryFile(dir=scratch_folder())  # noqa: SIM115 -- closed by __exit__
        for rank, pair in FaceRows(known, job).pairs(rows):
            line = json.dumps(pair).encode()
            self._places[rank] = self._file.tell(), len(line)
            self._file.write(line)

    def __enter__(self) -> ChosenFaces:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rank: int) -> PackRow:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the face with this rank."""
        start, length = self._places[rank].tolist()
        self._file.seek(start)
        return _pack_row(self.known, int(self.rows[rank]), rank, json.loads(self._file.read(length)))

    def shuffled(self) -> Int64[np.ndarray, " k"]:
        """Return the ranks in an order that is shuffled but depends on nothing but the faces' ids."""
        keys = [order_key(self.known.face_id(row))[:KEY_DIGITS] for row in self.rows.tolist()]
        return np.argsort(np.array(keys, dtype=f"S{KEY_DIGITS}"), kind="stable")


def _pack_row(known: Knowledge, row: int, rank: int, pair: dict[str, Any]) -> PackRow:
    return PackRow(
        ref=known.photos[known.photo_of(row)],
        found=FoundPhoto.from_dict(pair["found"]),
        scored=ScoredFace.from_dict(pair["scored"]),
        rank=rank,
    )
