"""Both sides of a comparison, timed in turns in one process: medians of CPU seconds, and of the ratio of each turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Row", "compare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    """Such as "SWD, 1000 + 1000 pictures of 128 px"."""
    ours_s: float
    theirs: str
    """Whom we are compared with, such as "numpy reference"; empty when there is nobody."""
    theirs_s: float | None
    ratio: float | None
    """Theirs over ours, the median over the turns; above 1 we are faster."""
    note: str = ""
    """Such as the greatest difference of the results."""


def compare(
    what: str,
    *,
    ours: Callable[[], object],
    theirs: Callable[[], object] | None,
    whose: str = "",
    turns: int = 3,
    note: str = "",
) -> Row:
    """Run both sides in turns and return their medians; each side should be run once before, to warm up."""
    mine: list[float] = []
    other: list[float] = []
    for _ in range(turns):
        mine.append(_cpu_seconds(ours))
        if theirs:
            other.append(_cpu_seconds(theirs))
    ratios = [b / a for a, b in zip(mine, other, strict=True)] if other else []
    return Row(
        what=what,
        ours_s=statistics.median(mine),
        theirs=whose,
        theirs_s=statistics.median(other) if other else None,
        ratio=statistics.median(ratios) if ratios else None,
        note=note,
    )


def _cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start
