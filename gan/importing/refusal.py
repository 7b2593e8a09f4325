"""When a foreign file is refused as a whole, and the one error of this package."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DAMAGE", "MOST_BYTES", "ForeignFileError", "read_limited"]

MOST_BYTES = 2 << 30
"""The authors' largest file, three networks for 1024 px, has 277 MB."""

DAMAGE = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)
"""What values of the wrong kind or shape make of the code that puts networks together."""


class ForeignFileError(ValueError):
    """A file cannot be imported: damaged, of another kind, or asking for what is never run; the message says which."""


def read_limited(file: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ForeignFileError: when there are more than any network needs.
        OSError: when it cannot be read.
    """
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise ForeignFileError(f"has {size:,} bytes, more than the {MOST_BYTES:,} that networks can need")
    return file.read_bytes()
