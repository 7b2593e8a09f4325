"""How pictures become what one network wants to see: square, of its size, in its range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from metrics.features.resizing import RESIZERS

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Preparation"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the training pictures' channels in [0, 1], as torchvision's networks are trained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """(level / 255 - mean) / std of the resized picture; called with uint8, it returns float32."""

    side: int
    """Pixels along both sides of what the network sees."""
    resize: str
    """One of `metrics.features.resizing.RESIZERS`."""
    mean: tuple[float, float, float]
    """Of red, green and blue in [0, 1]."""
    std: tuple[float, float, float]
    """Likewise."""
    square: Literal["squeeze", "crop"] = "squeeze"
    """What happens to pictures that are not square: seen whole, out of proportion; or their middle square alone."""

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError(f"side must be at least 1 pixel, got {self.side}")
        if self.resize not in RESIZERS:
            raise ValueError(f"resize must be one of {', '.join(RESIZERS)}, got {self.resize!r}")
        if self.square not in ("squeeze", "crop"):
            raise ValueError(f"square must be 'squeeze' or 'crop', got {self.square!r}")
        if len(self.mean) != 3 or not all(0 <= value <= 1 for value in self.mean):
            raise ValueError(f"mean must be three numbers in [0, 1], got {self.mean}; divide grey levels by 255")
        if len(self.std) != 3 or not all(0 < value <= 1 for value in self.std):
            raise ValueError(f"std must be three numbers in (0, 1], got {self.std}; divide grey levels by 255")

    def __call__(self, images: UInt8[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 side side"]:
        """Return prepared pictures on the same device, channels last in memory."""
        square = images if self.square == "squeeze" else _middle(images)
        return self.normalised(RESIZERS[self.resize](square, self.side, self.side))

    def normalised(self, levels: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 h w"]:
        """Return levels 0..255 of any size in the network's range, channels last in memory."""
        scale = torch.tensor([1 / (255 * std) for std in self.std])
        shift = torch.tensor([mean / std for mean, std in zip(self.mean, self.std, strict=True)])
        prepared = levels * scale.to(levels.device)[:, None, None] - shift.to(levels.device)[:, None, None]
        return prepared.contiguous(memory_format=torch.channels_last)

    def describe(self) -> str:
        """Return all of it on one line, for a protocol string."""
        normalisation = f"(level - {_levels(self.mean)}) / {_levels(self.std)}"
        return f"{self.square} to {self.side}x{self.side} by {self.resize}, {normalisation}"


def _middle(images: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 s s"]:
    """Return the middle square; an odd pixel stays at the right and at the bottom, as in CMMD's code."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, :, top : top + side, left : left + side]


def _levels(values: tuple[float, float, float]) -> str:
    levels = [f"{255 * value:.6g}" for value in values]
    return levels[0] if len(set(levels)) == 1 else f"[{' '.join(levels)}]"
