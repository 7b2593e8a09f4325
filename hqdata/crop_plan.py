"""Where a face's crop lies: five landmarks -> an oriented square, and the steps of the recipe that renders it.

Karras et al. 2018, appendix C. Every number of the recipe (working size, padding, blur) follows from the landmarks, the
picture's size and the output size alone, so a pipeline can plan a crop before it has restored a single pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64

from hqdata.record import Refused

__all__ = ["CropPlan", "Mode", "Recipe", "crop_quad", "crop_side", "plan_crop", "recipe_geometry", "side_from_spans"]

Mode = Literal["exact", "accurate", "fast"]
Box = tuple[int, int, int, int]

EYES_TO_SIDE = 4.0
"""Side of the crop in distances between the eyes; appendix C, s = max(4.0 |x'|, 3.6 |y'|)."""
EYES_TO_MOUTH_TO_SIDE = 3.6
CENTRE_BELOW_EYES = 0.1
"""The crop's centre lies this part of the way from the eyes to the mouth."""
BORDER = 0.1
"""Context kept around the square, in sides; a square closer than this to the frame is padded."""
MIN_BORDER_PX = 3
BORDER_TOLERANCE_PX = 4
PADDING = 0.3
"""Least mirror padding on each of the four sides, in sides."""
BLUR_SIGMA = 0.02
"""Standard deviation of the blur of padded pixels, in sides."""
SHRINK_SIDES = 0.5
"""A crop is reduced first by the integer below this times its side in output sizes: from 4096 px for 1024 on."""

MIN_SIZE, MAX_SIZE = 16, 4096
MIN_SIDE_PX = 8.0
"""Below this a face has less than two pixels between its eyes."""
MIN_COVERED = 0.2
"""Least part of the square that the picture must cover. A picture that holds no more than a face's bounding box covers
about 0.4, half of such a face 0.2; below that the crop is mostly mirror images of itself."""
COVERAGE_GRID = 64
WARP_REACH_PX = 6
"""Pixels around the square that resampling reads: 3 for Lanczos, 2 for smoothing and bilinear, 1 for half pixels."""
SHRINK_REACH_PX = 4
"""Reduced pixels around a part that its Lanczos reduction reads: 3, and 1 for the odd scale of odd sizes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recipe:
    """The reference recipe's intermediate geometry; its names follow its order of operations."""

    shrink: int
    """k: the picture is first reduced k times, 1 if it is not."""
    shrunk_size: tuple[int, int]
    """(height, width) after that."""
    border: int
    """Pixels kept around the square, in the shrunk picture."""
    crop: Box
    """Part of the shrunk picture that is kept."""
    upscale: int
    """s: the power of two by which the kept part is enlarged, 1 if it is not."""
    side: float
    """Side of the square in the enlarged part, in pixels."""
    raw_padding: Box
    """(left, top, right, bottom) pixels by which square and border stick out of the enlarged part."""
    padding: Box
    """Mirror padding in enlarged pixels; zeros where none is needed."""
    sigma: float
    """Blur of the padded pixels, in enlarged pixels."""
    canvas_size: tuple[int, int]
    """(height, width) of the enlarged and padded part, from which the square is sampled."""
    canvas_quad: Float64[np.ndarray, "4 2"]
    """The square's corners in the canvas, where (0, 0) is the outer corner of the first pixel."""

    @property
    def padded(self) -> bool:
        """Whether the square or its border leaves the picture."""
        return any(self.padding)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CropPlan:
    """What one crop needs from its picture. Small: send it to the worker that restores and renders the pixels."""

    quad: Float64[np.ndarray, "4 2"]
    """Corners NW, SW, SE, NE of the square in the picture, in the recipe's frame (landmarks + 0.5)."""
    side: float
    """Side of the square, in source pixels."""
    zoom: float
    """Output pixels per source pixel."""
    box: Box
    """The source pixels that `render_crop` wants: left, top, right, bottom within the picture."""
    part: Box
    """The same after the recipe's first reduction, in pixels of the reduced picture; `box` if there is none."""
    padded: bool
    """Whether mirrored and blurred pixels are seen by the crop."""
    size: int
    """Height and width of the crop."""
    mode: Mode
    image_size: tuple[int, int]
    """(height, width) of the whole picture."""
    recipe: Recipe


