"""The reference recipe for one crop, operation by operation; slow, and the yardstick of the faster modes.

Karras et al. 2018, appendix C, in the order of the published data set: shrink, crop, enlarge, pad and blur, sample at
four times the output's size, reduce. Enlarging stands in for super-resolution; pictures that a network has enlarged
already arrive with more pixels and are enlarged less or not at all.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from scipy import ndimage

from hqdata.crop_plan import Box, CropPlan, Recipe

__all__ = ["blur_weight", "padding_mask", "render_exact"]

OVERSAMPLING = 4


def render_exact(pixels: UInt8[np.ndarray, "h w 3"], plan: CropPlan) -> UInt8[np.ndarray, "size size 3"]:
    """Return the reference recipe's crop, pixel for pixel.

    About 0.7 s for 1024 px, up to 20 s and 50 bytes per canvas pixel where padding is needed.

    Args:
        pixels: the picture's pixels within `plan.box`.
        plan: from `plan_crop(..., mode="exact")`.
    """
    recipe = plan.recipe
    canvas = Image.fromarray(_enlarged(pixels, recipe))
    if recipe.padded:
        canvas = Image.fromarray(pad_and_fade(np.asarray(canvas), recipe.padding, recipe.sigma))
    large = OVERSAMPLING * plan.size
    corners = tuple(recipe.canvas_quad.ravel().tolist())
    sampled = canvas.transform((large, large), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return np.asarray(sampled.resize((plan.size, plan.size), Image.Resampling.LANCZOS))


def pad_and_fade(part: UInt8[np.ndarray, "h w 3"], padding: Box, sigma: float) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Extend a picture by mirroring; blur what was added, and fade it to the median colour at the outer edge."""
    left, top, right, bottom = padding
    canvas = np.pad(part.astype(np.float32), ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = canvas.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    mask = padding_mask(x, y, canvas_size=(height, width), padding=padding)[:, :, None]
    blurred = ndimage.gaussian_filter(canvas, (sigma, sigma, 0))
    canvas += (blurred - canvas) * blur_weight(mask)
    canvas += (np.median(canvas, axis=(0, 1)) - canvas) * np.clip(mask, 0.0, 1.0)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def padding_mask(
    x: Float32[np.ndarray, " w"], y: Float32[np.ndarray, " h"], *, canvas_size: tuple[int, int], padding: Box
) -> Float32[np.ndarray, "h w"]:
    """Return 1 at the canvas's outer pixels, 0 at those of the picture in it, and less than 0 inside.

    Args:
        x: columns of the canvas, as pixel indices.
        y: rows of the canvas.
        canvas_size: (height, width) of the padded canvas.
        padding: (left, top, right, bottom) of it that are padding.
    """
    height, width = canvas_size
    left, top, right, bottom = padding
    across = np.minimum(x / left, (width - 1 - x) / right)
    down = np.minimum(y / top, (height - 1 - y) / bottom)
    return 1 - np.minimum(across[None, :], down[:, None])


def blur_weight(mask: Float32[np.ndarray, " ..."]) -> Float32[np.ndarray, " ..."]:
    """Return 1 in the padding, falling to 0 at a third of the padding's width inside the picture."""
    return np.clip(3 * mask + 1, 0.0, 1.0)


def _enlarged(pixels: UInt8[np.ndarray, "h w 3"], recipe: Recipe) -> UInt8[np.ndarray, "h2 w2 3"]:
    picture = Image.fromarray(pixels)
    if recipe.shrink > 1:
        height, width = recipe.shrunk_size
        picture = picture.resize((width, height), Image.Resampling.LANCZOS).crop(recipe.crop)
    if recipe.upscale > 1:
        larger = (picture.width * recipe.upscale, picture.height * recipe.upscale)
        picture = picture.resize(larger, Image.Resampling.LANCZOS)
    return np.asarray(picture)
