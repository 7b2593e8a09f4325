"""MTCNN's cascade on one picture: P-Net proposes on a pyramid, R-Net and O-Net sift, O-Net adds five points.

Boxes here are float64 (left, top, right, bottom) in *edge* coordinates: a picture of width w spans 0..w. Everything is
computed for one picture at a time in shapes that only it decides, so that companions never change a result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8

from hqdata.landmarks.mtcnn_model import PNET_STRIDE, PNET_WINDOW, OutputNet, ProposalNet, RefineNet
from hqdata.landmarks.mtcnn_refine import cut_square, network_input

__all__ = ["detect", "suppress"]

_SMALLEST_BOX = 20.0
"""Side in pixels of the smallest face box searched for (the authors' code): from the brows to the chin, about half the
side of the crop. Fixed, so that the faces found do not depend on which sizes a run wants."""
_PYRAMID_FACTOR = 0.709
"""About sqrt(1/2), between the levels of the pyramid (the authors' code)."""
_FACE_PROBABILITY = {"pnet": 0.6, "rnet": 0.7, "onet": 0.7}
"""Smallest face probability to pass each network (the authors' code)."""
_OVERLAP_WITHIN_LEVEL = 0.5
_OVERLAP = 0.7
_CROPS_PER_CALL = 16
"""Crops are always run in batches of this size, filled up with black: the batch size changes the last bits."""


def detect(
    networks: tuple[ProposalNet, RefineNet, OutputNet], image: UInt8[np.ndarray, "h w 3"]
) -> list[Float64[np.ndarray, "5 2"]]:
    """Return five points for each face in the picture, the surest face first.

    Args:
        networks: P-, R- and O-Net in evaluation mode, on one device.
        image: the picture; cost grows with its area, so reduce it first.

    Returns:
        (x, y) in the picture's pixels, integers at pixel centres; accurate to a few percent of the face.
    """
    pnet, rnet, onet = networks
    boxes = _propose(pnet, image)
    if len(boxes):
        boxes = _sift(rnet, image, boxes)
    return _find_points(onet, image, boxes) if len(boxes) else []


def suppress(
    boxes: Float64[np.ndarray, "n 4"],
    scores: Float64[np.ndarray, " n"],
    max_overlap: float,
    by_smaller_area: bool = False,
) -> Int64[np.ndarray, " kept"]:
    """Return the indices of the boxes that no better box overlaps, the best first (non-maximum suppression).

    Args:
        boxes: left, top, right, bottom.
        scores: higher is better; ties are settled by top, then left, then size, so the order given does not matter.
        max_overlap: shared area over the union that is still allowed.
        by_smaller_area: divide by the smaller box instead of the union, which also removes a box inside another.
    """
    order = np.lexsort((*boxes.T[[2, 3, 0, 1]], -scores))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        corner = np.minimum(boxes[best, 2:], boxes[order, 2:]) - np.maximum(boxes[best, :2], boxes[order, :2])
        shared = np.prod(np.maximum(corner, 0.0), axis=1)
        smaller = np.minimum(areas[best], areas[order])
        base = smaller if by_smaller_area else areas[best] + areas[order] - shared
        order = order[shared <= max_overlap * base]
    return np.array(kept, dtype=np.int64)


def _propose(pnet: ProposalNet, image: np.ndarray) -> Float64[np.ndarray, "n 4"]:
    found = [_propose_at(pnet, image, shape) for shape in _pyramid(image.shape[:2])]
    if not found:
        return np.zeros((0, 4))
    boxes, scores, offsets = (np.concatenate(parts) for parts in zip(*found, strict=True))
    kept = suppress(boxes, scores, _OVERLAP)
    return _square(_moved(boxes[kept], offsets[kept]))


def _pyramid(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield (height, width) of each level, while P-Net's window fits."""
    scale = PNET_WINDOW / _SMALLEST_BOX
    while min(size) * scale >= PNET_WINDOW:
        yield math.ceil(size[0] * scale), math.ceil(size[1] * scale)
        scale *= _PYRAMID_FACTOR


def _propose_at(pnet: ProposalNet, image: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Return boxes, scores and box offsets of one level, in the picture's own pixels."""
    level = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        faces, offsets = pnet(network_input([level], next(pnet.parameters()).device))
    scores_map, offsets_map = faces[0].double().cpu().numpy(), offsets[0].double().cpu().numpy()
    rows, columns = np.nonzero(scores_map >= _FACE_PROBABILITY["pnet"])
    corners = PNET_STRIDE * np.column_stack([columns, rows]).astype(np.float64)
    per_pixel = np.array([image.shape[1] / shape[1], image.shape[0] / shape[0]])
    boxes = np.hstack([corners * per_pixel, (corners + PNET_WINDOW) * per_pixel])
    scores, offsets_found = scores_map[rows, columns], offsets_map[rows, columns]
    kept = suppress(boxes, scores, _OVERLAP_WITHIN_LEVEL)
    return boxes[kept], scores[kept], offsets_found[kept]


def _sift(rnet: RefineNet, image: np.ndarray, boxes: np.ndarray) -> Float64[np.ndarray, "n 4"]:
    faces, offsets = _on_crops(rnet, image, boxes, 24)
    passed = faces >= _FACE_PROBABILITY["rnet"]
    boxes, faces, offsets = boxes[passed], faces[passed], offsets[passed]
    kept = suppress(boxes, faces, _OVERLAP)
    return _square(_moved(boxes[kept], offsets[kept]))


def _find_points(onet: OutputNet, image: np.ndarray, boxes: np.ndarray) -> list[Float64[np.ndarray, "5 2"]]:
    faces, offsets, shares = _on_crops(onet, image, boxes, 48)
    passed = faces >= _FACE_PROBABILITY["onet"]
    boxes, faces, offsets, shares = boxes[passed], faces[passed], offsets[passed], shares[passed]
    sides = (boxes[:, 2] - boxes[:, 0])[:, None, None]
    points = boxes[:, None, :2] + shares * sides - 0.5
    kept = suppress(_moved(boxes, offsets), faces, _OVERLAP, by_smaller_area=True)
    return list(points[kept])


def _on_crops(
    network: RefineNet | OutputNet, image: np.ndarray, boxes: np.ndarray, side: int
) -> tuple[np.ndarray, ...]:
    """Return the network's outputs, one row per box."""
    device = next(network.parameters()).device
    crops = [cut_square(image, _onto_box(box, side), side) for box in boxes]
    crops += [np.zeros((side, side, 3), np.uint8)] * (-len(crops) % _CROPS_PER_CALL)
    with torch.inference_mode():
        calls = [
            network(network_input(crops[start : start + _CROPS_PER_CALL], device))
            for start in range(0, len(crops), _CROPS_PER_CALL)
        ]
    return tuple(torch.cat(parts)[: len(boxes)].double().cpu().numpy() for parts in zip(*calls, strict=True))


def _onto_box(box: Float64[np.ndarray, " 4"], side: int) -> Float64[np.ndarray, "2 3"]:
    """Return the map from the pixel centres of a square crop to those of the picture."""
    scale = (box[2] - box[0]) / side
    left, top = box[:2] + (scale - 1) / 2
    return np.array([[scale, 0.0, left], [0.0, scale, top]])


def _moved(boxes: Float64[np.ndarray, "n 4"], offsets: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
    """Move each edge by the network's offset, a share of the box's width or height."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.hstack([sizes, sizes])


def _square(boxes: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
    """Grow each box to a square around the same centre."""
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.hstack([centres - half, centres + half])