def crop_quad(landmarks: Float[np.ndarray, "5 2"]) -> Float64[np.ndarray, "4 2"]:
    """Return the corners NW, SW, SE, NE of the oriented square around a face.

    Appendix C of Karras et al. 2018, with the half pixel that the reference adds to the landmarks.

    Args:
        landmarks: left eye, right eye, nose, left and right mouth corner in pixels, CelebA's convention.

    Raises:
        ValueError: if the landmarks are not five finite points.
        Refused: if they span no square.
    """
    centre, direction, side = _oriented_square(_checked_landmarks(landmarks))
    right = direction * (side / 2)
    down = _quarter_turn(right)
    return np.stack([centre - right - down, centre - right + down, centre + right + down, centre + right - down])


def crop_side(landmarks: Float[np.ndarray, "5 2"]) -> float:
    """Return the side of the square of `crop_quad`, in source pixels; same errors."""
    return _oriented_square(_checked_landmarks(landmarks))[2]


def plan_crop(
    landmarks: Float[np.ndarray, "5 2"],
    image_size: tuple[int, int],
    size: int = 1024,
    mode: Mode = "accurate",
) -> CropPlan:
    """Work out which pixels of a picture a face's crop needs, and how it will be rendered.

    Args:
        landmarks: five points (x, y) in CelebA's order and convention.
        image_size: (height, width) of the picture.
        size: height and width of the crop, 16..4096.
        mode: "exact", "accurate" or "fast", see `hqdata.align.crop_face`.

    Raises:
        ValueError: for wrong shapes, sizes or modes.
        Refused: if the landmarks span no square, one below 8 px, or one that the picture covers by less than a fifth.
    """
    _check_request(image_size, size, mode)
    quad, side = crop_quad(landmarks), crop_side(landmarks)
    _check_square(quad, side, image_size)
    recipe = recipe_geometry(quad, side, image_size, size)
    part = recipe.crop if mode == "exact" or recipe.padded else _warp_part(recipe, quad)
    return CropPlan(
        quad=quad,
        side=side,
        zoom=size / side,
        box=_source_box(recipe, part, image_size, mode),
        part=part,
        padded=recipe.padded,
        size=size,
        mode=mode,
        image_size=image_size,
        recipe=recipe,
    )


def recipe_geometry(quad: Float64[np.ndarray, "4 2"], side: float, image_size: tuple[int, int], size: int) -> Recipe:
    """Return the reference recipe's numbers for one square of known side; no errors of its own, see `plan_crop`."""
    shrink = max(int(np.floor(SHRINK_SIDES * side / size)), 1)
    shrunk_size = image_size
    if shrink > 1:
        shrunk_size = (_rounded(image_size[0] / shrink), _rounded(image_size[1] / shrink))
    quad, side = quad / shrink, side / shrink

    border = max(_rounded(BORDER * side), MIN_BORDER_PX)
    crop = _clipped(_outer_box(quad, border), shrunk_size)
    upscale = max(2 ** int(np.ceil(np.log2(size / side))), 1) if side < size else 1
    quad, side = (quad - crop[:2]) * upscale, side * upscale
    height, width = (crop[3] - crop[1]) * upscale, (crop[2] - crop[0]) * upscale

    left, top, right, bottom = _outer_box(quad, border)
    raw_padding = (max(-left, 0), max(-top, 0), max(right - width, 0), max(bottom - height, 0))
    least = _rounded(PADDING * side) if max(raw_padding) > border - BORDER_TOLERANCE_PX else 0
    padding = _at_least(raw_padding, least) if least else (0, 0, 0, 0)
    return Recipe(
        shrink=shrink,
        shrunk_size=shrunk_size,
        border=border,
        crop=crop,
        upscale=upscale,
        side=side,
        raw_padding=raw_padding,
        padding=padding,
        sigma=BLUR_SIGMA * side,
        canvas_size=(height + padding[1] + padding[3], width + padding[0] + padding[2]),
        # The recipe's second half pixel, added after enlarging: half an enlarged pixel, not half a source pixel.
        canvas_quad=quad + padding[:2] + 0.5,
    )


def _oriented_square(points: Float64[np.ndarray, "5 2"]) -> tuple[np.ndarray, np.ndarray, float]:
    """The square's centre, the unit vector along its top side, and its side."""
    left_eye, right_eye, _, left_mouth, right_mouth = points
    eyes = (left_eye + right_eye) / 2 + 0.5
    mouth = (left_mouth + right_mouth) / 2 + 0.5
    across, down = right_eye - left_eye, mouth - eyes
    right = across - _quarter_turn(down)
    length = float(np.hypot(*right))
    if length <= 1e-9 * float(np.hypot(*across) + np.hypot(*down)):
        raise Refused("align", f"the eyes and the mouth span no square: {points.tolist()}")
    return eyes + CENTRE_BELOW_EYES * down, right / length, side_from_spans(across, down)


