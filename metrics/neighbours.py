"""Precision, recall, density and coverage of a generator: who lies in whose neighbourhood.

Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models"; Naeem et al. 2020,
"Reliable fidelity and diversity metrics for generative models".
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, fields
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from metrics.arrays import ArrayLike, checked_rows, same_width
from metrics.intervals import GROUPS, group_labels
from metrics.neighbour_search import Balls, Hits, ball_hits, ball_radii

__all__ = [
    "NeighboursLeftOut",
    "Prdc",
    "PrecisionRecall",
    "expected_coverage",
    "prdc",
    "prdc_left_out",
    "precision_recall",
    "precision_recall_left_out",
]


Shares: TypeAlias = tuple[float, float, float, float]
"""Precision, recall, density times k, coverage."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PrecisionRecall:
    """Shares of two sets that lie within the other's neighbourhoods."""

    precision: float
    """Share of generated rows within the k-th neighbour's distance of any reference row, surface included."""
    recall: float
    """Share of reference rows within that of any generated row."""
    k: int

    def __repr__(self) -> str:
        return _readable(self)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Prdc:
    """How generated rows fill the neighbourhoods of reference rows, surfaces excluded."""

    precision: float
    """Share of generated rows that are nearer to any reference row than its k-th neighbour."""
    recall: float
    """Share of reference rows that are nearer to any generated row than its k-th neighbour."""
    density: float
    """Neighbourhoods of reference rows that a generated row lies in, on average, over k; 1 for equal sources."""
    coverage: float
    """Share of reference rows with a generated row in their neighbourhood; see `expected_coverage`."""
    k: int

    def __repr__(self) -> str:
        return _readable(self)


Measures = TypeVar("Measures", PrecisionRecall, Prdc)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighboursLeftOut(Generic[Measures]):
    """The measures, and what they would be without each group of pictures: for `metrics.intervals`."""

    value: Measures
    without_reference: list[Measures]
    without_generated: list[Measures]


def precision_recall(*, reference: ArrayLike, generated: ArrayLike, k: int = 3) -> PrecisionRecall:
    """Return Kynkaanniemi et al.'s precision and recall.

    Blockwise: 50,000 rows a set need some 20 bytes a feature value and no matrix of pairs. The published measure takes
    50,000 rows of VGG16 a set, and other counts or features give other numbers.

    Args:
        reference: features (n, d).
        generated: features (m, d).
        k: the neighbour whose distance is the radius, the row itself not counted; below n and m.

    Raises:
        TypeError: when an argument is no array of real numbers, or k is no whole number.
        ValueError: when rows are of unequal width, not finite, or no more than k.
    """
    return _two(_searched(reference, generated, k=k, closed=True, groups=0).whole(), k)


def precision_recall_left_out(
    *, reference: ArrayLike, generated: ArrayLike, k: int = 3, groups: int = GROUPS, seed: int = 0
) -> NeighboursLeftOut[PrecisionRecall]:
    """Return `precision_recall` and its values without each group of either set, for little more than one search.

    Args:
        reference: features (n, d), at least twice as many as groups.
        generated: features (m, d), likewise.
        k: as for `precision_recall`; below what is left of a set without a group.
        groups: parts of each set to leave out in turn.
        seed: of the dealing into groups.
    """
    found = _searched(reference, generated, k=k, closed=True, groups=groups, seed=seed)
    return NeighboursLeftOut(
        value=_two(found.whole(), k),
        without_reference=[_two(found.without_reference(group), k) for group in range(groups)],
        without_generated=[_two(found.without_generated(group), k) for group in range(groups)],
    )


def prdc(*, reference: ArrayLike, generated: ArrayLike, k: int = 5) -> Prdc:
    """Return Naeem et al.'s precision, recall, density and coverage; arguments and errors as for `precision_recall`."""
    return _four(_searched(reference, generated, k=k, closed=False, groups=0).whole(), k)


def prdc_left_out(
    *, reference: ArrayLike, generated: ArrayLike, k: int = 5, groups: int = GROUPS, seed: int = 0
) -> NeighboursLeftOut[Prdc]:
    """Return `prdc` and its values without each group; arguments as for `precision_recall_left_out`."""
    found = _searched(reference, generated, k=k, closed=False, groups=groups, seed=seed)
    return NeighboursLeftOut(
        value=_four(found.whole(), k),
        without_reference=[_four(found.without_reference(group), k) for group in range(groups)],
        without_generated=[_four(found.without_generated(group), k) for group in range(groups)],
    )


