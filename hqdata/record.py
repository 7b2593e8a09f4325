"""The values that flow through a build: a photo, the faces in it, and the reason when one is refused.

Landmarks keep CelebA's own convention everywhere: (x, y) in pixels, integers at pixel *centres*, x right, y down, in
the order left eye, right eye, nose, left mouth corner, right mouth corner ("left" as seen in the picture).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, UInt8

__all__ = ["Dropped", "Face", "Photo", "PhotoRef", "Refused"]


class Refused(Exception):
    """One picture or face cannot be used; the run records the reason and goes on.

    Args:
        stage: the step that refused it, such as "read", "landmarks" or "align".
        reason: what is wrong, as a sentence without a full stop.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(stage, reason)
        self.stage = stage
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoRef:
    """A photo as its source lists it, without pixels; small enough to send to any worker."""

    id: str
    """Unique within the source: the file's stem for CelebA, its relative path otherwise."""
    path: str
    """Relative to the source's root, with forward slashes."""
    size_bytes: int
    version: str
    """Changes whenever the file's bytes may have changed (size and modification time, or a bucket's etag)."""
    landmarks: tuple[tuple[float, float], ...] | None = None
    """Annotated points of the photo's one known face, or None where the source has no annotation."""
    attributes: Mapping[str, int | str] = field(default_factory=dict)
    """Columns that the source carries along: CelebA's attributes, identity and partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A decoded photo."""

    ref: PhotoRef
    image: UInt8[np.ndarray, "h w 3"]
    """sRGB, upright, without alpha."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One face found in a photo."""

    landmarks: Float64[np.ndarray, "5 2"]
    landmark_source: str
    """The provider's name, such as "mtcnn" or "celeba"."""
    confidence: float
    """0..1 as the provider gives it; 1 for annotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A photo or face that a stage refused, and why."""

    id: str
    source: str
    """The photo's path relative to the source's root."""
    stage: str
    reason: str
