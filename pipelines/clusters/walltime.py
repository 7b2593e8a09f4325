"""How long a job may run, and when its worker should end by itself.

A batch system kills a job at its walltime, with whatever it computes. A worker that ends a little before, at a time of
its own, hands its tasks back, and not all workers of a pool go at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hqdata.settings import ConfigError

__all__ = ["Lifetime", "lifetime_within", "walltime_seconds"]

SHORTEST_S = 60


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When a worker ends: `seconds`, give or take up to `stagger_s`, since the job's start."""

    seconds: int
    stagger_s: int


def lifetime_within(walltime_s: int) -> Lifetime:
    """Return a lifetime that ends one to three tenths of the walltime, at most 10 to 30 minutes, before it.

    Of a walltime of few minutes it is more, since a worker needs some seconds to start and to end.

    >>> lifetime_within(4 * 3600)
    Lifetime(seconds=13200, stagger_s=600)
    """
    reserve = min(600, max(15, walltime_s // 10))
    return Lifetime(seconds=walltime_s - 2 * reserve, stagger_s=reserve)


def walltime_seconds(text: str) -> int:
    """Return the seconds of a time as `sbatch --time` takes it: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    >>> [walltime_seconds(text) for text in ("90", "90:30", "1:30:00", "1-12", "1-12:30:00")]
    [5400, 5430, 5400, 129600, 131400]

    Raises:
        ConfigError: for anything else, and for less than a minute.
    """
    match = re.fullmatch(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?", text)
    if match is None:
        raise ConfigError(f"a walltime is H:M:S or D-H:M:S, got {text!r}")
    days, first, second, third = (int(match[part] or 0) for part in ("days", "first", "second", "third"))
    if match["days"] is None and match["third"] is None:
        seconds = first * 60 + second
    else:
        seconds = ((days * 24 + first) * 60 + second) * 60 + third
    if seconds < SHORTEST_S:
        raise ConfigError(f"a walltime must be at least a minute, got {text!r}")
    return seconds
