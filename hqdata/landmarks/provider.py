"""The one way to ask for landmarks, whoever finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64

from hqdata.landmarks.annotations import AnnotationProvider
from hqdata.record import Face, Photo, Refused

__all__ = ["PROVIDERS", "LandmarkProvider", "open_provider", "to_five_points"]

PROVIDERS = ("annotations", "mtcnn")


@runtime_checkable
class LandmarkProvider(Protocol):
    """Finds the faces in photos; made once per worker and asked many times."""

    name: str
    """As in `PROVIDERS`; every face carries it as its `landmark_source`."""

    def find(self, photos: Sequence[Photo]) -> list[list[Face] | Refused]:
        """Return one outcome per photo, in the order given: its faces, largest first, or why it could not be searched.

        An empty list means that the photo was searched and shows no face. The outcome of a photo does not depend on
        the other photos of the call, and one photo that cannot be searched does not stop the others. A provider with
        a large model may collect the faces of all photos into batches of its own.

        Args:
            photos: any number, of any sizes.
        """
        ...


def open_provider(name: str, device: str = "cpu") -> LandmarkProvider:
    """Return the provider of that name, its model loaded.

    Args:
        name: one of `PROVIDERS`.
        device: where a model runs, in torch's words; annotations need none.

    Raises:
        ValueError: for an unknown name.
        FileNotFoundError: when the model's weights are not installed.
    """
    if name == "annotations":
        return AnnotationProvider()
    if name == "mtcnn":
        from hqdata.landmarks.mtcnn import MtcnnProvider  # imports torch, which annotations do not need

        return MtcnnProvider(device=device)
    raise ValueError(f"unknown landmark provider {name!r}; choose one of {', '.join(PROVIDERS)}")


def to_five_points(points68: Float[np.ndarray, "68 2"]) -> Float64[np.ndarray, "5 2"]:
    """Return CelebA's five points from the 68 of iBUG 300-W: eye centres, nose tip, mouth corners.

    Args:
        points68: (x, y) in the order of Sagonas et al. 2013, from 0: eyes 36..41 and 42..47 (left in the picture
            first), nose tip 30, mouth corners 48 and 54; in any frame, which the result keeps.

    Raises:
        ValueError: for another shape.
    """
    if points68.shape != (68, 2):
        raise ValueError(f"points68 must have shape (68, 2), got {points68.shape}; pass one face's points")
    points = np.asarray(points68, dtype=np.float64)
    return np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]])
