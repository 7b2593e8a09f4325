"""Random patches of the training photos, the same ones for the same seed and step."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from hqdata.pixels import to_tensor

__all__ = ["PhotoPool", "draw_pairs", "to_batch"]

_LOGGER = logging.getLogger(__name__)

Image8 = UInt8[np.ndarray, "h w 3"]
CANDIDATES = 5
"""Patches that `draw_detailed` chooses from. Of area-random ones of the recipe's photos a quarter carries two thirds of
the error of bicubic enlargement."""


class PhotoPool:
    """Photos in memory; patches are drawn in proportion to area.

    Args:
        folder: PNG files as `recipe.prepare` or `photos.prepare_own` write them; read in the order of their names.
        least_side: photos with a shorter side are left out, with a warning that names them.

    Raises:
        ValueError: when the folder holds no PNG file that is large enough.
    """

    def __init__(self, folder: Path, *, least_side: int = 1) -> None:
        read = {path.name: _read(path) for path in sorted(folder.glob("*.png"))}
        self.photos = {name: photo for name, photo in read.items() if min(photo.shape[:2]) >= least_side}
        for name in read.keys() - self.photos.keys():
            _LOGGER.warning("%s: left out, since a side is shorter than %d pixels", folder / name, least_side)
        if not self.photos:
            raise ValueError(
                f"{folder} holds no .png with sides of at least {least_side} pixels; prepare larger photos there,"
                " or train with smaller patches"
            )
        self._photos = list(self.photos.values())
        areas = np.array([photo.shape[0] * photo.shape[1] for photo in self._photos], np.float64)
        self._shares = areas / areas.sum()
        _LOGGER.info("%d photos, %.1f megapixels", len(self._photos), areas.sum() / 1e6)

    def digests(self) -> dict[str, str]:
        """Return the sha256 of every photo's pixels, by file name."""
        return {name: hashlib.sha256(photo.tobytes()).hexdigest() for name, photo in self.photos.items()}

    def draw(self, size: int, rng: np.random.Generator) -> Image8:
        """Return a square patch, mirrored and turned at random, as a contiguous array."""
        photo = self._photos[rng.choice(len(self._photos), p=self._shares)]
        top = int(rng.integers(0, photo.shape[0] - size + 1))
        left = int(rng.integers(0, photo.shape[1] - size + 1))
        patch = photo[top : top + size, left : left + size]
        turned = np.rot90(patch[:, ::-1] if rng.random() < 0.5 else patch, int(rng.integers(4)))
        return np.ascontiguousarray(turned)

    def draw_detailed(self, size: int, rng: np.random.Generator) -> Image8:
        """Return the patch with the most detail of `CANDIDATES` drawn: skies and blurred grounds teach little."""
        return max((self.draw(size, rng) for _ in range(CANDIDATES)), key=_detail)


def _detail(image: Image8) -> float:
    """Return the mean absolute difference of neighbouring pixels' green."""
    green = image[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


def draw_pairs(
    draw_one: Callable[[np.random.Generator], tuple[Image8, Image8]], batch: int, rng: np.random.Generator
) -> tuple[Float32[Tensor, "n 3 h w"], Float32[Tensor, "n 3 k l"]]:
    """Return `batch` (target, input) pairs in [-1, 1]."""
    pairs = [draw_one(rng) for _ in range(batch)]
    return to_batch([target for target, _ in pairs]), to_batch([given for _, given in pairs])


def to_batch(images: list[Image8]) -> Float32[Tensor, "n 3 h w"]:
    """Return uint8 pictures of one size as one batch in [-1, 1]."""
    return torch.cat([to_tensor(image) for image in images]).contiguous(memory_format=torch.channels_last)


def _read(path: Path) -> Image8:
    with Image.open(path) as opened:
        return np.array(opened.convert("RGB"))
