"""What a web photo has been through: JPEG once or twice, blur, noise, a smaller size; drawn from a numpy Generator.

Equal generators give equal pictures, on one version of Pillow: its JPEG encoder is part of the recipe.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter
from scipy import ndimage

__all__ = ["BORDER", "add_grain", "add_noise", "blur", "draw_jpeg", "jpeg", "shrink"]

Image8 = UInt8[np.ndarray, "h w 3"]
Subsampling = Literal["4:4:4", "4:2:0"]

BORDER = 16
"""Pixels that `draw_jpeg` needs around a patch, in sum of both sides, to place two JPEG grids at random."""
GRID = 8
CLEAN_SHARE = 0.15
TWICE_SHARE = 0.3
COLOUR_HALVED_SHARE = 0.7
GREY_SHARE = 0.1
MILD_SHARE = 0.4
"""Of the compressions have a quality within `MILD_RANGE` of the best: good photos are many, and easily harmed."""
MILD_RANGE = 20


def jpeg(image: Image8, quality: int, subsampling: Subsampling = "4:2:0") -> Image8:
    """Return the picture after one JPEG round trip.

    Args:
        image: uint8 RGB.
        quality: 1..100 as Pillow (libjpeg) counts.
        subsampling: of the colour planes.

    Raises:
        ValueError: when `quality` is out of range.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be within 1..100, got {quality}")
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality, subsampling=subsampling)
    with Image.open(stream) as decoded:
        return np.asarray(decoded.convert("RGB"))


def blur(image: Image8, sigma: float) -> Image8:
    """Return the picture blurred by a Gaussian of `sigma` pixels (Pillow's approximation by box filters)."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma)))


def add_noise(image: Image8, sigma: float, rng: np.random.Generator) -> Image8:
    """Return the picture with independent Gaussian noise of `sigma` grey levels, rounded and clipped to 0..255."""
    noisy = image + rng.normal(0.0, sigma, size=image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def add_grain(image: Image8, rng: np.random.Generator, *, weakest: float = 0.5, strongest: float = 5.0) -> Image8:
    """Return the picture with film-like grain of random strength, softness and colour.

    Half the time the grain is grey, as in scans, and half the time neighbouring pixels share it, as after a camera's
    demosaicing; its standard deviation is drawn between `weakest` and `strongest` grey levels.
    """
    planes = 1 if rng.random() < 0.5 else 3
    noise = rng.normal(size=(*image.shape[:2], planes)).astype(np.float32)
    if rng.random() < 0.5:
        sigma = float(rng.uniform(0.4, 1.2))
        noise = ndimage.gaussian_filter(noise, (sigma, sigma, 0.0), mode="wrap")
    noise *= float(rng.uniform(weakest, strongest)) / float(noise.std())
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def shrink(image: Image8, factor: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Image8:
    """Return the picture `factor` times smaller, with Pillow's anti-aliased filter.

    Raises:
        ValueError: when a side is not a multiple of `factor`, since pixels would then not line up.
    """
    height, width = image.shape[:2]
    if height % factor or width % factor:
        raise ValueError(f"image sides must be multiples of {factor}, got {height} x {width}; crop it first")
    return np.asarray(Image.fromarray(image).resize((width // factor, height // factor), resample))


def draw_jpeg(
    patch: Image8, rng: np.random.Generator, *, worst: int = 8, best: int = 98, clean_share: float = CLEAN_SHARE
) -> tuple[Image8, Image8]:
    """Return (clean, degraded) cuts of `patch`, `BORDER` pixels smaller than it, with random compression.

    A share of pictures stays clean, so that the network learns to leave good photos alone; a share is compressed twice
    with the grid moved in between, as re-uploaded photos are. The grid's place is random in all cases.

    Args:
        patch: uint8 RGB with `BORDER` more rows and columns than wanted.
        rng: source of every choice.
        worst: lowest JPEG quality.
        best: highest JPEG quality.
        clean_share: probability of no compression.
    """
    size = (patch.shape[0] - BORDER, patch.shape[1] - BORDER)
    if rng.random() < GREY_SHARE:
        patch = np.asarray(Image.fromarray(patch).convert("L").convert("RGB"))
    first, second = rng.integers(0, GRID, 2), rng.integers(0, GRID, 2)
    top, left = int(first[0] + second[0]), int(first[1] + second[1])
    clean = patch[top : top + size[0], left : left + size[1]]
    if rng.random() < clean_share:
        return clean, clean
    inner = patch
    if rng.random() < TWICE_SHARE:
        inner = _drawn_round_trip(inner, rng, worst=worst, best=best)
    inner = _drawn_round_trip(inner[first[0] :, first[1] :], rng, worst=worst, best=best)
    return clean, inner[second[0] : second[0] + size[0], second[1] : second[1] + size[1]]


def _drawn_round_trip(image: Image8, rng: np.random.Generator, *, worst: int, best: int) -> Image8:
    subsampling: Subsampling = "4:2:0" if rng.random() < COLOUR_HALVED_SHARE else "4:4:4"
    lowest = max(worst, best - MILD_RANGE) if rng.random() < MILD_SHARE else worst
    return jpeg(np.ascontiguousarray(image), int(rng.integers(lowest, best + 1)), subsampling)
