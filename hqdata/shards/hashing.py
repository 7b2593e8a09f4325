"""sha256 of files, computed while they are written, so that nothing is read back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["HashedFile"]

CHUNK_BYTES = 1 << 20


class HashedFile:
    """A new binary file that knows the hash and the number of the bytes written to it.

    Write-only and sequential; it has what pyarrow asks of a Python file.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=CHUNK_BYTES)
        self._hash = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    @property
    def sha256(self) -> str:
        """Hash of everything written so far, in hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Append `data`; return its number of bytes."""
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._file.write(view)
        self._bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self._bytes

    def flush(self) -> None:
        """Hand buffered bytes to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        self._file.close()
