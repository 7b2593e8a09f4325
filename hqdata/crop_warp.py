"""One-pass crops: the reference recipe's square, sampled straight at the output's size.

Padding is worked out in output space, where the recipe's distances to the frame are affine and its blur has the same
width for every face: mirrored pixels come from the sampler, the blur from a reduced copy, the median from a small one.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from hqdata.crop_exact import blur_weight, padding_mask
from hqdata.crop_plan import BLUR_SIGMA, CropPlan
from hqdata.crop_sample import Affine, Pixels, denser, enlarge, equalise, sample, sample_reduced, shifted

__all__ = ["render_warped"]

TRUNCATION = 0.48
"""The recipe's bilinear step drops fractions: half a level on average, nothing on flat areas (hence not 0.5)."""
MEDIAN_SIDE_PX = {"accurate": 256, "fast": 96}
"""Side of the crop's square in the copy that the median colour is taken from."""
BLUR_REACH = 4
"""Standard deviations at which the Gaussian is cut off."""
LEAST_SIGMA_PX = 4
"""A blurred copy is reduced only as far as this."""
LEAST_SIZE_OF_COARSE_MIRROR = 512
LEAST_SIZE_OF_SPARSE_BLUR = 160
"""Below this the blur is narrower than about three output pixels, and is worked out on a denser grid."""
LARGEST_DENSE_SIZE = 256
"""Largest crop for which sixteen samples per pixel are taken; at 1024 px they would cost half of `exact`."""
SAMPLER_REACH_PX = 3
"""Pixels beyond an index that cubic interpolation and smoothing read."""


def render_warped(pixels: Pixels, plan: CropPlan) -> UInt8[np.ndarray, "size size 3"]:
    """Return the crop in mode "accurate" or "fast", from the pixels within `plan.box`."""
    part = np.ascontiguousarray(_shrunk(pixels, plan) if plan.recipe.shrink > 1 else pixels)
    factor, cubic = _enlargement(plan)
    margin = _blur_margin(plan.size) if plan.padded else 0
    canvas, grid = _mirrored(enlarge(part, factor), _grid(plan, factor), (-margin, plan.size - 1 + margin))
    crop = _sampled(canvas, grid, plan, cubic)
    crop -= np.float32(TRUNCATION)
    if plan.padded:
        # Blurred pixels are flat more often, so that the truncation takes about half as much from them.
        half = np.float32(TRUNCATION / 2)
        _fade(crop, _blurred(canvas, grid, plan.size) - half, _median_colour(part, plan) - half, plan)
    return cv2.convertScaleAbs(np.maximum(crop, 0, out=crop))  # rounds half to even and clips at 255


def _sampled(canvas: Pixels, grid: Affine, plan: CropPlan, cubic: bool) -> np.ndarray:
    """One sample per output pixel where the enlarged canvas is smooth enough for that, four or sixteen elsewhere.

    Small crops take sixteen, which costs them little: dot screens and noise then stay as the recipe has them.
    """
    small = plan.size <= LARGEST_DENSE_SIZE
    if small or plan.recipe.upscale == 1:
        return sample_reduced(canvas, grid, plan.size, sharp=small or plan.recipe.shrink > 1)
    crop = sample(canvas.astype(np.float32, copy=False), grid, plan.size, cubic=cubic)
    return equalise(crop) if plan.recipe.upscale == 2 else crop


def _enlargement(plan: CropPlan) -> tuple[int, bool]:
    """By how much to enlarge, and whether to interpolate cubically then; "accurate" enlarges as the recipe does.

    "fast" enlarges half as much, which costs a quarter: 52 dB with linear interpolation from eight times on, 50 dB with
    cubic interpolation below. It moves the mirror's axis by a quarter pixel, too much for small padded crops.
    """
    upscale = plan.recipe.upscale
    faithful_mirror = plan.padded and plan.size < LEAST_SIZE_OF_COARSE_MIRROR
    if plan.mode == "accurate" or upscale <= 2 or faithful_mirror or plan.size <= LARGEST_DENSE_SIZE:
        return upscale, False
    return upscale // 2, upscale == 4


