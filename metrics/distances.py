"""Euclidean distances between rows of features: fast by matrix products, or exact to rounding, pair by pair."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["exact_distances", "squared_distances"]

DIRECT = "donot_use_mm_for_euclid_dist"
"""torch.cdist's sum of squared differences: each pair's value is the same in any batch, and the same both ways."""


def squared_distances(a: Float64[Tensor, "*b n d"], b: Float64[Tensor, "*b m d"]) -> Float64[Tensor, "*b n m"]:
    """Return |a_i - b_j|^2 through a matrix product, never negative, and 0 where rounding hides the distance.

    The rows are centred together first, so that a common offset costs no digits. What remains has an error below
    (d + 4) eps (|a|^2 + |b|^2), lengths from that centre; a pair closer than this counts as equal, so equal rows are
    exactly 0 apart. Not for deciding which of two distances is the greater: see `exact_distances`.
    """
    centre = a.mean(dim=-2, keepdim=True)
    left, right = a - centre, b - centre
    lengths = torch.linalg.vecdot(left, left)[..., :, None] + torch.linalg.vecdot(right, right)[..., None, :]
    squares = (left @ right.mT).mul_(-2).add_(lengths)
    limit = lengths.mul_((a.shape[-1] + 4) * torch.finfo(lengths.dtype).eps)
    return squares.masked_fill_(squares <= limit, 0)


def exact_distances(a: Float64[Tensor, "*b n d"], b: Float64[Tensor, "*b m d"]) -> Float64[Tensor, "*b n m"]:
    """Return |a_i - b_j| as the root of the sum of squared differences, to a few ulp.

    A pair has the same bits in any block and either way round, so equal distances compare as equal. Some 12 times as
    slow as a matrix product on a CPU.
    """
    return torch.cdist(a, b, compute_mode=DIRECT)
