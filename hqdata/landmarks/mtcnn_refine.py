"""Sharper points: O-Net looks again at each face, upright, centred and in the photo's full resolution.

The cascade finds points on a reduced picture, in a box that ignores the head's tilt. Here the five points place a
48 x 48 crop so that the face fills it the way O-Net knows best, O-Net finds them anew on the crop and on its mirror
picture, and the mean is mapped back.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from hqdata.landmarks.mtcnn_model import OutputNet

__all__ = ["CROP_SIDE", "MIN_CONFIDENCE", "cut_square", "network_input", "refine"]

CROP_SIDE = 48
_MIN_ROUNDS = 2
_MAX_ROUNDS = 6
_AT_REST = 1.5
"""Crop pixels, of 18 between the eyes: right points move by less than 1 a round, wrong ones by 2 to 8."""
_STARTS = ((1, 0), (0, 1), (0, -1), (-1, 0))
"""Cosine and sine of the turns from which O-Net starts."""
MIN_CONFIDENCE = 0.7
"""The face probability that O-Net asks for inside the cascade too."""
_TEMPLATE = CROP_SIDE * np.array([[0.31, 0.42], [0.69, 0.42], [0.50, 0.60], [0.345, 0.78], [0.655, 0.78]])
"""Where an upright face's points lie in the crop; about where O-Net's own boxes put them."""
_SMALLEST_SCALE = 0.05
"""Photo pixels per crop pixel, for eyes one pixel apart."""
_MIRRORED_ORDER = [1, 0, 2, 4, 3]
_EDGE_TO_CENTRE = -0.5
"""O-Net's shares count from the crop's edge: on pictures and their mirror pictures, 48 * share + c agrees for c between
-0.43 (eyes) and -0.53 (mouth), measured on 240 crops of one portrait at four sizes."""


def refine(
    onet: OutputNet, image: UInt8[np.ndarray, "h w 3"], landmarks: Float64[np.ndarray, "5 2"]
) -> tuple[Float64[np.ndarray, "5 2"], float] | None:
    """Return sharper landmarks and O-Net's face probability (0.7..1), or None when O-Net does not settle on a face.

    On a tilted or sideways head the cascade's points can be far off. O-Net then moves them again and again, so two
    rounds are followed by more until they rest, and by new starts with the points turned by quarters.

    Args:
        onet: O-Net in evaluation mode, on any device.
        image: the photo in full resolution.
        landmarks: (x, y) in its pixels, integers at pixel centres, as the cascade gives them.
    """
    centre = landmarks.mean(axis=0)
    for cosine, sine in _STARTS:
        turned = (landmarks - centre) @ np.array([[cosine, sine], [-sine, cosine]]) + centre
        found = _settle(onet, image, turned)
        if found is not None and found[1] >= MIN_CONFIDENCE:
            return found
    return None


def cut_square(
    image: UInt8[np.ndarray, "h w 3"], to_image: Float64[np.ndarray, "2 3"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """Return a square of the picture under a similarity, averaging over areas where that shrinks.

    Args:
        image: the picture; outside it the crop is black, as in MTCNN's training.
        to_image: maps crop pixels to picture pixels, both with integers at pixel centres.
        side: of the crop, in pixels.
    """
    scale = _scale(to_image)
    image, to_image, scale = _shrink_around(image, to_image, side, scale)
    fine = max(1, math.ceil(scale))
    to_coarse = np.array([[1 / fine, 0, (1 / fine - 1) / 2], [0, 1 / fine, (1 / fine - 1) / 2], [0, 0, 1]])
    crop = cv2.warpAffine(
        image, to_image @ to_coarse, (side * fine, side * fine), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return crop if fine == 1 else cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)


def network_input(
    crops: list[UInt8[np.ndarray, "side side 3"]], device: torch.device
) -> Float32[Tensor, "n 3 side side"]:
    """Return pictures of equal size as MTCNN's networks take them: (value - 127.5) / 128.

    In memory the channels stay last, in which these small networks run three times faster on a CPU.
    """
    stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    return (stacked.to(device=device, dtype=torch.float32) - 127.5) / 128.0


def _settle(
    onet: OutputNet, image: np.ndarray, landmarks: Float64[np.ndarray, "5 2"]
) -> tuple[Float64[np.ndarray, "5 2"], float] | None:
    """Refine until a round moves no point by more than the rest limit; None when that does not happen."""
    for number in range(1, _MAX_ROUNDS + 1):
        to_image = _similarity(_TEMPLATE, landmarks)
        if to_image is None:
            return None
        points, confidence = _points_in_crop(onet, cut_square(image, to_image, CROP_SIDE))
        before, landmarks = landmarks, points @ to_image[:, :2].T + to_image[:, 2]
        moved = np.hypot(*(landmarks - before).T).max() / _scale(to_image)
        if number >= _MIN_ROUNDS and moved <= _AT_REST:
            return landmarks, confidence
    return None


def _points_in_crop(onet: OutputNet, crop: np.ndarray) -> tuple[Float64[np.ndarray, "5 2"], float]:
    """Return the mean of the points of the crop and of its mirror picture, in crop pixels."""
    device = next(onet.parameters()).device
    with torch.inference_mode():
        faces, _, shares = onet(network_input([crop, crop[:, ::-1]], device))
    points, mirrored = shares.double().cpu().numpy() * CROP_SIDE + _EDGE_TO_CENTRE
    mirrored = mirrored[_MIRRORED_ORDER]
    mirrored[:, 0] = CROP_SIDE - 1 - mirrored[:, 0]
    return (points + mirrored) / 2, float(faces.double().mean())


def _similarity(
    source: Float64[np.ndarray, "n 2"], target: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, "2 3"] | None:
    """Return the least-squares rotation, scale and shift that takes `source` to `target` (no reflection).

    With points as complex numbers this is the regression target = a source + b. None when the points coincide.
    """
    z, w = source @ [1, 1j], target @ [1, 1j]
    z_centred = z - z.mean()
    a = np.vdot(z_centred, w - w.mean()) / np.vdot(z_centred, z_centred).real
    b = w.mean() - a * z.mean()
    if not (np.isfinite(b) and abs(a) > _SMALLEST_SCALE):
        return None
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def _scale(to_image: Float64[np.ndarray, "2 3"]) -> float:
    return math.sqrt(abs(np.linalg.det(to_image[:, :2])))


def _shrink_around(
    image: np.ndarray, to_image: np.ndarray, side: int, scale: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the part of the picture that the crop sees, shrunk by whole blocks to at most twice the crop's scale."""
    corners = np.array([[x, y, 1.0] for x in (-1, side) for y in (-1, side)]) @ to_image.T
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int) - 1, 0, [width - 1, height - 1])
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, [left + 1, top + 1], [width, height])
    block = max(1, min(int(scale / 2), right - left, bottom - top))
    rows = min(-(-(bottom - top) // block), (height - top) // block)
    columns = min(-(-(right - left) // block), (width - left) // block)
    part = image[top : top + rows * block, left : left + columns * block]
    if block > 1:
        part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    corner = np.array([left, top]) + (block - 1) / 2
    moved = np.column_stack([to_image[:, :2], to_image[:, 2] - corner]) / block
    return part, moved, scale / block
