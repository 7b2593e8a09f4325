"""Maximum mean discrepancy between two sets of features, and its two named forms, KID and CMMD.

Gretton et al. 2012, "A kernel two-sample test". All values are squared discrepancies, as KID and CMMD are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_rows, same_width
from metrics.intervals import jackknife_error
from metrics.kernel_sums import (
    Estimator,
    KernelSums,
    Totals,
    cross_forms,
    kernel_sums,
    marked_sums,
    own_forms,
    squared_mmd,
)
from metrics.kernels import Kernel, KernelChoice, polynomial, rbf

__all__ = ["LeftOut", "cmmd", "cmmd_left_out", "kid", "kid_left_out", "mmd", "mmd_left_out"]

Draws: TypeAlias = tuple[Int64[Tensor, "p k"], Int64[Tensor, "p k"]]
"""Numbers of the reference rows and of the generated rows of each subset."""
ESTIMATORS = ("unbiased", "biased", "u", "block", "linear")
MEDIAN: KernelChoice = rbf("median")
KID: KernelChoice = polynomial(degree=3)
CMMD: KernelChoice = rbf(10.0)
CMMD_SCALE = 1000.0
"""Jayasumana et al. 2024 print a thousand times the squared discrepancy."""
BATCH_BYTES = {"cpu": 64 << 20, "cuda": 2 << 30}
"""Memory for several subsets at once; a CPU gains nothing by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A measure, and what it would be without each picture: what `metrics.intervals.jackknife_interval` takes."""

    value: float
    without_reference: list[float]
    """Without each reference row."""
    without_generated: list[float]
    """Without each generated row."""


def mmd(
    *,
    reference: ArrayLike,
    generated: ArrayLike,
    kernel: KernelChoice = MEDIAN,
    estimator: Literal["unbiased", "biased", "u", "block", "linear"] = "unbiased",
    block_size: int | None = None,
    seed: int = 0,
) -> float:
    """Return the squared maximum mean discrepancy; take the root of a biased one for the discrepancy itself.

    Costs (n + m)^2 / 2 kernel values in bounded memory; "block" and "linear" cost less and vary more. Whether a value
    could be chance: see `mmd_test`.

    Args:
        reference: features (n, d).
        generated: features (m, d).
        kernel: of `rbf`, `rational_quadratic`, `polynomial` or `energy`.
        estimator: "unbiased": mean over different rows, can be negative. "biased": own pairs included, never negative.
            "u": without the pairs (x_i, y_i) too, for equally many rows. "block": the mean of unbiased estimates of
            disjoint blocks (Zaremba et al. 2013). "linear": the mean over disjoint pairs (Gretton et al. 2012,
            lemma 14). The last two deal the rows of both sets by the seed and leave out what is over.
        block_size: rows of a block, for "block" alone; the root of the row count when None.
        seed: of the dealing, and of the drawing for a median bandwidth.

    Raises:
        TypeError: when an argument is no array of real numbers.
        ValueError: when rows are too few, of unequal width or not finite, or the estimator does not fit them.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
    if block_size is not None and estimator != "block":
        raise ValueError(f'block_size is for estimator="block", got estimator={estimator!r}')
    ours, theirs = _checked_sets(reference, generated, least=1 if estimator == "biased" else 2)
    fitted = kernel.fitted(ours, theirs, seed=seed)
    if estimator == "block":
        return _mean_of_blocks(fitted, ours, theirs, size=_block_size(ours, theirs, block_size), seed=seed)
    if estimator == "linear":
        return _mean_of_blocks(fitted, ours, theirs, size=2, seed=seed, within="u")
    return _whole(fitted, ours, theirs, estimator=estimator).squared_mmd(estimator)


def mmd_left_out(
    *,
    reference: ArrayLike,
    generated: ArrayLike,
    kernel: KernelChoice = MEDIAN,
    estimator: Estimator = "unbiased",
    seed: int = 0,
) -> LeftOut:
    """Return the squared discrepancy and its value without each picture, all of one pass: for an interval.

    A median bandwidth is kept from the whole sets. Arguments and errors as for `mmd`; "unbiased" needs three rows.
    """
    if estimator not in ("unbiased", "biased", "u"):
        raise ValueError(f"estimator must be one of unbiased, biased, u, got {estimator!r}; others are sums of parts")
    ours, theirs = _checked_sets(reference, generated, least=2 if estimator == "biased" else 3)
    fitted = kernel.fitted(ours, theirs, seed=seed)
    return _left_out(_whole(fitted, ours, theirs, estimator=estimator), estimator)


