"""Colours that a network must leave alone: a grey photo stays grey, an enlarged picture keeps its mean colours.

Networks that sharpen shift colours a little, and one that was trained on colour photos tints grey ones. Restorers keep
their shift: with a compressed photo, putting the means right is part of what they are for.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor
from torch.nn import functional

__all__ = ["COLOUR_REACH", "is_grey", "keep_mean_colours", "to_grey"]

WINDOW = 5
"""Side in input pixels of the square over which mean colours are kept. Squares of 5 to 17 gave the same PSNR to 0.01 dB
and 5 costs the least margin; 1 and 3 bring a compressed input's artefacts back."""
COLOUR_REACH = WINDOW // 2 + 1
"""How many input pixels beyond its own reach a network's output counts for a pixel."""


def is_grey(planes: Shaped[np.ndarray, "3 h w"]) -> bool:
    """Return whether the three colours are equal in every pixel; a colour photo is mostly told by every 64th row."""
    red, green, blue = planes
    return all(
        np.array_equal(red[rows], other[rows])
        for rows in (slice(None, None, 64), slice(None))
        for other in (green, blue)
    )


def to_grey(picture: Float32[Tensor, "1 3 h w"]) -> Float32[Tensor, "1 3 h w"]:
    """Return each pixel's mean over the colours, three times; where they are equal already, nothing changes."""
    red, green, blue = picture.split(1, dim=1)
    return (green + ((red - green) + (blue - green)) / 3).expand(picture.shape)


def keep_mean_colours(
    enlarged: Float32[Tensor, "1 3 s*h s*w"], picture: Float32[Tensor, "1 3 h w"]
) -> Float32[Tensor, "1 3 s*h s*w"]:
    """Return the enlarged picture with the picture's own colours wherever one averages over a few pixels.

    The difference between the picture and the enlarged one reduced to its size is averaged over a square and added
    smoothly. Detail finer than that square stays as the network made it.

    Args:
        enlarged: s times as large as the picture, float32 in [-1, 1].
        picture: what was enlarged.
    """
    scale = enlarged.shape[-1] // picture.shape[-1]
    difference = picture - functional.avg_pool2d(enlarged, scale)
    continued = functional.pad(difference, (COLOUR_REACH,) * 4, mode="replicate")
    smooth = functional.conv2d(continued, _mean_then_bilinear(scale).to(picture.device), groups=3)
    return enlarged + functional.pixel_shuffle(smooth, scale)


@functools.cache
def _mean_then_bilinear(scale: int) -> Float32[Tensor, "3*s*s 1 k k"]:
    """Return one kernel per colour and output phase: mean over the window, then bilinear enlargement.

    One convolution, because torch's own interpolation gives other bits for another number of threads.
    """
    centres = (np.arange(scale) + 0.5) / scale - 0.5
    bilinear = np.maximum(0.0, 1.0 - np.abs(np.arange(-1, 2) - centres[:, None]))
    taps = np.stack([np.convolve(row, np.full(WINDOW, 1 / WINDOW)) for row in bilinear])
    kernels = np.einsum("ay,bx->abyx", taps, taps).reshape(scale**2, 1, taps.shape[1], taps.shape[1])
    return torch.from_numpy(np.tile(kernels, (3, 1, 1, 1)).astype(np.float32))
