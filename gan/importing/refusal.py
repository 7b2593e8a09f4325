"""The one error of this package."""

from __future__ import annotations

__all__ = ["ForeignFileError"]


class ForeignFileError(ValueError):
    """A file cannot be imported: damaged, of another kind, or asking for what is never run; the message says which."""