def expected_coverage(reference_rows: int, generated_rows: int, k: int = 5) -> float:
    """Return the coverage to expect when both sets come of one source (Naeem et al. 2020, equation 10).

    >>> round(expected_coverage(10_000, 10_000, k=5), 6)
    0.968773
    """
    missed = 1.0
    for place in range(1, k + 1):
        missed *= (reference_rows - place) / (reference_rows + generated_rows - place)
    return 1 - missed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Who lies in whose balls, counted with all rows and without each group of them."""

    reference: Balls
    generated: Balls
    in_reference: Hits
    in_generated: Hits

    def whole(self) -> Shares:
        """Return precision, recall, mean number of reference balls that a generated row lies in, and coverage."""
        return (
            _share(self.in_reference.points_inside[0]),
            _share(self.in_generated.points_inside[0]),
            float(self.in_reference.pairs[0]) / len(self.generated.rows),
            _share(self.in_reference.balls_filled[0]),
        )

    def without_reference(self, group: int) -> Shares:
        """Return the same without a group of reference rows, the radii of the others grown to their next neighbours."""
        kept = self.reference.groups != group
        return (
            _share(self.in_reference.points_inside[group + 1]),
            _share(self.in_generated.points_inside[0][kept]),
            float(self.in_reference.pairs[group + 1]) / len(self.generated.rows),
            _share(self.in_reference.balls_filled[group + 1][kept]),
        )

    def without_generated(self, group: int) -> Shares:
        """Return the same without a group of generated rows."""
        kept = self.generated.groups != group
        others = torch.arange(self.in_reference.filled_by_group.shape[1], device=kept.device) != group
        return (
            _share(self.in_reference.points_inside[0][kept]),
            _share(self.in_generated.points_inside[group + 1]),
            _share(self.in_reference.balls_of_point[kept]),
            _share(self.in_reference.filled_by_group[:, others].any(dim=1)),
        )


def _searched(
    reference: ArrayLike, generated: ArrayLike, *, k: int, closed: bool, groups: int, seed: int = 0
) -> _Found:
    if isinstance(k, bool) or not isinstance(k, numbers.Integral):
        raise TypeError(f"k must be a whole number, got {k!r}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    ours, theirs = checked_rows("reference", reference), checked_rows("generated", generated)
    same_width(ours, theirs)
    real = _balls("reference", ours, k=k, groups=groups, seed=seed)
    made = _balls("generated", theirs, k=k, groups=groups, seed=seed)
    in_real, in_made = ball_hits(real, made, closed=closed)
    return _Found(reference=real, generated=made, in_reference=in_real, in_generated=in_made)


def _balls(name: str, rows: Tensor, *, k: int, groups: int, seed: int) -> Balls:
    if groups and len(rows) < 2 * groups:
        raise ValueError(f"{name}: {groups} groups need at least {2 * groups} rows, got {len(rows)}; use fewer groups")
    left = len(rows) - (math.ceil(len(rows) / groups) if groups else 0)
    if k >= left:
        without = " without a group" if groups else ""
        raise ValueError(
            f"k must be below the number of {name} rows{without}, got k={k} and {left}; give more pictures"
        )
    labels = torch.zeros(len(rows), dtype=torch.int64)
    if groups:
        labels = torch.from_numpy(group_labels(0, len(rows), groups=groups, seed=seed))
    return ball_radii(rows, k, groups=labels.to(rows.device), left_out=groups)


def _two(shares: Shares, k: int) -> PrecisionRecall:
    precision, recall, _, _ = shares
    return PrecisionRecall(precision=precision, recall=recall, k=int(k))


def _four(shares: Shares, k: int) -> Prdc:
    precision, recall, balls, coverage = shares
    return Prdc(precision=precision, recall=recall, density=balls / k, coverage=coverage, k=int(k))


def _share(found: Tensor) -> float:
    return float(found.double().mean())


def _readable(measures: PrecisionRecall | Prdc) -> str:
    values = ", ".join(f"{field.name}={getattr(measures, field.name):.4g}" for field in fields(measures))
    return f"{type(measures).__name__}({values})"
