"""What is known and what is left to do, in dictionaries of whole rows: slow, and obviously right."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from hqdata.record import PhotoRef
from pipelines.rows import Finding, Score, face_id


class SimpleKnowledge:
    """The definition that `pipelines.knowledge.Knowledge` keeps in columns."""

    def __init__(self, photos: Iterable[PhotoRef]) -> None:
        self.photos = sorted(photos, key=lambda ref: hashlib.sha256(ref.id.encode("utf-8", "surrogateescape")).digest())
        self.versions = {ref.id: ref.version for ref in self.photos}
        self.findings: dict[str, Finding] = {}
        self.found_files: dict[str, str | None] = {}
        self.scores: dict[tuple[str, int], Score] = {}
        self.accused: dict[str, str] = {}

    def add_finding(self, finding: Finding, file: str | None) -> None:
        """A photo found with another number of faces is judged anew; else its wanted faces keep their scores."""
        id = finding.photo_id
        if self.versions.get(id) != finding.version:
            return
        before = self.findings.get(id)
        same = before is not None and before.num_faces == finding.num_faces
        unwanted = dict(finding.unwanted)
        self.scores = {
            key: score for key, score in self.scores.items() if key[0] != id or (same and key[1] not in unwanted)
        }
        self.findings[id], self.found_files[id] = finding, file
        self.accused.pop(id, None)

    def add_score(self, score: Score) -> None:
        """Scores of faces that nobody knows or wants are passed over."""
        id, finding = score.photo_id, self.findings.get(score.photo_id)
        if finding is None or self.versions.get(id) != score.version:
            return
        if score.index < finding.num_faces and score.index not in dict(finding.unwanted):
            self.scores[id, score.index] = score

    def quarantine(self, id: str, version: str, reason: str) -> None:
        """Leave a photo out."""
        if self.versions.get(id) == version:
            self.accused[id] = reason

    def in_running(self, id: str) -> Finding | None:
        """Return the finding of a photo that is refused by nobody."""
        finding = self.findings.get(id)
        return None if finding is None or finding.stage or id in self.accused else finding

    def to_do(self) -> list[tuple[str, str | None, tuple[int, ...]]]:
        """Return (photo, file that knows its faces, faces not to do)."""
        tasks = []
        for ref in self.photos:
            finding = self.in_running(ref.id)
            if ref.id not in self.findings and ref.id not in self.accused:
                tasks.append((ref.id, None, ()))
            elif finding is not None:
                done = [
                    n for n in range(finding.num_faces) if n in dict(finding.unwanted) or (ref.id, n) in self.scores
                ]
                if len(done) < finding.num_faces:
                    tasks.append((ref.id, self.found_files[ref.id], tuple(done)))
        return tasks

    def rated(self) -> list[str]:
        """Return the faces that were worked on, by photo and index."""
        return [
            face_id(*key) for ref in self.photos for key in sorted(self.scores) if key[0] == ref.id == self._use(key)
        ]

    def best(self, count: int) -> list[str]:
        """Return the ids of the best faces, best first."""
        scored = [(key, row) for key, row in self.scores.items() if self._use(key) and not row.stage]
        return [id for _, id in sorted((-(row.score or 0.0), face_id(*key)) for key, row in scored)][:count]

    def count_of(self, column: str, faces: list[str]) -> int:
        """Return how many of these faces are "upscaled" or "padded"."""
        return sum(getattr(row, column) for key, row in self.scores.items() if face_id(*key) in faces)

    def dropped(self) -> Iterator[tuple[str, str, str]]:
        """Yield (id, stage, reason)."""
        for ref in self.photos:
            finding = self.in_running(ref.id)
            if ref.id in self.accused:
                yield ref.id, "worker", self.accused[ref.id]
            elif finding is None and ref.id in self.findings:
                yield ref.id, self.findings[ref.id].stage, self.findings[ref.id].reason
            for index in range(finding.num_faces if finding else 0):
                row = self.scores.get((ref.id, index))
                if finding and index in dict(finding.unwanted):
                    yield face_id(ref.id, index), "landmarks", dict(finding.unwanted)[index]
                elif row is not None and row.stage:
                    yield face_id(ref.id, index), row.stage, row.reason

    def counts(self) -> Counter[tuple[str, str]]:
        """Return how many are dropped by (stage, reason)."""
        return Counter((stage, reason) for _, stage, reason in self.dropped())

    def _use(self, key: tuple[str, int]) -> str | None:
        return key[0] if self.in_running(key[0]) else None
