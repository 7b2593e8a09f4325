"""What makes an evaluation's figures doubtful, in sentences with numbers; for files see `metrics.sources.summary`."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "count_warnings",
    "enlarged_warnings",
    "few_for_score_warnings",
    "few_rows_warnings",
    "same_pictures_warnings",
]

FEW_FOR_SCORE = 40_000
"""Pictures below which an inception score stays visibly under the one of 50,000."""
ALIKE = 0.02
"""Share by which two sets may differ in size without a word."""
ENLARGED = 2.0
"""Factor of enlargement to the network's input from which half of what it sees is interpolation."""


def few_rows_warnings(*, reference: int | None, generated: int, width: int, name: str) -> list[str]:
    """Return a warning when a set has no more pictures than a feature row has columns.

    Args:
        reference: its pictures; None where a file of statistics does not say.
        generated: its pictures.
        width: columns of the features.
        name: of the distance, such as "FID".
    """
    sets = {"reference": reference, "generated": generated}
    few = {role: count for role, count in sets.items() if count is not None and count <= width}
    if not few:
        return []
    counts = " and ".join(f"{count:,} {role}" for role, count in few.items())
    return [
        f"{name}: {counts} pictures are too few for {width:,} columns: the covariance is singular and the distance far"
        " above that of many pictures; compare it only with distances at the same counts, or use KID"
    ]


def count_warnings(*, reference: int | None, generated: int) -> list[str]:
    """Return a warning when the sets are of unequal size: most distances depend on both."""
    if reference is None or abs(reference - generated) <= ALIKE * max(reference, generated):
        return []
    return [
        f"the sets have {reference:,} and {generated:,} pictures; FID, SWD, recall, density and coverage depend on both"
        " counts, so compare only with figures of the same counts"
    ]


def few_for_score_warnings(count: int) -> list[str]:
    """Return a warning when an inception score cannot be near those published, which take 50,000 pictures."""
    if count >= FEW_FOR_SCORE:
        return []
    return [
        f"IS grows with the number of pictures, and {count:,} are few beside the 50,000 of published scores; compare it"
        " only with scores of as many pictures"
    ]


def same_pictures_warnings(reference: str | None, generated: str | None) -> list[str]:
    """Return a warning when both sets hold the same pictures in the same order."""
    if reference is None or reference != generated:
        return []
    return ["both sets hold the very same pictures; distances between equal sets are 0 and say nothing"]


def enlarged_warnings(sizes: Mapping[str, tuple[int, int]], *, side: int) -> list[str]:
    """Return a warning when the network sees pictures much enlarged.

    Args:
        sizes: (height, width) of the smallest picture of each set.
        side: pixels along the network's input.
    """
    factors = {role: side / min(size) for role, size in sizes.items()}
    told = [f"{role} pictures {factor:.1f} times" for role, factor in factors.items() if factor >= ENLARGED]
    if not told:
        return []
    return [
        f"the network sees {' and '.join(told)} enlarged; the resampling weighs in every feature, see docs/precision.md"
    ]
