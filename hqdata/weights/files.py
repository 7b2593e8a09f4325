"""Reads a file of weights that anyone may have made: whole, of a sane size, and never a pipe or a device."""

from __future__ import annotations

import stat
from pathlib import Path

__all__ = ["LIMIT_BYTES", "read_weights"]

LIMIT_BYTES = 2**31
"""The largest published networks of the families that we know have a third of a gigabyte."""


def read_weights(path: Path) -> bytes:
    """Return the file's bytes.

    Raises:
        ValueError: when it is missing, no regular file, unreadable or larger than `LIMIT_BYTES`; the message tells.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise ValueError(f"{path}: weights cannot be read: it is {kind}; give a file")
        if status.st_size > LIMIT_BYTES:
            raise ValueError(f"{path}: has {status.st_size:,} bytes; weights of at most {LIMIT_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"{path}: weights cannot be read: {reason}; give an existing file") from error
