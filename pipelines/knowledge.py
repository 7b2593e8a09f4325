"""What is known and what is left to do: the ledger's rows against the photos and the settings of today, in columns.

The driver of millions of photos holds some forty bytes of each beside its name: states, scores, and which file of the
ledger has the rest. Whole rows are read back from there, in the order of the photos, when tables or shards need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import compress

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt32

from hqdata.ranking import best_places
from hqdata.record import Dropped, PhotoRef
from pipelines.config import LandmarksConfig
from pipelines.growing import Codes, GrowingColumns, GrowingTexts
from pipelines.job import Job
from pipelines.ledger import append_rows, read_rows
from pipelines.photo_index import PhotoIndex
from pipelines.rows import ChunkResult, Finding, FoundPhoto, PhotoTask, Score, face_id
from pipelines.stopping import BuildStopped
from pipelines.wanted_faces import finding_of

__all__ = ["FaceState", "Knowledge", "Quarantine"]

NOTHING = -1
"""In a column of file numbers."""
FACES_A_PHOTO = 2
"""More than nearly every source has on the average."""
PHOTOS_AT_ONCE = 65_536
"""Temporary columns of all photos would take as much memory as what is kept of them."""


class PhotoState(IntEnum):
    """Of a photo."""

    UNKNOWN = 0
    FOUND = 1
    REFUSED = 2
    """By a stage, with a reason in the ledger or, where it may pass, only in memory."""


class FaceState(IntEnum):
    """Of a face."""

    UNWANTED = 0
    """Today's settings leave it out."""
    PENDING = 1
    SCORED = 2
    REFUSED = 3
    REPLACED = 4
    """Its photo was searched again."""


