"""Files that appear whole or not at all, and what reading others, cut or damaged, leads to."""

from __future__ import annotations

import os
import socket
import struct
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["DAMAGED", "whole_file"]

DAMAGED = (
    ValueError,  # a pickled object, a damaged header, too few bytes
    OSError,
    EOFError,
    KeyError,
    MemoryError,  # a header that promises more than there is
    RuntimeError,  # an encrypted entry, and NotImplementedError: a compression that zipfile does not know
    SyntaxError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Whatever numpy and zipfile raise for bytes that are no whole .npy or .npz file."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write; it becomes `path` when the block ends, and vanishes when the block fails.

    Host, process and thread are in the temporary name, so writers of one target never mix their bytes; the last one
    wins. Whoever may read other new files of this process may read this one.

    Raises:
        OSError: when the folder is not there or cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
