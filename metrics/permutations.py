"""Whether two sets of features could come of one source: the permutation test of maximum mean discrepancy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_rows, same_width
from metrics.discrepancy import MEDIAN
from metrics.kernel_sums import Estimator, Totals, marked_sums, own_forms, squared_mmd
from metrics.kernels import Kernel, KernelChoice

__all__ = ["MmdTest", "mmd_test"]

TIE = 1e-12
"""Statistics that differ by less than this share of their greatest part are equal: the sums' own rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MmdTest:
    """A squared discrepancy, and how often chance alone gives as much."""

    value: float
    """The squared maximum mean discrepancy."""
    p_value: float
    """In (0, 1]; when both sets come of one source, it is at most a with a probability of at most a."""
    permutations: int
    estimator: str

    def __repr__(self) -> str:
        counted = f"p = {self.p_value:.4g} of {self.permutations} permutations"
        return f"MmdTest({self.estimator} MMD^2 {self.value:.6g}, {counted})"


def mmd_test(
    *,
    reference: ArrayLike,
    generated: ArrayLike,
    kernel: KernelChoice = MEDIAN,
    estimator: Literal["unbiased", "biased"] = "unbiased",
    permutations: int = 1000,
    seed: int = 0,
) -> MmdTest:
    """Return the squared discrepancy and its permutation p-value, (1 + as large or larger) / (1 + permutations).

    Phipson and Smyth 2010: counting the observed labelling keeps the test exact. All permutations take part in one pass
    over the pooled kernel matrix, block by block, so that none of its size is held; besides the rows, a byte for each
    row and permutation.

    Args:
        reference: features (n, d).
        generated: features (m, d).
        kernel: as for `metrics.mmd`; a median bandwidth is of the pooled rows, so it is the same for all labellings.
        estimator: "unbiased" or "biased".
        permutations: the least possible p-value is 1 / (1 + permutations).
        seed: of the permutations and of the drawing for a median bandwidth.

    Raises:
        TypeError: when an argument is no array of real numbers.
        ValueError: when rows are fewer than two, of unequal width or not finite.
    """
    if estimator not in ("unbiased", "biased"):
        raise ValueError(f"estimator must be unbiased or biased, got {estimator!r}")
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, got {permutations}")
    ours, theirs = checked_rows("reference", reference, least=2), checked_rows("generated", generated, least=2)
    same_width(ours, theirs)
    pooled = torch.cat([ours, theirs])
    labels = _labellings(len(ours), len(theirs), permutations=permutations, seed=seed).to(pooled.device)
    values, scale = _statistics(kernel.fitted(ours, theirs, seed=seed), pooled, labels, estimator=estimator)
    as_large = int((values[1:] >= values[0] - TIE * scale).sum())
    return MmdTest(
        value=float(values[0]),
        p_value=(1 + as_large) / (1 + permutations),
        permutations=permutations,
        estimator=estimator,
    )


def _labellings(n: int, m: int, *, permutations: int, seed: int) -> Bool[Tensor, "n+m p+1"]:
    """Return which pooled rows each labelling calls reference; the first column is the labelling observed."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((permutations + 1, n + m), dtype=bool)
    labels[0, :n] = True
    for row in labels[1:]:
        row[rng.permutation(n + m)[:n]] = True
    return torch.from_numpy(labels).T.contiguous()


def _statistics(
    kernel: Kernel, pooled: Float64[Tensor, "n d"], labels: Bool[Tensor, "n p"], *, estimator: Estimator
) -> tuple[Float64[Tensor, " p"], float]:
    """Return each labelling's squared discrepancy, and the size of the terms that it is the difference of."""
    own = kernel.diagonal(pooled)
    ours, sums = own_forms(kernel, pooled, labels)
    across = marked_sums(labels, sums) - ours
    theirs = sums.sum() - ours - 2 * across
    own_ours = marked_sums(labels, own)
    n = int(labels[:, 0].sum())
    reference = Totals(rows=n, between=ours - own_ours, own=own_ours)
    own_theirs = own.sum() - own_ours
    generated = Totals(rows=len(pooled) - n, between=theirs - own_theirs, own=own_theirs)
    values = squared_mmd(reference, generated, across=across, paired=across, estimator=estimator)
    return values, float(across[0].abs()) / (reference.rows * generated.rows)