class Knowledge:
    """States by photo and by face; only rows that fit the photos' present versions are used.

    Args:
        photos: of the source.
        landmarks: which faces are wanted.
    """

    def __init__(self, photos: Sequence[PhotoRef], landmarks: LandmarksConfig) -> None:
        self.photos = PhotoIndex(photos)
        self.landmarks = landmarks
        count = len(photos)
        self._state = np.zeros(count, np.uint8)
        self._reason = np.zeros(count, np.int32)
        self._found_file = np.full(count, NOTHING, np.int32)
        self._first_face = np.zeros(count, np.int32)
        self._num_faces = np.zeros(count, np.uint32)
        # the value of a scored face is its score, of a refused or unwanted one the number of its reason
        self._faces = GrowingColumns(
            FACES_A_PHOTO * count,
            photo=np.int32,
            state=np.uint8,
            value=np.float64,
            file=np.int32,
            upscaled=np.bool_,
            padded=np.bool_,
        )
        self._reasons = Codes[tuple[str, str]](("", ""))
        self._files = GrowingTexts()

    @staticmethod
    def load(photos: Sequence[PhotoRef], job: Job) -> Knowledge:
        """Read the ledger of this job for these photos."""
        known = Knowledge(photos, job.landmarks)
        for name, rows in read_rows(job.folder("found", job.find_key)):
            known.add_findings([finding_of(FoundPhoto.from_dict(row), job.landmarks) for row in rows], name)
        for name, rows in read_rows(job.folder("scored", job.score_key)):
            known.add_scores(list(map(Score.from_dict, rows)), name)
        for _, rows in read_rows(job.folder("quarantined", job.score_key)):
            for row in rows:
                known.quarantine(row["photo_id"], row["version"], row["reason"])
        return known

    def add_result(self, result: ChunkResult) -> None:
        """Take in what a task returned."""
        self.add_findings(result.found, result.found_file)
        self.add_scores(result.scored, result.scored_file)

    def add_findings(self, findings: Sequence[Finding], file: str | None) -> None:
        """Take in which faces photos have; nothing happens for a photo that is gone or was replaced.

        Args:
            findings: at best of many photos: one at a time costs ten times as much.
            file: of the ledger, with these rows; None where they may pass and were not written down.
        """
        current = {
            number: row for row, number in zip(findings, self._current(findings), strict=True) if number is not None
        }
        if not current:
            return
        numbers = np.fromiter(current, np.int64, count=len(current))
        rows = current.values()
        self._state[numbers] = [PhotoState.REFUSED if row.stage else PhotoState.FOUND for row in rows]
        self._reason[numbers] = [self._code(row.stage, row.reason) for row in rows]
        self._found_file[numbers] = self._file(file)
        self._make_faces(numbers, np.array([row.num_faces for row in rows]))
        for number, finding in current.items():
            for index, reason in finding.unwanted:
                row = self._first_face[number] + index
                self._faces["state"][row] = FaceState.UNWANTED
                self._faces["value"][row] = self._code("landmarks", reason)

    def _make_faces(self, numbers: Int64[np.ndarray, " p"], counts: Int64[np.ndarray, " p"]) -> None:
        """Give photos that many faces, new ones where that is another number than before."""
        changed = self._num_faces[numbers] != counts
        for number in numbers[~changed & (counts > 0)].tolist():
            states = self._faces["state"][self._rows_of(number)]
            states[states == FaceState.UNWANTED] = FaceState.PENDING  # until the new row says the same
        numbers, counts = numbers[changed], counts[changed]
        for number in numbers[self._num_faces[numbers] > 0].tolist():
            self._faces["state"][self._rows_of(number)] = FaceState.REPLACED
        before = np.cumsum(counts) - counts
        first = self._faces.extend(
            int(counts.sum()),
            photo=np.repeat(numbers, counts),
            state=FaceState.PENDING,
            value=np.nan,
            file=NOTHING,
        )
        self._first_face[numbers] = first + before
        self._num_faces[numbers] = counts

    def add_scores(self, scores: Sequence[Score], file: str | None) -> None:
        """Take in faces' scores or refusals; nothing happens where a photo is gone, was replaced or is not known.

        Args:
            scores: at best of many photos, as for `add_findings`.
            file: of the ledger, with these rows but for those to be tried again.
        """
        faces, wanted = self._faces, {}
        for score, number in zip(scores, self._current(scores), strict=True):
            if number is not None and score.index < self._num_faces[number]:
                wanted[self._first_face[number] + score.index] = score
        rows = np.fromiter(wanted, np.int64, count=len(wanted))
        is_wanted = faces["state"][rows] != FaceState.UNWANTED
        rows = rows[is_wanted]
        kept = list(compress(wanted.values(), is_wanted))
        faces["state"][rows] = [FaceState.REFUSED if score.stage else FaceState.SCORED for score in kept]
        faces["value"][rows] = [self._code(score.stage, score.reason) if score.stage else score.score for score in kept]
        faces["file"][rows] = np.where([score.retry for score in kept], NOTHING, self._file(file))
        faces["upscaled"][rows] = [score.upscaled for score in kept]
        faces["padded"][rows] = [score.padded for score in kept]

    def quarantine(self, photo_id: str, version: str, reason: str) -> None:
        """Leave a photo out that its workers do not survive."""
        number = self.photos.find(photo_id)
        if number is not None and self.photos[number].version == version:
            self._state[number] = PhotoState.REFUSED
            self._reason[number] = self._code("worker", reason)

    def to_do(self) -> UInt32[np.ndarray, " t"]:
        """Return the numbers of the photos that need work, in order."""
        waiting = np.zeros(len(self.photos), np.bool_)
        waiting[self._faces["photo"][self._faces["state"] == FaceState.PENDING]] = True
        unknown = self._state == PhotoState.UNKNOWN
        return np.flatnonzero(unknown | (waiting & (self._state == PhotoState.FOUND))).astype(np.uint32)

    def task(self, number: int) -> PhotoTask:
        """Return what is left to do for a photo."""
        file = self.found_file(number)
        if file is None:
            return PhotoTask(ref=self.photos[number])
        states = self._faces["state"][self._rows_of(number)]
        return PhotoTask(
            ref=self.photos[number], found_file=file, skip=tuple(np.flatnonzero(states != FaceState.PENDING).tolist())
        )

    def num_to_find(self) -> int:
        """Return how many photos have not been searched for faces."""
        return int(np.count_nonzero(self._state == PhotoState.UNKNOWN))

    def face_rows(self, *states: FaceState) -> UInt32[np.ndarray, " f"]:
        """Return the rows of faces in these states, by photo number and then by index."""
        parts = [np.zeros(0, np.uint32)]
        for begin in range(0, len(self.photos), PHOTOS_AT_ONCE):
            photos = slice(begin, begin + PHOTOS_AT_ONCE)
            counts = np.where(self._state[photos] == PhotoState.FOUND, self._num_faces[photos], 0).astype(np.int64)
            before = np.cumsum(counts) - counts
            rows = np.repeat(self._first_face[photos] - before, counts) + np.arange(counts.sum())
            parts.append(rows[_is_one_of(self._faces["state"][rows], states)].astype(np.uint32))
        return np.concatenate(parts)

    def rated_rows(self) -> UInt32[np.ndarray, " f"]:
        """Return the rows of all faces that were worked on: scored or refused."""
        return self.face_rows(FaceState.SCORED, FaceState.REFUSED)

    def scores(self) -> Float64[np.ndarray, " f"]:
        """Return the scores of all scored faces, in no useful order."""
        return self._faces["value"][self._in_state(FaceState.SCORED)]

    def best(self, count: int, *, allowed: Bool[np.ndarray, " f"] | None = None) -> Int64[np.ndarray, " k"]:
        """Return the rows of the `count` best faces, best first; equal scores by id.

        Args:
            count: all of them where there are fewer.
            allowed: for each of `rated_rows()`, whether it may be chosen.
        """
        running = self._in_state(FaceState.SCORED)
        if allowed is not None:
            running[self.rated_rows()[~allowed]] = False
        return self._best_of(running, count)

    def runners_up(self, chosen: Int64[np.ndarray, " k"], count: int) -> Int64[np.ndarray, " r"]:
        """Return the rows of the `count` best faces that are not among the chosen ones, best first."""
        running = self._in_state(FaceState.SCORED)
        running[chosen] = False
        return self._best_of(running, count)

    def worst(self, count: int) -> Int64[np.ndarray, " w"]:
        """Return the rows of the `count` worst scored faces, best first."""
        running = self._in_state(FaceState.SCORED)
        scores = self._faces["value"]
        if count < np.count_nonzero(running):
            running &= scores <= _nth(scores[running], count - 1)
        return self._best_of(running, int(np.count_nonzero(running)))[-count:]

    def rank_of(self, row: int) -> int:
        """Return how many scored faces come before a scored one, of all and not only of those that may be chosen."""
        running = self._in_state(FaceState.SCORED)
        equals = np.flatnonzero(running & (self._faces["value"] == self.score_of(row)))
        before = np.count_nonzero(running & (self._faces["value"] > self.score_of(row)))
        return int(before) + sum(1 for other in equals.tolist() if self.face_id(other) < self.face_id(row))

    def _best_of(self, running: Bool[np.ndarray, " f"], count: int) -> Int64[np.ndarray, " k"]:
        """Return the best rows of those that are true; with one column of scores copied, and no more."""
        scores, least = self._faces["value"], np.count_nonzero(running) - count
        if count > 0 and least > 0:
            running &= scores >= _nth(scores[running], int(least))
        rows = np.flatnonzero(running)
        return rows[best_places(scores[rows], count, lambda place: self.face_id(int(rows[place])))]

    def face_id(self, row: int) -> str:
        """Return the id of the face in a row."""
        return face_id(self.photos[self.photo_of(row)].id, self.index_of(row))

    def score_of(self, row: int) -> float:
        """Return a face's score; NaN for a refused one."""
        return float(self._faces["value"][row]) if self._faces["state"][row] == FaceState.SCORED else np.nan

    def photo_of(self, row: int) -> int:
        """Return the number of the photo in which a face was found."""
        return int(self._faces["photo"][row])

    def index_of(self, row: int) -> int:
        """Return which face of its photo a row is."""
        return row - int(self._first_face[self.photo_of(row)])

    def found_file(self, number: int) -> str | None:
        """Return the file of the ledger that knows a photo's faces."""
        return self._file_name(self._found_file[number])

    def scored_file(self, row: int) -> str | None:
        """Return the file of the ledger that has a face's score; None for a refusal that was not written down."""
        return self._file_name(self._faces["file"][row])

    def reason_of(self, row: int) -> tuple[str, str]:
        """Return (stage, reason) of a refused or unwanted face, and nothing of another."""
        is_lost = self._faces["state"][row] in (FaceState.UNWANTED, FaceState.REFUSED)
        return self._reasons[int(self._faces["value"][row])] if is_lost else ("", "")

    def num_scored(self) -> int:
        """Return how many faces have a score and are wanted."""
        return int(np.count_nonzero(self._in_state(FaceState.SCORED)))

    def count_of(self, column: str, rows: Int64[np.ndarray, " k"]) -> int:
        """Return how many of these faces are "upscaled" or "padded"."""
        return int(np.count_nonzero(self._faces[column][rows]))

    def dropped(self) -> Iterator[Dropped]:
        """Yield every photo and face that is not in the running, with its reason, by photo number."""
        lost_faces = self._in_state(FaceState.UNWANTED, FaceState.REFUSED)
        has_lost = np.zeros(len(self.photos), np.bool_)
        has_lost[self._faces["photo"][lost_faces]] = True
        for number in np.flatnonzero(has_lost | (self._state == PhotoState.REFUSED)).tolist():
            ref = self.photos[number]
            if self._state[number] == PhotoState.REFUSED:
                stage, reason = self._reasons[int(self._reason[number])]
                yield Dropped(id=ref.id, source=ref.path, stage=stage, reason=reason)
                continue
            first = self._first_face[number]
            for index in np.flatnonzero(lost_faces[self._rows_of(number)]).tolist():
                stage, reason = self.reason_of(int(first) + index)
                yield Dropped(id=face_id(ref.id, index), source=ref.path, stage=stage, reason=reason)

    def num_dropped_by_reason(self) -> Counter[tuple[str, str]]:
        """Return how many rows `dropped` has, by (stage, reason)."""
        photos = self._reason[self._state == PhotoState.REFUSED]
        lost = self._in_state(FaceState.UNWANTED, FaceState.REFUSED)
        counts = np.bincount(
            np.concatenate([photos, self._faces["value"][lost].astype(np.int32)]), minlength=len(self._reasons)
        )
        return Counter({key: int(count) for key, count in zip(self._reasons, counts, strict=True) if count})

    def _in_state(self, *states: FaceState) -> Bool[np.ndarray, " f"]:
        """Tell which faces are in these states, but for those of photos that are refused as a whole."""
        in_use = (self._state == PhotoState.FOUND)[self._faces["photo"]]
        return _is_one_of(self._faces["state"], states) & in_use

    def _rows_of(self, number: int) -> slice:
        first = int(self._first_face[number])
        return slice(first, first + int(self._num_faces[number]))

    def _current(self, rows: Sequence[Finding] | Sequence[Score]) -> Iterator[int | None]:
        """Yield the numbers of the photos of rows; None for one that is gone or that has another version today."""
        for row, number in zip(rows, self.photos.find_all([row.photo_id for row in rows]), strict=True):
            yield number if number is not None and self.photos[number].version == row.version else None

    def _code(self, stage: str, reason: str) -> int:
        return self._reasons.code((stage, reason))

    def _file(self, name: str | None) -> int:
        return NOTHING if name is None else self._files.append(name)

    def _file_name(self, code: int) -> str | None:
        return None if code == NOTHING else self._files[int(code)]


def _nth(scores: Float64[np.ndarray, " n"], place: int) -> float:
    """Return the score at a place of the rising order, and leave the scores in another order."""
    scores.partition(place)
    return float(scores[place])


def _is_one_of(state: UInt8[np.ndarray, " f"], states: Sequence[FaceState]) -> Bool[np.ndarray, " f"]:
    return np.logical_or.reduce([state == one for one in states])


class Quarantine:
    """Photos that their workers do not survive, left out by every later build too until `hqdata retry` asks for them.

    Use as a context manager: where the environment turns out to be broken, the photos that this run accused go free.
    """

    def __init__(self, job: Job) -> None:
        self._folder = job.folder("quarantined", job.score_key)
        self._written: list[str] = []

    def __enter__(self) -> Quarantine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and issubclass(kind, BuildStopped):
            for name in self._written:
                self._folder.delete(name)

    def add(self, ref: PhotoRef, reason: str) -> None:
        """Write a photo down."""
        name = append_rows(self._folder, [{"photo_id": ref.id, "version": ref.version, "reason": reason}])
        self._written += [name] if name else []
