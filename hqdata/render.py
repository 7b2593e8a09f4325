"""One face, from photo to crop pixels: only the part of the photo that the crop will see goes through the networks.

The landmarks are known first, so the crop's geometry is, and with it the few tiles that the networks must compute. The
result equals running both networks over the whole photo (`hqdata.tiling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from hqdata.crop_plan import Box, CropPlan, Mode, plan_crop
from hqdata.pixels import to_pixel_values, to_tensor
from hqdata.tiling import chain_for
from hqdata.true_colour import is_grey
from hqdata.weights import Network

__all__ = ["FacePlan", "When", "enlarged_landmarks", "face_pixels", "plan_face"]

When = Literal["needed", "always", "never"]
UPSCALE = 4
RESTORE_BELOW = 4.0
"""Photo pixels an output pixel, along a side, from which restoring is no longer needed: 16 and more are averaged into
one, which leaves little of the artefacts, at 16 and more times the cost; decision 8, docs/decisions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FacePlan:
    """How one face is rendered."""

    quad: Float64[np.ndarray, "4 2"]
    """Corners NW, SW, SE, NE of the crop in the photo's own frame."""
    zoom: float
    """Output pixels a photo pixel."""
    restored: bool
    """Whether the artefact-removal network runs."""
    scale: int
    """4 where the super-resolution network runs, 1 where it does not."""
    crop: CropPlan
    """The crop in the frame that the networks leave: `scale` times the photo."""

    @property
    def source_box(self) -> Box:
        """The photo's pixels whose restored and enlarged version the crop reads."""
        left, top, right, bottom = self.crop.box
        return left // self.scale, top // self.scale, -(-right // self.scale), -(-bottom // self.scale)


def plan_face(
    landmarks: Float64[np.ndarray, "5 2"],
    image_size: tuple[int, int],
    *,
    size: int,
    mode: Mode = "accurate",
    restore_when: When = "needed",
    upscale_when: When = "needed",
) -> FacePlan:
    """Decide which networks a face goes through, and plan its crop.

    Args:
        landmarks: five points in the photo's frame, CelebA's order and convention.
        image_size: (height, width) of the photo.
        size: output side in pixels.
        mode: see `hqdata.align.crop_face`.
        restore_when: "needed" restores where an output pixel averages less than 4 x 4 photo pixels, "always" is the
            paper's way.
        upscale_when: "needed" enlarges where the crop has fewer photo pixels than output pixels, "always" is the
            paper's way.

    Raises:
        Refused: where no crop can be cut, see `hqdata.crop_plan.plan_crop`.
    """
    plain = plan_crop(landmarks, image_size, size, mode)
    restored = restore_when == "always" or (restore_when == "needed" and plain.zoom * RESTORE_BELOW > 1)
    enlarged = upscale_when == "always" or (upscale_when == "needed" and plain.zoom > 1)
    crop = plain
    if enlarged:
        points = enlarged_landmarks(landmarks, UPSCALE)
        crop = plan_crop(points, (UPSCALE * image_size[0], UPSCALE * image_size[1]), size, mode)
    return FacePlan(quad=plain.quad, zoom=plain.zoom, restored=restored, scale=UPSCALE if enlarged else 1, crop=crop)


def enlarged_landmarks(landmarks: Float64[np.ndarray, "n 2"], scale: int) -> Float64[np.ndarray, "n 2"]:
    """Return the points in a picture enlarged `scale` times; integers stay pixel centres.

    >>> enlarged_landmarks(np.array([[0.0, 1.0]]), 4)
    array([[1.5, 5.5]])
    """
    return (landmarks + 0.5) * scale - 0.5


def face_pixels(
    image: UInt8[np.ndarray, "h w 3"],
    plan: FacePlan,
    *,
    restorer: Network | None,
    upscaler: Network | None,
) -> UInt8[np.ndarray, "bh bw 3"] | Float32[np.ndarray, "bh bw 3"]:
    """Return the pixels of `plan.crop.box`, restored and enlarged, in 0..255; not yet rounded where a network ran.

    Args:
        image: the whole photo.
        plan: from `plan_face` with the same photo's size.
        restorer: removes JPEG artefacts; used where `plan.restored`.
        upscaler: enlarges four times; used where `plan.scale` is 4.

    Raises:
        ValueError: if the plan needs a network that is not given, or a network gives values that are not finite.
    """
    if plan.scale > 1 and upscaler is None:
        raise ValueError("the plan enlarges the face, but upscaler is None; give one or plan with upscale_when='never'")
    if plan.restored and restorer is None:
        raise ValueError("the plan restores the face, but restorer is None; give one or plan with restore_when='never'")
    chosen = [(plan.restored, restorer), (plan.scale > 1, upscaler)]
    networks = [network for wanted, network in chosen if wanted and network is not None]
    if not networks:
        left, top, right, bottom = plan.crop.box
        return image[top:bottom, left:right]
    return to_pixel_values(chain_for(plan.source_box, _Photo(image), networks).output_region(plan.crop.box))


class _Photo:
    """A photo whose regions become network input only when they are asked for."""

    def __init__(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        return self._image.shape[0], self._image.shape[1]

    @property
    def is_grey(self) -> bool:
        return is_grey(self._image.transpose(2, 0, 1))

    def output_region(self, box: Box) -> Float32[Tensor, "1 3 h w"]:
        left, top, right, bottom = box
        return to_tensor(self._image[top:bottom, left:right])