def kid(
    *,
    reference: ArrayLike,
    generated: ArrayLike,
    subsets: int = 100,
    subset_size: int = 1000,
    estimator: Literal["subsets", "full"] = "subsets",
    seed: int = 0,
) -> tuple[float, float]:
    """Return the kernel inception distance and a spread (Binkowski et al. 2018), unbiased, so it can be below zero.

    "subsets" is what papers print: mean and population standard deviation over subsets drawn without replacement. That
    spread is one of subsets, no error of the mean. "full" uses each pair of pictures once, varies least, and comes with
    its jackknife standard error.

    The subsets are those of torch-fidelity 0.4: numpy's RandomState, whose stream is frozen, draws generated rows and
    reference rows in turn. Equal seeds (its default is 2020) then agree to its float32 rounding when the generated set
    is its input 1. When all pairs of both sets are fewer than those of the subsets, each kernel value is formed once.

    Args:
        reference: features (n, d), of the Inception network for the published measure.
        generated: features (m, d).
        subsets: number of subsets, for "subsets" alone.
        subset_size: rows of a subset, at most n and m.
        estimator: "subsets" or "full".
        seed: of the drawing.

    Raises:
        TypeError: when an argument is no array of real numbers.
        ValueError: when rows are fewer than a subset (3 for "full"), of unequal width or not finite.
    """
    if estimator == "full":
        return _kid_of_all(reference, generated)
    if estimator != "subsets":
        raise ValueError(f"estimator must be subsets or full, got {estimator!r}")
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"need subsets >= 1 and subset_size >= 2, got {subsets} and {subset_size}")
    ours, theirs = _checked_sets(reference, generated, least=2)
    if subset_size > min(len(ours), len(theirs)):
        raise ValueError(
            f"subset_size {subset_size} is more than the {len(ours)} reference or {len(theirs)} generated rows;"
            f" give more pictures, say subset_size={min(len(ours), len(theirs))}, or use estimator='full'"
        )
    draws = _drawn_subsets(len(ours), len(theirs), subsets=subsets, size=subset_size, seed=seed)
    all_pairs, subset_pairs = (len(ours) + len(theirs)) ** 2 / 2, 3 * subsets * subset_size**2
    measured = _values_by_marks if all_pairs < subset_pairs else _values_by_rows
    values = measured(KID.fitted(ours, theirs, seed=seed), ours, theirs, draws=draws)
    return float(values.mean()), float(values.std(correction=0))


def kid_left_out(*, reference: ArrayLike, generated: ArrayLike) -> LeftOut:
    """Return the full estimator of `kid` and its value without each picture; three rows at least."""
    return mmd_left_out(reference=reference, generated=generated, kernel=KID)


def cmmd(*, reference: ArrayLike, generated: ArrayLike) -> float:
    """Return the CLIP maximum mean discrepancy of image embeddings, squared and times 1000 (Jayasumana et al. 2024).

    Rows are scaled to unit length; a Gaussian kernel of bandwidth 10, biased. All kernel values then lie within 0.02
    below 1, and sums in float32 are off by 2e-5 whatever the value: these are of exp - 1, in float64.

    Args:
        reference: embeddings (n, d), of CLIP ViT-L/14 at 336 px for the published measure.
        generated: embeddings (m, d).

    Returns:
        At least 0; equal sets have 0.

    Raises:
        TypeError: when an argument is no array of real numbers.
        ValueError: when rows are of unequal width, not finite or zero.
    """
    ours, theirs = _unit_rows(reference, generated, least=1)
    return CMMD_SCALE * _whole(CMMD.fitted(ours, theirs, seed=0), ours, theirs, estimator="biased").squared_mmd(
        "biased"
    )


def cmmd_left_out(*, reference: ArrayLike, generated: ArrayLike) -> LeftOut:
    """Return `cmmd` and its value without each picture; two rows at least."""
    ours, theirs = _unit_rows(reference, generated, least=2)
    left = _left_out(_whole(CMMD.fitted(ours, theirs, seed=0), ours, theirs, estimator="biased"), "biased")
    return LeftOut(
        value=CMMD_SCALE * left.value,
        without_reference=[CMMD_SCALE * value for value in left.without_reference],
        without_generated=[CMMD_SCALE * value for value in left.without_generated],
    )


def _checked_sets(reference: ArrayLike, generated: ArrayLike, *, least: int) -> tuple[Tensor, Tensor]:
    ours = checked_rows("reference", reference, least=least)
    theirs = checked_rows("generated", generated, least=least)
    same_width(ours, theirs)
    return ours, theirs


def _unit_rows(reference: ArrayLike, generated: ArrayLike, *, least: int) -> list[Float64[Tensor, "n d"]]:
    units = []
    for name, rows in zip(("reference", "generated"), _checked_sets(reference, generated, least=least), strict=True):
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        if not bool((lengths > 0).all()):
            raise ValueError(
                f"{name} has length 0 in row {int(lengths.argmin())}, so no direction; look at its picture"
            )
        units.append(rows / lengths)
    return units


