"""Landmarks that the source already knows, such as CelebA's hand-set points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hqdata.landmarks.choose import landmark_fault
from hqdata.record import Face, Photo, Refused

__all__ = ["AnnotationProvider"]


class AnnotationProvider:
    """Hands on the annotated points of each photo's one known face."""

    name = "annotations"

    def find(self, photos: Sequence[Photo]) -> list[list[Face] | Refused]:
        """Return each photo's annotated face; a photo without usable points is refused."""
        return [self._find_in(photo) for photo in photos]

    def _find_in(self, photo: Photo) -> list[Face] | Refused:
        if photo.ref.landmarks is None:
            return Refused("landmarks", "the source has no annotation for this photo")
        landmarks = np.array(photo.ref.landmarks, dtype=np.float64)
        fault = landmark_fault(landmarks, photo.image.shape[:2])
        if fault is not None:
            return Refused("landmarks", f"bad annotation: {fault}")
        return [Face(landmarks=landmarks, landmark_source=self.name, confidence=1.0)]
