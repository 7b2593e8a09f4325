"""Confidence intervals of any measure of two sets, by leaving out one group of pictures at a time (the jackknife).

Quenouille 1956 and Tukey 1958; for groups and two samples see Efron and Tibshirani 1993, chapter 11.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from scipy.special import stdtrit
from torch import Tensor

__all__ = ["GROUPS", "Interval", "group_labels", "jackknife_error", "jackknife_interval", "leave_out_values"]

GROUPS = 20
"""Groups of a set: the error itself is then known to about a sixth, at 20 evaluations a set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Where a measure would fall, were other pictures drawn from the same two sources.

    It covers the sampling of pictures alone: with the stated probability it contains the measure's expectation at these
    counts of pictures. It does not cover what more pictures would change in that expectation (FID falls with the count,
    see `fid_infinity`), nor the training of another generator, nor the choice of extractor. Where the two sources are
    the same, a squared distance has no slope there, and the interval comes out wider than it need be. Pictures that
    depend on each other, such as frames of one film, are taken for independent, and it comes out too narrow.
    """

    low: float
    high: float
    level: float
    """Probability of covering, such as 0.95."""
    standard_error: float
    """Standard deviation of the measure from draw to draw, as estimated."""


def jackknife_interval(
    value: float,
    *,
    without_reference: Sequence[float] = (),
    without_generated: Sequence[float] = (),
    level: float = 0.95,
    lowest: float = -math.inf,
    highest: float = math.inf,
) -> Interval:
    """Return value -+ Student's t times the error that the leave-one-group-out values show.

    The two sets' errors add in squares; the degrees of freedom are Welch and Satterthwaite's.

    Args:
        value: the measure of all pictures.
        without_reference: the measure without each group of reference pictures; empty when it has no reference, or
            when the reference is taken as it is.
        without_generated: the same of generated pictures.
        level: probability of covering, between 0 and 1.
        lowest: least possible value of the measure, such as 0 for FID.
        highest: greatest possible value, such as 1 for precision.

    Raises:
        ValueError: when no set has groups, one has a single group, a value is not finite or the level is impossible.

    >>> interval = jackknife_interval(2.0, without_generated=[1.0, 2.0, 3.0])
    >>> round(interval.standard_error, 4), round(interval.low, 2), round(interval.high, 2)
    (1.1547, -2.97, 6.97)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, such as 0.95, got {level}")
    if not math.isfinite(value):
        raise ValueError(f"an interval needs a finite value, got {value}")
    samples = [values for values in (without_reference, without_generated) if len(values)]
    if not samples:
        raise ValueError("an interval needs the values without each group of at least one set, got none")
    variances = [jackknife_error(values) ** 2 for values in samples]
    error = math.sqrt(sum(variances))
    spread = error * _student(variances, [len(values) - 1 for values in samples], level)
    return Interval(
        low=max(value - spread, lowest), high=min(value + spread, highest), level=level, standard_error=error
    )


def jackknife_error(without_each: Sequence[float]) -> float:
    """Return the standard error of a measure from its values without each of its groups, about equally large.

    sqrt((g - 1) / g * sum (value - mean)^2), Efron and Tibshirani's equation 11.5.
    """
    values = np.asarray(without_each, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"the jackknife needs the values without each of at least two groups, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"the value without group {int(np.argmin(np.isfinite(values)))} is not finite")
    return float(np.sqrt((len(values) - 1) * values.var()))


def leave_out_values(
    statistic: Callable[[Tensor], float], rows: Tensor, *, groups: int = GROUPS, seed: int = 0
) -> list[float]:
    """Return the statistic of the rows without each group; works for features, logits and images alike.

    The statistic must not itself draw at random from the rows it gets (KID: the full estimator, not subsets): the
    jackknife would take that noise for sampling, groups - 1 times enlarged.

    Args:
        statistic: from the kept rows, in their order, to a float.
        rows: anything with one picture a row, at least twice as many as groups.
        groups: parts to leave out in turn.
        seed: of the dealing.
    """
    if len(rows) < 2 * groups:
        raise ValueError(f"{groups} groups need at least {2 * groups} rows, got {len(rows)}; use fewer groups")
    labels = torch.from_numpy(group_labels(0, len(rows), groups=groups, seed=seed)).to(rows.device)
    return [float(statistic(rows[labels != group])) for group in range(groups)]


def group_labels(first_index: int, count: int, *, groups: int = GROUPS, seed: int = 0) -> Int64[np.ndarray, " n"]:
    """Return the group of each of `count` consecutive pictures, from 0 to groups - 1.

    Every run of `groups` pictures deals one to each group in an order of its own, a hash of the seed and the picture's
    index: groups are equally large to one, do not follow any period of the pictures (such as a generator that cycles
    through its classes), and do not depend on batches or processes.

    Args:
        first_index: place of the first picture in its set.
        count: pictures.
        groups: at least 2.
        seed: another seed deals otherwise.
    """
    if groups < 2 or first_index < 0 or count < 0:
        raise ValueError(f"need groups >= 2, first_index >= 0, count >= 0, got {groups}, {first_index}, {count}")
    start, stop = first_index // groups, -(-(first_index + count) // groups)
    keys = _hashed(np.arange(start * groups, stop * groups, dtype=np.uint64), seed)
    labels = np.argsort(keys.reshape(-1, groups), axis=1, kind="stable").reshape(-1)
    skipped = first_index - start * groups
    return labels[skipped : skipped + count].astype(np.int64)


def _student(variances: Sequence[float], freedoms: Sequence[int], level: float) -> float:
    """Return Student's two-sided quantile at Welch and Satterthwaite's degrees of freedom."""
    total = sum(variances)
    if total == 0:
        return 0.0
    parts = sum((variance / total) ** 2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    return float(stdtrit(1 / parts, (1 + level) / 2))


def _hashed(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return 64 mixed bits for each number (Steele, Lea and Flood 2014: SplitMix64)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed * 0xD1B54A32D192ED03 % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
