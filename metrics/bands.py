"""Products with banded matrices: short filters with their borders, as a few dense products that any device does well.

A picture of n pixels under a filter of few taps is a matrix of n columns with a narrow band. Cut into blocks of rows,
each block touches a short run of columns, and filtering becomes plain matrix products on slices, borders included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

__all__ = ["Band", "band_of", "down_columns", "full_precision", "over_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    rows: slice
    columns: slice
    weights: Float32[Tensor, "r c"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A matrix whose non-zero weights lie near its diagonal, cut into blocks of rows."""

    length: int
    """Samples that come out."""
    blocks: tuple[_Block, ...]


def band_of(matrix: Float64[np.ndarray, "out in"], *, device: torch.device, block: int = 16) -> Band:
    """Return the matrix cut into blocks of at most `block` rows, each without its outer zero columns."""
    blocks = []
    for first in range(0, len(matrix), block):
        part = matrix[first : first + block]
        touched = np.flatnonzero(part.any(axis=0))
        columns = slice(int(touched[0]), int(touched[-1]) + 1)
        weights = torch.tensor(part[:, columns], dtype=torch.float32, device=device)
        blocks.append(_Block(rows=slice(first, first + len(part)), columns=columns, weights=weights))
    return Band(length=len(matrix), blocks=tuple(blocks))


def down_columns(band: Band, planes: Float32[Tensor, "h p w"]) -> Float32[Tensor, "k p w"]:
    """Return the planes filtered along their first axis, which is the picture's height."""
    out = planes.new_empty((band.length, *planes.shape[1:]))
    given, wanted = planes.flatten(1), out.flatten(1)
    for block in band.blocks:
        torch.mm(block.weights, given[block.columns], out=wanted[block.rows])
    return out


def over_rows(band: Band, planes: Float32[Tensor, "h p w"]) -> Float32[Tensor, "h p k"]:
    """Return the planes filtered along their last axis, which is the picture's width."""
    out = planes.new_empty((*planes.shape[:2], band.length))
    given, wanted = planes.flatten(0, 1), out.flatten(0, 1)
    for block in band.blocks:
        torch.mm(given[:, block.columns], block.weights.T, out=wanted[:, block.rows])
    return out


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Multiply in full float32 inside, whatever autocast or TF32 setting a training has on; restores it afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