def side_from_spans(eye_to_eye: Float64[np.ndarray, 2], eye_to_mouth: Float64[np.ndarray, 2]) -> float:
    """Return the square's side: s = max(4.0 |x'|, 3.6 |y'|) of appendix C, from any two vectors."""
    return max(EYES_TO_SIDE * float(np.hypot(*eye_to_eye)), EYES_TO_MOUTH_TO_SIDE * float(np.hypot(*eye_to_mouth)))


def _quarter_turn(vector: Float64[np.ndarray, " 2"]) -> Float64[np.ndarray, " 2"]:
    """Clockwise as seen on screen, where y points down."""
    return np.array([-vector[1], vector[0]])


def _checked_landmarks(landmarks: Float[np.ndarray, "5 2"]) -> Float64[np.ndarray, "5 2"]:
    points = np.asarray(landmarks)
    if points.shape != (5, 2) or points.dtype.kind not in "fiu":
        raise ValueError(
            f"landmarks must be five (x, y) numbers of shape (5, 2), got shape {points.shape}, dtype {points.dtype}; "
            "give left eye, right eye, nose, left mouth corner, right mouth corner"
        )
    points = points.astype(np.float64)
    if not np.isfinite(points).all():
        raise ValueError(f"landmarks must be finite, got {points.tolist()}; drop faces without all five points")
    return points


def _check_request(image_size: tuple[int, int], size: int, mode: str) -> None:
    if len(image_size) != 2 or min(image_size) < 1:
        raise ValueError(f"image_size must be (height, width) of at least 1 px, got {image_size}")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be {MIN_SIZE}..{MAX_SIZE} px, got {size}")
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")


def _check_square(quad: Float64[np.ndarray, "4 2"], side: float, image_size: tuple[int, int]) -> None:
    if side < MIN_SIDE_PX:
        raise Refused("align", f"the crop would be {side:.1f} px wide in the picture, less than {MIN_SIDE_PX:g}")
    covered = float(_inside(quad, image_size).mean())
    if covered < MIN_COVERED:
        height, width = image_size
        raise Refused(
            "align", f"the picture of {width}x{height} px covers {covered:.0%} of the crop, less than {MIN_COVERED:.0%}"
        )


def _inside(quad: Float64[np.ndarray, "4 2"], image_size: tuple[int, int]) -> Bool[np.ndarray, "n n"]:
    """Which points of a regular grid over the square lie in the picture."""
    steps = (np.arange(COVERAGE_GRID) + 0.5) / COVERAGE_GRID
    points = quad[0] + steps[:, None, None] * (quad[1] - quad[0]) + steps[None, :, None] * (quad[3] - quad[0])
    return ((points >= 0) & (points < [image_size[1], image_size[0]])).all(axis=-1)


def _warp_part(recipe: Recipe, quad: Float64[np.ndarray, "4 2"]) -> Box:
    """What one warp reads where nothing is padded: the square and its reach."""
    return _common(_outer_box(quad / recipe.shrink, WARP_REACH_PX), recipe.crop)


def _source_box(recipe: Recipe, part: Box, image_size: tuple[int, int], mode: Mode) -> Box:
    """The pixels of the whole picture from which `part` of the reduced one is made."""
    height, width = image_size
    if recipe.shrink == 1:
        return part
    if mode == "exact":  # Pillow computes the same bits only from the whole picture
        return 0, 0, width, height
    scale = np.array([width / recipe.shrunk_size[1], height / recipe.shrunk_size[0]])
    corners = np.array([part[:2], part[2:]]) * scale
    return _clipped(_outer_box(corners, SHRINK_REACH_PX * recipe.shrink), image_size)


def _outer_box(points: Float64[np.ndarray, "n 2"], border: int) -> Box:
    left, top = np.floor(points.min(axis=0)).astype(int) - border
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + border
    return int(left), int(top), int(right), int(bottom)


def _clipped(box: Box, image_size: tuple[int, int]) -> Box:
    return _common(box, (0, 0, image_size[1], image_size[0]))


def _common(box: Box, other: Box) -> Box:
    return max(box[0], other[0]), max(box[1], other[1]), min(box[2], other[2]), min(box[3], other[3])


def _at_least(box: Box, least: int) -> Box:
    return max(box[0], least), max(box[1], least), max(box[2], least), max(box[3], least)


def _rounded(value: float) -> int:
    return int(np.rint(value))
