"""What is known and what is left to do: the ledger's rows against the photos and the settings of today."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hqdata.record import Dropped, PhotoRef
from pipelines.config import LandmarksConfig
from pipelines.job import Job, order_key
from pipelines.ledger import read_rows
from pipelines.rows import ChunkResult, FoundPhoto, PhotoTask, ScoredFace, face_id
from pipelines.stages import wanted_faces

__all__ = ["Knowledge"]


@dataclass(slots=True)
class Knowledge:
    """Rows by photo and by face; only those that fit the photos' present versions are used."""

    refs: dict[str, PhotoRef]
    landmarks: LandmarksConfig
    found: dict[str, FoundPhoto] = field(default_factory=dict)
    scored: dict[str, ScoredFace] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Photos whose worker died, with what was said."""
    _wanted: dict[str, tuple[list[int], dict[int, str]]] = field(default_factory=dict)
    """What `wanted_faces` says of each photo; it takes 0.1 ms, and every phase asks."""

    @staticmethod
    def load(refs: Sequence[PhotoRef], job: Job) -> Knowledge:
        """Read the ledger of this job for these photos."""
        known = Knowledge({ref.id: ref for ref in refs}, job.landmarks)
        known.add(
            found=map(FoundPhoto.from_dict, read_rows(job.folder("found", job.find_key))),
            scored=map(ScoredFace.from_dict, read_rows(job.folder("scored", job.score_key))),
        )
        return known

    def add(self, *, found: Iterable[FoundPhoto], scored: Iterable[ScoredFace]) -> None:
        """Take in rows; those of photos that are gone or were replaced are left out."""
        for photo in found:
            if self._is_current(photo):
                self.found[photo.photo_id] = photo
                self._wanted.pop(photo.photo_id, None)
        for face in scored:
            if self._is_current(face):
                self.scored[face.id] = face

    def add_result(self, result: ChunkResult) -> None:
        """Take in what a task returned."""
        self.add(found=result.found, scored=result.scored)

    def to_do(self) -> list[PhotoTask]:
        """Return the photos that need work, in an order that depends on nothing but their ids."""
        tasks = (self._task(ref) for ref in self.refs.values())
        return sorted((task for task in tasks if task is not None), key=lambda task: order_key(task.ref.id))

    def faces(self) -> list[ScoredFace]:
        """Return the scored faces that today's settings ask for, by id."""
        wanted = (
            self.scored[face_id(photo.photo_id, index)]
            for photo in self.found.values()
            for index in self._wanted_faces(photo)[0]
            if face_id(photo.photo_id, index) in self.scored
        )
        return sorted(wanted, key=lambda face: face.id)

    def dropped(self) -> list[Dropped]:
        """Return every photo and face that is not in the running, with its reason, by id."""
        rows = [self._dropped_photo(photo) for photo in self.found.values() if photo.stage]
        rows += [
            Dropped(id=id, source=self.refs[id].path, stage="worker", reason=why) for id, why in self.failed.items()
        ]
        for photo in self.found.values():
            path = self.refs[photo.photo_id].path
            for index, why in self._wanted_faces(photo)[1].items():
                rows.append(Dropped(id=face_id(photo.photo_id, index), source=path, stage="landmarks", reason=why))
        rows += [
            Dropped(id=face.id, source=self.refs[face.photo_id].path, stage=face.stage, reason=face.reason)
            for face in self.faces()
            if face.stage
        ]
        return sorted(rows, key=lambda row: row.id)

    def _is_current(self, row: FoundPhoto | ScoredFace) -> bool:
        ref = self.refs.get(row.photo_id)
        return ref is not None and ref.version == row.version

    def _wanted_faces(self, photo: FoundPhoto) -> tuple[list[int], dict[int, str]]:
        wanted = self._wanted.get(photo.photo_id)
        if wanted is None:
            wanted = self._wanted[photo.photo_id] = wanted_faces(photo, self.landmarks)
        return wanted

    def _task(self, ref: PhotoRef) -> PhotoTask | None:
        found = self.found.get(ref.id)
        if found is None:
            return PhotoTask(ref=ref)
        wanted = self._wanted_faces(found)[0]
        done = tuple(index for index in wanted if face_id(ref.id, index) in self.scored)
        return PhotoTask(ref=ref, found=found, skip=done) if len(done) < len(wanted) else None

    def _dropped_photo(self, photo: FoundPhoto) -> Dropped:
        path = self.refs[photo.photo_id].path
        return Dropped(id=photo.photo_id, source=path, stage=photo.stage, reason=photo.reason)
