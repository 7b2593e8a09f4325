"""What is known and what is left to do: the ledger's rows against the photos and the settings of today, in columns.

The driver of millions of photos holds some forty bytes of each beside its name: states, scores, and which file of the
ledger has the rest. Whole rows are read back from there, in the order of the photos, when tables or shards need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float64, Int64

from hqdata.ranking import best
from hqdata.record import Dropped, PhotoRef
from pipelines.config import LandmarksConfig
from pipelines.growing import Codes, GrowingColumns
from pipelines.job import Job
from pipelines.ledger import append_rows, read_rows
from pipelines.photo_index import PhotoIndex
from pipelines.rows import ChunkResult, Finding, FoundPhoto, PhotoTask, Score, ScoredFace, face_id
from pipelines.stopping import BuildStopped
from pipelines.wanted_faces import finding_of

__all__ = ["FaceState", "Knowledge", "Quarantine"]

NOTHING = -1
"""In a column of file numbers."""


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
        self._num_faces = np.zeros(count, np.uint16)
        self._faces = GrowingColumns(
            photo=np.int32,
            index=np.uint16,
            state=np.uint8,
            score=np.float64,
            reason=np.int32,
            file=np.int32,
            upscaled=np.bool_,
            padded=np.bool_,
        )
        self._reasons = Codes[tuple[str, str]](("", ""))
        self._files = Codes[str]()

    @staticmethod
    def load(photos: Sequence[PhotoRef], job: Job) -> Knowledge:
        """Read the ledger of this job for these photos."""
        known = Knowledge(photos, job.landmarks)
        for name, rows in read_rows(job.folder("found", job.find_key)):
            for row in rows:
                known.add_finding(finding_of(FoundPhoto.from_dict(row), job.landmarks), name)
        for name, rows in read_rows(job.folder("scored", job.score_key)):
            for row in rows:
                known.add_score(Score.of(ScoredFace.from_dict(row)), name)
        for _, rows in read_rows(job.folder("quarantined", job.score_key)):
            for row in rows:
                known.quarantine(row["photo_id"], row["version"], row["reason"])
        return known

    def add_result(self, result: ChunkResult) -> None:
        """Take in what a task returned."""
        for finding in result.found:
            self.add_finding(finding, result.found_file)
        for score in result.scored:
            self.add_score(score, result.scored_file)

    def add_finding(self, finding: Finding, file: str | None) -> None:
        """Take in which faces a photo has; nothing happens for a photo that is gone or was replaced."""
        number = self._current(finding.photo_id, finding.version)
        if number is None:
            return
        self._state[number] = PhotoState.REFUSED if finding.stage else PhotoState.FOUND
        self._reason[number] = self._code(finding.stage, finding.reason)
        self._found_file[number] = self._file(file)
        if self._num_faces[number] != finding.num_faces:
            self._faces["state"][self._rows_of(number)] = FaceState.REPLACED
            self._first_face[number] = self._faces.extend(
                finding.num_faces,
                photo=number,
                index=np.arange(finding.num_faces),
                state=FaceState.PENDING,
                score=np.nan,
                file=NOTHING,
            )
            self._num_faces[number] = finding.num_faces
        for index, reason in finding.unwanted:
            row = self._first_face[number] + index
            self._faces["state"][row] = FaceState.UNWANTED
            self._faces["reason"][row] = self._code("landmarks", reason)

    def add_score(self, score: Score, file: str | None) -> None:
        """Take in a face's score or refusal; nothing happens where its photo is gone, was replaced or is not known."""
        number = self._current(score.photo_id, score.version)
        if number is None or score.index >= self._num_faces[number]:
            return
        row = self._first_face[number] + score.index
        faces = self._faces
        if faces["state"][row] == FaceState.UNWANTED:
            return
        faces["state"][row] = FaceState.REFUSED if score.stage else FaceState.SCORED
        faces["score"][row] = np.nan if score.score is None else score.score
        faces["reason"][row] = self._code(score.stage, score.reason)
        faces["file"][row] = self._file(file)
        faces["upscaled"][row], faces["padded"][row] = score.upscaled, score.padded

    def quarantine(self, photo_id: str, version: str, reason: str) -> None:
        """Leave a photo out that its workers do not survive."""
        number = self._current(photo_id, version)
        if number is not None:
            self._state[number] = PhotoState.REFUSED
            self._reason[number] = self._code("worker", reason)

    def to_do(self) -> Int64[np.ndarray, " t"]:
        """Return the numbers of the photos that need work, in order."""
        waiting = np.zeros(len(self.photos), np.bool_)
        waiting[self._faces["photo"][self._faces["state"] == FaceState.PENDING]] = True
        unknown = self._state == PhotoState.UNKNOWN
        return np.flatnonzero(unknown | (waiting & (self._state == PhotoState.FOUND)))

    def task(self, number: int) -> PhotoTask:
        """Return what is left to do for a photo."""
        file = self.found_file(number)
        states = self._faces["state"][self._rows_of(number)]
        done = tuple(np.flatnonzero(states != FaceState.PENDING).tolist())
        return PhotoTask(ref=self.photos[number], found_file=file, skip=done if file else ())

    def num_to_find(self) -> int:
        """Return how many photos have not been searched for faces."""
        return int(np.count_nonzero(self._state == PhotoState.UNKNOWN))

    def face_rows(self, *states: FaceState) -> Int64[np.ndarray, " f"]:
        """Return the rows of faces in these states, by photo number and then by index."""
        rows = np.flatnonzero(np.isin(self._faces["state"], states) & self._is_in_use())
        return rows[np.lexsort((self._faces["index"][rows], self._faces["photo"][rows]))]

    def rated_rows(self) -> Int64[np.ndarray, " f"]:
        """Return the rows of all faces that were worked on: scored or refused."""
        return self.face_rows(FaceState.SCORED, FaceState.REFUSED)

    def scores(self) -> Float64[np.ndarray, " f"]:
        """Return the scores of all scored faces, in no useful order."""
        return self._faces["score"][self.face_rows(FaceState.SCORED)]

    def best(self, count: int, *, allowed: Bool[np.ndarray, " f"] | None = None) -> Int64[np.ndarray, " k"]:
        """Return the rows of the `count` best faces, best first; equal scores by id.

        Args:
            count: all of them where there are fewer.
            allowed: for each of `rated_rows()`, whether it may be chosen.
        """
        rated = self.rated_rows() if allowed is None else self.rated_rows()[allowed]
        rows = rated[self._faces["state"][rated] == FaceState.SCORED]
        scores = self._faces["score"][rows]
        if 0 < count < len(rows):
            rows = rows[scores >= np.partition(scores, len(rows) - count)[len(rows) - count]]
        row_of = {self.face_id(row): row for row in rows.tolist()}
        chosen = best(((id, float(self._faces["score"][row])) for id, row in row_of.items()), count)
        return np.array([row_of[id] for id in chosen], np.int64)

    def ranked(self) -> Int64[np.ndarray, " f"]:
        """Return the rows of all scored faces, best first; as `best`, but equal scores by photo number."""
        rows = self.face_rows(FaceState.SCORED)
        return rows[np.argsort(-self._faces["score"][rows], kind="stable")]

    def face_id(self, row: int) -> str:
        """Return the id of the face in a row."""
        return face_id(self.photos[int(self._faces["photo"][row])].id, int(self._faces["index"][row]))

    def score_of(self, row: int) -> float:
        """Return a face's score; NaN for a refused one."""
        return float(self._faces["score"][row])

    def photo_of(self, row: int) -> int:
        """Return the number of the photo in which a face was found."""
        return int(self._faces["photo"][row])

    def index_of(self, row: int) -> int:
        """Return which face of its photo a row is."""
        return int(self._faces["index"][row])

    def found_file(self, number: int) -> str | None:
        """Return the file of the ledger that knows a photo's faces."""
        return self._file_name(self._found_file[number])

    def scored_file(self, row: int) -> str | None:
        """Return the file of the ledger that has a face's score; None for a refusal that was not written down."""
        return self._file_name(self._faces["file"][row])

    def reason_of(self, row: int) -> tuple[str, str]:
        """Return (stage, reason) of a refused face."""
        return self._reasons[int(self._faces["reason"][row])]

    def num_scored(self) -> int:
        """Return how many faces have a score and are wanted."""
        return len(self.face_rows(FaceState.SCORED))

    def count_of(self, column: str, rows: Int64[np.ndarray, " k"]) -> int:
        """Return how many of these faces are "upscaled" or "padded"."""
        return int(np.count_nonzero(self._faces[column][rows]))

    def dropped(self) -> Iterator[Dropped]:
        """Yield every photo and face that is not in the running, with its reason, by photo number."""
        lost_faces = np.isin(self._faces["state"], (FaceState.UNWANTED, FaceState.REFUSED)) & self._is_in_use()
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
                stage, reason = self._reasons[int(self._faces["reason"][first + index])]
                yield Dropped(id=face_id(ref.id, index), source=ref.path, stage=stage, reason=reason)

    def num_dropped_by_reason(self) -> Counter[tuple[str, str]]:
        """Return how many rows `dropped` has, by (stage, reason)."""
        photos = self._reason[self._state == PhotoState.REFUSED]
        lost = np.isin(self._faces["state"], (FaceState.UNWANTED, FaceState.REFUSED)) & self._is_in_use()
        counts = np.bincount(np.concatenate([photos, self._faces["reason"][lost]]), minlength=len(self._reasons))
        return Counter({key: int(count) for key, count in zip(self._reasons, counts, strict=True) if count})

    def _is_in_use(self) -> Bool[np.ndarray, " f"]:
        """Faces of photos that are not refused as a whole, and not replaced."""
        found = self._state == PhotoState.FOUND
        return found[self._faces["photo"]] & (self._faces["state"] != FaceState.REPLACED)

    def _rows_of(self, number: int) -> slice:
        first = int(self._first_face[number])
        return slice(first, first + int(self._num_faces[number]))

    def _current(self, photo_id: str, version: str) -> int | None:
        number = self.photos.find(photo_id)
        return number if number is not None and self.photos[number].version == version else None

    def _code(self, stage: str, reason: str) -> int:
        return self._reasons.code((stage, reason))

    def _file(self, name: str | None) -> int:
        return NOTHING if name is None else self._files.code(name)

    def _file_name(self, code: int) -> str | None:
        return None if code == NOTHING else self._files[int(code)]


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
