"""Sums over kernel matrices, block by block: nothing of the size of a matrix is ever held.

One pass gives the row sums, of which every estimator of the squared maximum mean discrepancy is made, and what it would
be without each row. Another gives a sum for each of many subsets of rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from metrics.kernels import Kernel

__all__ = ["Estimator", "KernelSums", "Totals", "cross_forms", "kernel_sums", "marked_sums", "own_forms", "squared_mmd"]

Estimator = Literal["unbiased", "biased", "u"]
Block = tuple[slice, slice, Float64[Tensor, "a b"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over one set's own kernel matrix, for one or several choices of its rows."""

    rows: int
    between: Tensor
    """Sum of k(x_i, x_j) over i and j other than i."""
    own: Tensor
    """Sum of k(x_i, x_i)."""


def squared_mmd(
    reference: Totals, generated: Totals, *, across: Tensor, paired: Tensor, estimator: Estimator
) -> Tensor:
    """Return the squared maximum mean discrepancy (Gretton et al. 2012, equations 3, 5 and the remark below lemma 6).

    Args:
        reference: sums of n rows x.
        generated: sums of m rows y.
        across: sum of k(x_i, y_j) over all pairs.
        paired: sum of k(x_i, y_i), which "u" leaves out.
        estimator: "unbiased", "biased", or "u" for n = m.
    """
    n, m = reference.rows, generated.rows
    if estimator == "biased":
        within = (reference.between + reference.own) / n**2 + (generated.between + generated.own) / m**2
        return within - across * (2 / (n * m))
    within = reference.between / (n * (n - 1)) + generated.between / (m * (m - 1))
    if estimator == "unbiased":
        return within - across * (2 / (n * m))
    return within - (across - paired) * (2 / (n * (n - 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSums:
    """What each row of one set adds to the kernel sums."""

    between: Float64[Tensor, " n"]
    """Sum of k(x_i, x_j) over j other than i."""
    own: Float64[Tensor, " n"]
    """k(x_i, x_i)."""
    across: Float64[Tensor, " n"]
    """Sum of k(x_i, y_j) over the other set."""

    def totals(self) -> Totals:
        """Return the sums over all rows."""
        return Totals(rows=len(self.own), between=self.between.sum(), own=self.own.sum())

    def totals_without_each(self) -> Totals:
        """Return the sums without each row in turn."""
        whole = self.totals()
        return Totals(rows=whole.rows - 1, between=whole.between - 2 * self.between, own=whole.own - self.own)


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelSums:
    """Row sums of the three kernel matrices of reference rows x and generated rows y."""

    reference: SampleSums
    generated: SampleSums
    paired: Float64[Tensor, " p"]
    """k(x_i, y_i) as far as both sets go."""

    def squared_mmd(self, estimator: Estimator) -> float:
        """Return the estimate of all rows."""
        across = self.reference.across.sum()
        whole = self.reference.totals(), self.generated.totals()
        value = float(squared_mmd(*whole, across=across, paired=self.paired.sum(), estimator=estimator))
        return max(value, 0.0) if estimator == "biased" else value  # below zero by rounding alone

    def without_each(self, estimator: Estimator) -> tuple[Float64[Tensor, " n"], Float64[Tensor, " m"]]:
        """Return the estimates without each reference row, and without each generated row.

        For "u", whose rows go in pairs, the first are those without each pair, and the second are none.
        """
        ours, theirs = self.reference, self.generated
        if estimator == "u":
            across = ours.across.sum() - ours.across - theirs.across + self.paired
            without = ours.totals_without_each(), theirs.totals_without_each()
            paired = self.paired.sum() - self.paired
            return squared_mmd(*without, across=across, paired=paired, estimator="u"), ours.own[:0]
        return (
            squared_mmd(
                ours.totals_without_each(),
                theirs.totals(),
                across=ours.across.sum() - ours.across,
                paired=self.paired,
                estimator=estimator,
            ),
            squared_mmd(
                ours.totals(),
                theirs.totals_without_each(),
                across=theirs.across.sum() - theirs.across,
                paired=self.paired,
                estimator=estimator,
            ),
        )


def kernel_sums(
    kernel: Kernel,
    reference: Float64[Tensor, "n d"],
    generated: Float64[Tensor, "m d"],
    *,
    side: int | None = None,
) -> KernelSums:
    """Return the row sums in one pass over the matrices, the symmetric ones by their lower halves.

    Args:
        kernel: of the features.
        reference: n rows.
        generated: m rows.
        side: rows of a block; chosen by the device when None. Another side changes the rounding alone.
    """
    across_reference, across_generated = reference.new_zeros(len(reference)), generated.new_zeros(len(generated))
    for rows, columns, block in _cross_blocks(kernel, reference, generated, side=side):
        across_reference[rows] += block.sum(dim=1)
        across_generated[columns] += block.sum(dim=0)
    paired = [
        kernel.block(reference[part, None], generated[part, None])[:, 0, 0]
        for part in _slices(reference[: len(generated)], side)
    ]
    return KernelSums(
        reference=_sample_sums(kernel, reference, across_reference, side=side),
        generated=_sample_sums(kernel, generated, across_generated, side=side),
        paired=torch.cat(paired),
    )


def own_forms(
    kernel: Kernel, rows: Float64[Tensor, "n d"], chosen: Bool[Tensor, "n p"], *, side: int | None = None
) -> tuple[Float64[Tensor, " p"], Float64[Tensor, " n"]]:
    """Return the sum of k(x_i, x_j) over the pairs of each choice of rows, own pairs included, and all row sums.

    A column of `chosen` marks the rows of one choice. Hundreds of choices cost about as much as one, while they are
    fewer than a row is long.
    """
    forms, sums = rows.new_zeros(chosen.shape[1]), rows.new_zeros(len(rows))
    for upper, lower, block in _own_blocks(kernel, rows, side):
        part = (chosen[upper].double() * (block @ chosen[lower].double())).sum(dim=0)
        sums[upper] += block.sum(dim=1)
        if upper != lower:
            sums[lower] += block.sum(dim=0)
        forms += part if upper == lower else 2 * part
    return forms, sums


def cross_forms(
    kernel: Kernel,
    a: Float64[Tensor, "n d"],
    b: Float64[Tensor, "m d"],
    *,
    chosen_a: Bool[Tensor, "n p"],
    chosen_b: Bool[Tensor, "m p"],
    side: int | None = None,
) -> Float64[Tensor, " p"]:
    """Return the sum of k(a_i, b_j) over the rows of each choice, given by equal columns of the two marks."""
    forms = a.new_zeros(chosen_a.shape[1])
    for rows, columns, block in _cross_blocks(kernel, a, b, side=side):
        forms += (chosen_a[rows].double() * (block @ chosen_b[columns].double())).sum(dim=0)
    return forms


def marked_sums(chosen: Bool[Tensor, "n p"], values: Float64[Tensor, " n"]) -> Float64[Tensor, " p"]:
    """Return the sum of each choice's values."""
    total = values.new_zeros(chosen.shape[1])
    for part in _slices(chosen, None):
        total += values[part] @ chosen[part].double()
    return total


def _sample_sums(
    kernel: Kernel, rows: Float64[Tensor, "n d"], across: Float64[Tensor, " n"], *, side: int | None
) -> SampleSums:
    own, between = kernel.diagonal(rows), rows.new_zeros(len(rows))
    for upper, lower, block in _own_blocks(kernel, rows, side):
        if upper == lower:
            block.fill_diagonal_(0)
        else:
            between[lower] += block.sum(dim=0)
        between[upper] += block.sum(dim=1)
    return SampleSums(between=between, own=own, across=across)


def _own_blocks(kernel: Kernel, rows: Tensor, side: int | None) -> Iterator[Block]:
    """Yield the blocks on and below the diagonal; the kernel is symmetric."""
    places = _slices(rows, side)
    for number, upper in enumerate(places):
        for lower in places[: number + 1]:
            yield upper, lower, kernel.block(rows[upper], rows[lower])


def _cross_blocks(kernel: Kernel, a: Tensor, b: Tensor, *, side: int | None) -> Iterator[Block]:
    for rows in _slices(a, side):
        for columns in _slices(b, side):
            yield rows, columns, kernel.block(a[rows], b[columns])


def _slices(rows: Tensor, side: int | None) -> list[slice]:
    """Cut the rows for blocks that stay in a CPU's cache (2 MB), or fill a CUDA device (128 MB)."""
    step = side or (512 if rows.device.type == "cpu" else 4096)
    return [slice(start, min(start + step, len(rows))) for start in range(0, len(rows), step)]