def _mirrored(canvas: Pixels, grid: Affine, span: tuple[int, int]) -> tuple[Pixels, Affine]:
    """The canvas with mirrored pixels wherever the grid's indices in `span` reach beyond it.

    Mirroring once is several times faster than letting the sampler do it pixel by pixel.
    """
    corners = np.array([[x, y, 1.0] for x in span for y in span]) @ grid.T
    left, top = (int(max(np.ceil(-low) + SAMPLER_REACH_PX, 0)) for low in corners.min(axis=0))
    high = corners.max(axis=0)
    right = int(max(np.ceil(high[0]) + SAMPLER_REACH_PX - canvas.shape[1], 0))
    bottom = int(max(np.ceil(high[1]) + SAMPLER_REACH_PX - canvas.shape[0], 0))
    if left or top or right or bottom:
        canvas = cv2.copyMakeBorder(canvas, top, bottom, left, right, cv2.BORDER_REFLECT_101)
    return canvas, np.column_stack([grid[:, :2], grid[:, 2] + [left, top]])


def _shrunk(pixels: Pixels, plan: CropPlan) -> Pixels:
    """The reduced picture's pixels within `plan.part`, as reducing the whole picture would give them."""
    recipe = plan.recipe
    x_scale = plan.image_size[1] / recipe.shrunk_size[1]
    y_scale = plan.image_size[0] / recipe.shrunk_size[0]
    left, top, right, bottom = plan.part
    box = (
        left * x_scale - plan.box[0],
        top * y_scale - plan.box[1],
        min(right * x_scale - plan.box[0], pixels.shape[1]),
        min(bottom * y_scale - plan.box[1], pixels.shape[0]),
    )
    size = (right - left, bottom - top)
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, box))
    channels = [Image.fromarray(np.ascontiguousarray(pixels[:, :, channel])) for channel in range(3)]
    reduced = [np.asarray(channel.resize(size, Image.Resampling.LANCZOS, box)) for channel in channels]
    return np.clip(np.stack(reduced, axis=-1), 0, 255)


def _grid(plan: CropPlan, factor: int) -> Affine:
    """From the crop's pixel indices to those of `plan.part` enlarged `factor` times."""
    recipe = plan.recipe
    grid = _recipe_grid(plan)
    origin = grid[:, 2] - recipe.padding[:2] + 0.5
    # Edges, not centres, scale: here the recipe's second half pixel becomes half a pixel of the recipe's enlargement.
    origin = (origin / recipe.upscale + recipe.crop[:2] - np.array(plan.part[:2])) * factor - 0.5
    return np.column_stack([grid[:, :2] * (factor / recipe.upscale), origin])


def _recipe_grid(plan: CropPlan) -> Affine:
    """From the crop's pixel indices to those of the recipe's padded canvas."""
    north_west, south_west, _, north_east = plan.recipe.canvas_quad
    x_step, y_step = (north_east - north_west) / plan.size, (south_west - north_west) / plan.size
    return np.column_stack([x_step, y_step, north_west + (x_step + y_step) / 2 - 0.5])


def _fade(
    crop: Float32[np.ndarray, "n n 3"],
    blurred: Float32[np.ndarray, "n n 3"],
    median: Float32[np.ndarray, " 3"],
    plan: CropPlan,
) -> None:
    """Blur the crop's mirrored pixels and fade them to the median colour, in place."""
    mask = _output_mask(plan)
    blur = blur_weight(mask)
    difference = np.subtract(blurred, crop)
    cv2.multiply(difference, cv2.merge([blur, blur, blur]), dst=difference)
    cv2.add(crop, difference, dst=crop)
    # NumPy takes several times as long as OpenCV to spread one weight over three channels.
    fade = np.clip(mask, 0.0, 1.0, out=mask)
    cv2.multiply(crop, cv2.merge([1 - fade] * 3), dst=crop)
    cv2.add(crop, cv2.merge([fade * level for level in median]), dst=crop)


