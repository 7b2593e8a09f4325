"""Sample sheets: input, result and target of a few patches beside each other, to be looked at."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from hqdata.pixels import to_image
from hqdata.training.checkpoint import Average

__all__ = ["SHEET_PATCHES", "run_averaged", "sheet", "sheet_generator"]

SHEET_PATCHES = 6


def sheet_generator(seed: int) -> np.random.Generator:
    """Return the source of the sheet's patches, which no training step draws from."""
    return np.random.default_rng([seed, 0, 1])


@torch.no_grad()
def run_averaged(network: nn.Module, average: Average, given: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 k l"]:
    """Return what the network with the averaged weights makes of the pictures; the network is left as it is."""
    return torch.func.functional_call(network, dict(average.values), given)


def sheet(
    *,
    given: Float32[Tensor, "n 3 h w"],
    result: Float32[Tensor, "n 3 k l"],
    target: Float32[Tensor, "n 3 k l"],
) -> UInt8[np.ndarray, "height width 3"]:
    """Return one row a picture: input, with its pixels repeated where it is smaller, result, target."""
    scale = target.shape[-1] // given.shape[-1]
    shown = given.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    rows = [
        np.concatenate([to_image(picture[None]) for picture in row], axis=1)
        for row in zip(shown, result, target, strict=True)
    ]
    return np.concatenate(rows)
