"""Which of a photo's faces today's settings want; asked by the worker that finds them and by every resumed driver."""

from __future__ import annotations

from hqdata.landmarks import choose_faces
from pipelines.config import LandmarksConfig
from pipelines.rows import Finding, FoundPhoto

__all__ = ["finding_of", "wanted_faces"]


def wanted_faces(found: FoundPhoto, settings: LandmarksConfig) -> tuple[list[int], dict[int, str]]:
    """Return the indices of the faces to render, and the reason for each other one."""
    faces = [face.to_face() for face in found.faces]
    index_of = {id(face): index for index, face in enumerate(faces)}
    kept, dropped = choose_faces(
        faces,
        image_size=(found.height, found.width),
        which=settings.faces,
        min_face_px=settings.min_face_px,
    )
    return [index_of[id(face)] for face in kept], {index_of[id(face)]: reason for face, reason in dropped}


def finding_of(found: FoundPhoto, settings: LandmarksConfig) -> Finding:
    """Return the few numbers of a row that the driver holds."""
    unwanted = wanted_faces(found, settings)[1] if found.faces else {}
    return Finding(
        photo_id=found.photo_id,
        version=found.version,
        num_faces=len(found.faces),
        unwanted=tuple(unwanted.items()),
        stage=found.stage,
        reason=found.reason,
    )