def _output_mask(plan: CropPlan) -> Float32[np.ndarray, "n n"]:
    """`padding_mask` of the recipe's canvas, at the crop's pixels."""
    height, width = plan.recipe.canvas_size
    left, top, right, bottom = plan.recipe.padding
    x, y = _recipe_grid(plan)
    last_x, last_y = np.array([0, 0, width - 1.0]), np.array([0, 0, height - 1.0])
    nearest = np.full((plan.size, plan.size), np.inf, np.float32)
    index = np.arange(plan.size)
    for per_column, per_row, start in (x / left, (last_x - x) / right, y / top, (last_y - y) / bottom):
        across, down = (per_column * index).astype(np.float32), (per_row * index + start).astype(np.float32)
        np.minimum(nearest, down[:, None] + across, out=nearest)
    return np.subtract(1, nearest, out=nearest)


def _blur_reduction(size: int) -> int:
    """By how much a copy may be reduced before it is blurred."""
    sigma = BLUR_SIGMA * size
    return next(r for r in (4, 2, 1) if r == 1 or (size % r == 0 and sigma / r >= LEAST_SIGMA_PX))


def _blur_margin(size: int) -> int:
    reduction = _blur_reduction(size)
    return reduction * int(np.ceil(BLUR_REACH * BLUR_SIGMA * size / reduction))


def _blurred(canvas: Pixels, grid: Affine, size: int) -> Float32[np.ndarray, "n n 3"]:
    """The square blurred by a fixed part of its side, from reduced copies of canvas and square."""
    if size < LEAST_SIZE_OF_SPARSE_BLUR:
        return cv2.resize(_blurred(canvas, denser(grid, 4), 4 * size), (size, size), interpolation=cv2.INTER_AREA)
    margin, reduction, sigma = _blur_margin(size), _blur_reduction(size), BLUR_SIGMA * size
    height, width = (max(length // reduction, 1) for length in canvas.shape[:2])
    small = canvas[: height * reduction, : width * reduction]
    if reduction > 1:
        small = cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA)
        step = float(np.hypot(grid[0, 0], grid[1, 0]))
        # Averaging and interpolating blur as well: variances of 1/12 and 1/6 of a pixel, squared, of either copy.
        sigma = np.sqrt((sigma / reduction) ** 2 - 1 / 4 / step**2 - 1 / 6)
    # The reduced square's pixel (0, 0) is the middle of `reduction` pixels, of which the first lies `margin` outside.
    start = shifted(grid, (reduction - 1) / 2 - margin, (reduction - 1) / 2 - margin)
    start[:, 2] = (start[:, 2] + 0.5) / reduction - 0.5
    square = sample(small.astype(np.float32), start, (size + 2 * margin) // reduction)
    square = _gaussian(square, sigma, cv2.BORDER_REPLICATE)
    if reduction > 1:
        square = cv2.resize(square, (size + 2 * margin, size + 2 * margin), interpolation=cv2.INTER_LINEAR)
    return square[margin : margin + size, margin : margin + size]


def _gaussian(picture: Float32[np.ndarray, "h w 3"], sigma: float, border: int) -> Float32[np.ndarray, "h w 3"]:
    taps = 2 * int(np.ceil(BLUR_REACH * sigma)) + 1
    return cv2.GaussianBlur(picture, (taps, taps), sigma, borderType=border)


def _median_colour(part: Pixels, plan: CropPlan) -> Float32[np.ndarray, " 3"]:
    """The recipe's median colour, from a small copy of its canvas."""
    recipe = plan.recipe
    scale = min(MEDIAN_SIDE_PX[plan.mode] * recipe.upscale / recipe.side, 1.0)
    height, width = (max(round(length * scale), 1) for length in part.shape[:2])
    small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    per_pixel = recipe.upscale / scale
    left, top, right, bottom = (max(round(length / per_pixel), 1) for length in recipe.padding)
    small = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_REFLECT)
    blurred = _gaussian(small, max(recipe.sigma / per_pixel, 0.1), cv2.BORDER_REFLECT)
    # The middle of each small pixel, in the recipe's canvas.
    x = ((np.arange(small.shape[1]) - left + 0.5) * per_pixel + recipe.padding[0] - 0.5).astype(np.float32)
    y = ((np.arange(small.shape[0]) - top + 0.5) * per_pixel + recipe.padding[1] - 0.5).astype(np.float32)
    blur = blur_weight(padding_mask(x, y, canvas_size=recipe.canvas_size, padding=recipe.padding))
    small += (blurred - small) * blur[:, :, None]
    return np.median(small, axis=(0, 1)).astype(np.float32)
