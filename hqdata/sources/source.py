"""What every source gives: a sorted list of photos, without pixels, and the columns that it carries along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hqdata.record import PhotoRef

__all__ = ["Source", "SourceError", "first_few"]


class SourceError(ValueError):
    """The source as a whole cannot be used: a wrong, missing, empty or contradictory folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Photos found at one place, as they stood when it was opened."""

    kind: str
    """"celeba" or "photos"."""
    root: str
    """An absolute folder or an fsspec URL; with a `PhotoRef` all that `read_bytes` needs in another process."""
    photos: Sequence[PhotoRef]
    """Sorted by id; a table in columns where there may be millions."""
    attribute_names: Mapping[str, type] = field(default_factory=dict)
    """Columns in each photo's `attributes`, and the type of their values."""

    def refs(self) -> list[PhotoRef]:
        """Return the photos, sorted by id, as objects: about a kilobyte each, so not for millions."""
        return list(self.photos)


def first_few(names: list[str], *, count: int = 3) -> str:
    """Return `names` for an error message, shortened.

    >>> first_few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    shown = ", ".join(names[:count])
    return f"{shown} and {len(names) - count} more" if len(names) > count else shown