def _whole(kernel: Kernel, reference: Tensor, generated: Tensor, *, estimator: Estimator) -> KernelSums:
    if estimator == "u" and len(reference) != len(generated):
        raise ValueError(
            f'estimator "u" leaves out pairs of rows and needs equally many, got {len(reference)} reference and'
            f' {len(generated)} generated rows; use "unbiased"'
        )
    return kernel_sums(kernel, reference, generated)


def _left_out(sums: KernelSums, estimator: Estimator) -> LeftOut:
    without_reference, without_generated = sums.without_each(estimator)
    return LeftOut(
        value=sums.squared_mmd(estimator),
        without_reference=without_reference.tolist(),
        without_generated=without_generated.tolist(),
    )


def _block_size(reference: Tensor, generated: Tensor, size: int | None) -> int:
    rows = min(len(reference), len(generated))
    chosen = max(2, math.isqrt(rows)) if size is None else size
    if not 2 <= chosen <= rows:
        raise ValueError(f"block_size must lie between 2 and the {rows} rows of the smaller set, got {size}")
    return chosen


def _mean_of_blocks(
    kernel: Kernel, reference: Tensor, generated: Tensor, *, size: int, seed: int, within: Estimator = "unbiased"
) -> float:
    """Deal as many blocks as the smaller set has, and return the mean of their estimates."""
    rng = np.random.default_rng(seed)
    blocks = min(len(reference), len(generated)) // size
    ours, theirs = (
        torch.from_numpy(rng.permutation(len(rows))[: blocks * size].reshape(blocks, size)).to(rows.device)
        for rows in (reference, generated)
    )
    return float(_values_by_rows(kernel, reference, generated, draws=(ours, theirs), estimator=within).mean())


def _kid_of_all(reference: ArrayLike, generated: ArrayLike) -> tuple[float, float]:
    left = kid_left_out(reference=reference, generated=generated)
    errors = jackknife_error(left.without_reference), jackknife_error(left.without_generated)
    return left.value, math.hypot(*errors)


def _drawn_subsets(n: int, m: int, *, subsets: int, size: int, seed: int) -> Draws:
    rng = np.random.RandomState(seed)
    ours, theirs = np.empty((2, subsets, size), dtype=np.int64)
    for subset in range(subsets):
        theirs[subset] = rng.choice(m, size, replace=False)
        ours[subset] = rng.choice(n, size, replace=False)
    return torch.from_numpy(ours), torch.from_numpy(theirs)


def _values_by_rows(
    kernel: Kernel, reference: Tensor, generated: Tensor, *, draws: Draws, estimator: Estimator = "unbiased"
) -> Float64[Tensor, " p"]:
    """Return the estimate of each draw from its own matrices, several draws at a time."""
    size, width = draws[0].shape[1], reference.shape[1]
    budget = BATCH_BYTES.get(reference.device.type, BATCH_BYTES["cpu"])
    together = max(1, budget // (8 * size * (2 * width + 4 * size)))
    parts = []
    for ours, theirs in zip(*(draw.to(reference.device).split(together) for draw in draws), strict=True):
        parts.append(_values_of_batch(kernel, reference[ours], generated[theirs], estimator=estimator))
    return torch.cat(parts)


def _values_of_batch(
    kernel: Kernel, reference: Float64[Tensor, "p n d"], generated: Float64[Tensor, "p n d"], *, estimator: Estimator
) -> Float64[Tensor, " p"]:
    totals = []
    for rows in (reference, generated):
        own = kernel.diagonal(rows).sum(dim=1)
        totals.append(Totals(rows=rows.shape[1], between=kernel.block(rows, rows).sum(dim=(1, 2)) - own, own=own))
    across = kernel.block(reference, generated)
    paired = across.diagonal(dim1=1, dim2=2).sum(dim=1)
    return squared_mmd(*totals, across=across.sum(dim=(1, 2)), paired=paired, estimator=estimator)


def _values_by_marks(kernel: Kernel, reference: Tensor, generated: Tensor, *, draws: Draws) -> Float64[Tensor, " p"]:
    """Return the unbiased estimate of each draw from one pass over the matrices of all rows."""
    size, totals, marks = draws[0].shape[1], [], []
    for rows, draw in zip((reference, generated), draws, strict=True):
        chosen = _marked(draw, len(rows)).to(rows.device)
        own = marked_sums(chosen, kernel.diagonal(rows))
        totals.append(Totals(rows=size, between=own_forms(kernel, rows, chosen)[0] - own, own=own))
        marks.append(chosen)
    across = cross_forms(kernel, reference, generated, chosen_a=marks[0], chosen_b=marks[1])
    return squared_mmd(*totals, across=across, paired=across, estimator="unbiased")


def _marked(draw: Int64[Tensor, "p k"], rows: int) -> Bool[Tensor, "n p"]:
    marks = torch.zeros(len(draw), rows, dtype=torch.bool)
    return marks.scatter_(1, draw, True).T.contiguous()
