"""Durations for people to read."""

from __future__ import annotations

__all__ = ["in_words"]

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


def in_words(seconds: float) -> str:
    """Return a duration in the unit that fits it.

    >>> in_words(59.7), in_words(600), in_words(9000), in_words(400_000)
    ('60 s', '10 min', '2.5 h', '4.6 days')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * MINUTE_S:
        return f"{seconds / MINUTE_S:.0f} min"
    return f"{seconds / HOUR_S:.1f} h" if seconds < 2 * DAY_S else f"{seconds / DAY_S:.1f} days"
