"""The embedded default: MTCNN finds faces on a reduced picture, O-Net sharpens their points in the full one.

Why this detector and where its weights come from: docs/decisions/0003-embedded-mtcnn.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from hqdata.landmarks.choose import distinct_faces, landmark_fault, largest_first
from hqdata.landmarks.mtcnn_detect import detect
from hqdata.landmarks.mtcnn_refine import refine
from hqdata.landmarks.mtcnn_weights import load_networks
from hqdata.record import Face, Photo, Refused

__all__ = ["MtcnnProvider"]

_LONGEST_SIDE = 640
_LONGEST_SIDE_RETRY = 1280
_GRID = 64
"""Points are rounded to 1/64 px, so that the last bits, which differ between processors, rarely reach a crop."""


class MtcnnProvider:
    """Finds faces with MTCNN.

    Args:
        device: where the networks run, in torch's words.

    Raises:
        FileNotFoundError: when the package `mtcnn`, which carries the weights, is not installed.
        ValueError: when its files are not those of mtcnn 1.0.0.
    """

    name = "mtcnn"

    def __init__(self, *, device: str = "cpu") -> None:
        pnet, rnet, onet = load_networks()
        self._networks = (pnet.to(device), rnet.to(device), onet.to(device))

    def find(self, photos: Sequence[Photo]) -> list[list[Face] | Refused]:
        """Return each photo's faces, largest first; empty when it shows none.

        A photo is searched with its longest side reduced to 640 px; only when that shows nothing at 1280 px, then
        turned by quarters. So small faces beside a large one are found down to a crop of 40 px at 640, not below.
        Photos are searched one by one in shapes that only they decide: a photo's result has the same bits alone and
        in company.
        """
        return [self._find_in(photo.image) for photo in photos]

    def _find_in(self, image: UInt8[np.ndarray, "h w 3"]) -> list[Face] | Refused:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            return Refused("landmarks", f"expected a uint8 picture (h, w, 3), got {image.dtype} of shape {image.shape}")
        try:
            return self._search(image)
        except cv2.error as error:
            return Refused("landmarks", f"OpenCV could not search this picture: {error}")

    def _search(self, image: np.ndarray) -> list[Face]:
        faces = self._search_reduced(image, _LONGEST_SIDE)
        if not faces and max(image.shape[:2]) > _LONGEST_SIDE:
            faces = self._search_reduced(image, _LONGEST_SIDE_RETRY)
        if not faces:
            faces = self._search_reduced(image, _LONGEST_SIDE, quarter_turns=(1, 2, 3))
        return faces

    def _search_reduced(
        self, image: np.ndarray, longest_side: int, quarter_turns: tuple[int, ...] = (0,)
    ) -> list[Face]:
        """Search the picture reduced to a longest side, in each orientation; refine in the picture itself."""
        reduced = _reduced(image, longest_side)
        per_pixel = np.array(image.shape[1::-1]) / reduced.shape[1::-1]
        coarse = [
            (_turned_back(points, reduced.shape[:2], turns) + 0.5) * per_pixel - 0.5
            for turns in quarter_turns
            for points in detect(self._networks, np.ascontiguousarray(np.rot90(reduced, turns)))
        ]
        refined = (self._refined(image, points) for points in coarse)
        return largest_first(distinct_faces(face for face in refined if face is not None))

    def _refined(self, image: np.ndarray, coarse: Float64[np.ndarray, "5 2"]) -> Face | None:
        found = refine(self._networks[2], image, coarse)
        if found is None:
            return None
        landmarks = np.round(found[0] * _GRID) / _GRID
        if landmark_fault(landmarks, image.shape[:2]) is not None:
            return None
        return Face(landmarks=landmarks, landmark_source=self.name, confidence=found[1])


def _reduced(image: np.ndarray, longest_side: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return image
    return cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )


def _turned_back(
    points: Float64[np.ndarray, "n 2"], size: tuple[int, int], quarter_turns: int
) -> Float64[np.ndarray, "n 2"]:
    """Map points found on `np.rot90(picture, quarter_turns)` back to a picture of that (height, width)."""
    height, width = size
    x, y = points.T
    last_x, last_y = width - 1, height - 1
    back = {0: (x, y), 1: (last_x - y, x), 2: (last_x - x, last_y - y), 3: (y, last_y - x)}
    return np.column_stack(back[quarter_turns])
