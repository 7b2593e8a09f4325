"""How a message names many machines: the first few, and how many more."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["by_fault", "some"]

NAMED = 4


def some(names: Iterable[str]) -> str:
    """Return the names in one line, all of them where there are few.

    >>> some(["a", "b"]), some("abcdefg")
    ('a, b', 'a, b, c, d and 3 more')
    """
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def by_fault(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return one line for each fault, naming who has it.

    >>> by_fault([("a", "no room"), ("b", "asleep"), ("c", "no room")])
    ['a, c: no room', 'b: asleep']
    """
    who: dict[str, list[str]] = {}
    for name, fault in pairs:
        who.setdefault(fault, []).append(name)
    return [f"{some(names)}: {fault}" for fault, names in who.items()]
