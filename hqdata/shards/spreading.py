"""A check of many things, done here or spread over other processes: who calls `verify_run` may say how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from hqdata.shards.format import Problem
from hqdata.storage import Folder

__all__ = ["Spread", "here"]

Item = TypeVar("Item")


class Spread(Protocol):
    """Checks items in portions of its own choice."""

    def __call__(
        self, check: Callable[[Folder, Sequence[Item]], list[Problem]], run: Folder, items: Sequence[Item]
    ) -> Iterable[Problem]:
        """Return the problems with all items, in any order.

        Args:
            check: can be imported by its name; what it returns for some items does not depend on the others.
            run: the run folder.
            items: plain values, of one kind.
        """
        ...


def here(
    check: Callable[[Folder, Sequence[Item]], list[Problem]], run: Folder, items: Sequence[Item]
) -> Iterable[Problem]:
    """Check everything in this process."""
    return check(run, items)
