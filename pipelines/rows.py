"""What a worker finds out, as plain values: whole rows for the ledger, and the few numbers that the driver holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hqdata.record import Face, PhotoRef

__all__ = [
    "ChunkResult",
    "Finding",
    "FoundFace",
    "FoundPhoto",
    "PackRow",
    "PhotoTask",
    "Score",
    "ScoredFace",
    "face_id",
    "to_dict",
]


def face_id(photo_id: str, index: int) -> str:
    """Return the id of the `index`-th face of a photo.

    >>> face_id("000001", 0)
    '000001-0'
    """
    return f"{photo_id}-{index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFace:
    """One face as the landmark provider found it, in the photo's frame."""

    landmarks: tuple[tuple[float, float], ...]
    landmark_source: str
    confidence: float

    @staticmethod
    def of(face: Face) -> FoundFace:
        """Return `face` with its array turned into plain floats."""
        points = tuple((float(x), float(y)) for x, y in face.landmarks)
        return FoundFace(landmarks=points, landmark_source=face.landmark_source, confidence=float(face.confidence))

    def to_face(self) -> Face:
        """Return the face with landmarks as an array."""
        return Face(
            landmarks=np.array(self.landmarks, dtype=np.float64),
            landmark_source=self.landmark_source,
            confidence=self.confidence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPhoto:
    """All faces of one photo, or why there are none."""

    photo_id: str
    version: str
    height: int = 0
    width: int = 0
    faces: tuple[FoundFace, ...] = ()
    stage: str = ""
    """The stage that refused the photo; empty when faces were found."""
    reason: str = ""
    retry: bool = False
    """Refused for what may pass, such as missing permission: not written down, so that the next build tries again."""

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> FoundPhoto:
        """Return the row that `to_dict` wrote."""
        faces = tuple(
            FoundFace(**{**face, "landmarks": tuple((x, y) for x, y in face["landmarks"])}) for face in values["faces"]
        )
        return FoundPhoto(**{**values, "faces": faces})


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredFace:
    """One rendered and scored crop, or why it was refused."""

    photo_id: str
    version: str
    index: int
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    quad: tuple[tuple[float, float], ...] = ()
    """Corners NW, SW, SE, NE of the crop in the photo's frame."""
    zoom: float = 0.0
    """Output pixels a photo pixel."""
    restored: bool = False
    upscaled: bool = False
    padded: bool = False
    pixel_sha256: str = ""
    """Of the crop's uint8 (size, size, 3) bytes."""
    stage: str = ""
    reason: str = ""
    retry: bool = False
    """As in `FoundPhoto`."""

    @property
    def id(self) -> str:
        """The face's id."""
        return face_id(self.photo_id, self.index)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> ScoredFace:
        """Return the row that `to_dict` wrote."""
        return ScoredFace(**{**values, "quad": tuple((x, y) for x, y in values["quad"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoTask:
    """One photo to work on: find its faces, or take them from the ledger, then render the wanted ones."""

    ref: PhotoRef
    found_file: str | None = None
    """The file of the ledger that knows the photo's faces; None where they must be found."""
    skip: tuple[int, ...] = ()
    """Faces that are scored already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the driver holds of a `FoundPhoto`."""

    photo_id: str
    version: str
    num_faces: int
    unwanted: tuple[tuple[int, str], ...]
    """Faces that today's settings leave out, and why."""
    stage: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What the driver holds of a `ScoredFace`."""

    photo_id: str
    version: str
    index: int
    score: float | None
    upscaled: bool
    padded: bool
    stage: str = ""
    reason: str = ""
    retry: bool = False
    """As in `FoundPhoto`."""

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Score:
        """Return the few numbers of a row that `to_dict` wrote."""
        return Score(**{name: values[name] for name in Score.__slots__})

    @staticmethod
    def of(row: ScoredFace) -> Score:
        """Return the few numbers of a row."""
        return Score(
            photo_id=row.photo_id,
            version=row.version,
            index=row.index,
            score=row.score,
            upscaled=row.upscaled,
            padded=row.padded,
            stage=row.stage,
            reason=row.reason,
            retry=row.retry,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    """What one task found out about its photos; the whole rows are in the ledger."""

    found: tuple[Finding, ...]
    found_file: str | None
    """The ledger's file with those rows; None for no rows."""
    scored: tuple[Score, ...]
    scored_file: str | None
    to_retry: tuple[str, ...]
    """Photos that failed by no fault of theirs; their rows are in no file, so that the next build tries again."""
    last_error: str
    """Of those photos."""
    cached: int
    """Crops written to the cache."""
    seconds: Mapping[str, float]
    """CPU seconds by step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRow:
    """A chosen face on its way into a shard; enough to render it again."""

    ref: PhotoRef
    found: FoundPhoto
    scored: ScoredFace
    rank: int


def to_dict(row: FoundPhoto | ScoredFace) -> dict[str, Any]:
    """Return the row as nested plain values for JSON."""
    return dataclasses.asdict(row)
