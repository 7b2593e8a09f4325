"""Random patches of the training photos, the same ones for the same seed and step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from hqdata.pixels import to_tensor

__all__ = ["PhotoPool", "draw_pairs", "to_batch"]

Image8 = UInt8[np.ndarray, "h w 3"]


class PhotoPool:
    """Photos in memory; patches are drawn in proportion to area.

    Args:
        folder: PNG files as `hqdata.restore.photos` writes them; read in the order of their names.

    Raises:
        ValueError: when the folder holds no PNG file.
    """

    def __init__(self, folder: Path) -> None:
        self.photos = [_read(path) for path in sorted(folder.glob("*.png"))]
        if not self.photos:
            raise ValueError(f"{folder} holds no .png; run `python -m hqdata.restore.photos` first")
        areas = np.array([photo.shape[0] * photo.shape[1] for photo in self.photos], np.float64)
        self._shares = areas / areas.sum()

    def draw(self, size: int, rng: np.random.Generator) -> Image8:
        """Return a square patch, mirrored and turned at random, as a contiguous array."""
        photo = self.photos[rng.choice(len(self.photos), p=self._shares)]
        top = int(rng.integers(0, photo.shape[0] - size + 1))
        left = int(rng.integers(0, photo.shape[1] - size + 1))
        patch = photo[top : top + size, left : left + size]
        turned = np.rot90(patch[:, ::-1] if rng.random() < 0.5 else patch, int(rng.integers(4)))
        return np.ascontiguousarray(turned)


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
