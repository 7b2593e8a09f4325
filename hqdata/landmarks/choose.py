"""Which of the faces in a photo are used, and why the others are not.

A face's size is the side of the square that the crop will cut out of the photo, in photo pixels (Karras et al. 2018,
appendix C): this is what decides how much a crop has to be enlarged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from jaxtyping import Float64

from hqdata.crop_plan import side_from_spans
from hqdata.record import Face

__all__ = ["MIN_FACE_PX", "choose_faces", "distinct_faces", "face_side_px", "landmark_fault", "largest_first"]

MIN_FACE_PX = 40.0
"""Default smallest crop side; smaller faces (eyes under 10 px apart) are below what the detector is made for."""

_SAME_FACE = 0.25
"""Of the smaller crop's side, which is about one distance between the eyes; two heads cannot be that close."""


def choose_faces(
    faces: Iterable[Face],
    *,
    image_size: tuple[int, int],
    which: Literal["all", "largest"] = "all",
    min_face_px: float = MIN_FACE_PX,
) -> tuple[list[Face], list[tuple[Face, str]]]:
    """Return the faces to use, largest first, and each other face with the reason why it is not.

    Args:
        faces: the faces found in one photo, in any order.
        image_size: (height, width) of that photo.
        which: "all", or "largest" for at most one face.
        min_face_px: smallest `face_side_px` to keep.

    Raises:
        ValueError: for another `which`.
    """
    if which not in ("all", "largest"):
        raise ValueError(f"which must be 'all' or 'largest', got {which!r}")
    kept: list[Face] = []
    dropped: list[tuple[Face, str]] = []
    for face in largest_first(faces):
        reason = landmark_fault(face.landmarks, image_size)
        if reason is None and face_side_px(face.landmarks) < min_face_px:
            reason = (
                f"the face's crop has a side of {face_side_px(face.landmarks):.1f} px, less than {min_face_px:g} px"
            )
        if reason is None and which == "largest" and kept:
            reason = "not the largest face of its photo"
        if reason is None:
            kept.append(face)
        else:
            dropped.append((face, reason))
    return kept, dropped


def face_side_px(landmarks: Float64[np.ndarray, "5 2"]) -> float:
    """Return the side of the CelebA-HQ crop rectangle in photo pixels: twice the larger of 2 eye and 1.8 eye-mouth.

    Eye is the distance between the eyes, eye-mouth that between the middle of the eyes and the middle of the mouth.
    Not a measure of how much of the face lies inside the photo.

    >>> face_side_px(np.array([[100.0, 100], [160, 100], [130, 130], [105, 170], [155, 170]]))
    252.0
    """
    return side_from_spans(*_spans(landmarks))


def landmark_fault(landmarks: Float64[np.ndarray, "5 2"], image_size: tuple[int, int]) -> str | None:
    """Return why no crop can be placed on these points, or None when one can.

    Args:
        landmarks: (x, y) in CelebA's order and convention.
        image_size: (height, width) of the photo.
    """
    if landmarks.shape != (5, 2):
        return f"expected 5 landmarks (x, y), got an array of shape {landmarks.shape}"
    if not np.isfinite(landmarks).all():
        return f"a landmark is not a finite number: {landmarks.tolist()}"
    if face_side_px(landmarks) < 4.0:  # eyes less than a pixel apart
        return f"the landmarks coincide: {landmarks.tolist()}"
    eye_to_eye, eye_to_mouth = _spans(landmarks)
    right = eye_to_eye + np.array([eye_to_mouth[1], -eye_to_mouth[0]])
    if np.hypot(*right) < 0.02 * face_side_px(landmarks):  # a mirrored face: both vectors ought to point right
        return f"the landmarks give the face no direction: {landmarks.tolist()}"
    x, y = landmarks.mean(axis=0)
    height, width = image_size
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        return f"the face's centre ({x:.1f}, {y:.1f}) lies outside the photo of {width} x {height} px"
    return None


def largest_first(faces: Iterable[Face]) -> list[Face]:
    """Return the faces by falling `face_side_px`, ties from top to bottom and left to right; unusable points last."""

    def key(face: Face) -> tuple[float, ...]:
        if face.landmarks.shape != (5, 2) or not np.isfinite(face.landmarks).all():
            return (1.0,)
        x, y = face.landmarks.mean(axis=0)
        return (0.0, -face_side_px(face.landmarks), y, x, -face.confidence)

    found = list(faces)
    return sorted(found, key=key) if len(found) > 1 else found


def distinct_faces(faces: Iterable[Face]) -> list[Face]:
    """Return the faces, the surest first, without those on the place of a surer one, however these are turned.

    For faces found more than once in one photo; their landmarks must be free of `landmark_fault`.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.confidence, *face.landmarks.flat)):
        if not any(_same_place(face, surer) for surer in kept):
            kept.append(face)
    return kept


def _same_place(one: Face, other: Face) -> bool:
    side = min(face_side_px(one.landmarks), face_side_px(other.landmarks))
    distance = np.hypot(*(one.landmarks.mean(axis=0) - other.landmarks.mean(axis=0)))
    return bool(distance < _SAME_FACE * side)


def _spans(landmarks: Float64[np.ndarray, "5 2"]) -> tuple[Float64[np.ndarray, " 2"], Float64[np.ndarray, " 2"]]:
    """Return the vectors from the left to the right eye and from the eyes' middle to the mouth's."""
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks
    return right_eye - left_eye, (left_mouth + right_mouth) / 2 - (left_eye + right_eye) / 2
