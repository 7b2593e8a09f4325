"""A machine's folder for temporary files: room for a file that is built here before it goes to an object store.

Each file gets a folder of its own, locked for as long as it is in use. What a killed process left behind is therefore
told from what another one needs, and the next process on the machine removes it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SCRATCH_VARIABLE", "scratch_file", "scratch_folder", "sweep_scratch"]

SCRATCH_VARIABLE = "HQDATA_SCRATCH"
"""Environment variable: the folder for temporary files, where the system's own is too small or too slow."""
PREFIX = "hqdata-scratch-"
SWEPT_AFTER_S = 60.0
"""Age at which a folder without a lock is garbage: between being made and being locked there is an instant."""
REMEDY = f"free some, or name another folder in {SCRATCH_VARIABLE}"

logger = logging.getLogger(__name__)


def scratch_folder() -> Path:
    """Return where temporary files go: $HQDATA_SCRATCH, else the system's temporary folder."""
    return Path(os.environ.get(SCRATCH_VARIABLE) or tempfile.gettempdir()).expanduser()


@contextmanager
def scratch_file(name: str) -> Iterator[Path]:
    """Yield a path for a temporary file called as the last part of `name`; it is gone when the block ends.

    Raises:
        OSError: if the scratch folder is full, missing or not writable; it names the folder and the variable.
    """
    place = scratch_folder()
    with _explained(place):
        sweep_scratch(place)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        lock = os.open(folder, os.O_RDONLY)
        try:
            _lock(lock)
            yield folder / name.rsplit("/", 1)[-1]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def sweep_scratch(place: Path) -> None:
    """Remove what killed processes left in a scratch folder; what nobody can tell of stays."""
    for folder in place.glob(f"{PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime < SWEPT_AFTER_S:
                continue
            lock = os.open(folder, os.O_RDONLY)
        except OSError:
            continue  # gone meanwhile, or somebody else's
        try:
            if _lock(lock):
                logger.info("removing %s, left behind by a process that was killed", folder)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _lock(descriptor: int) -> bool:
    """Lock an open folder; False where somebody else has, or the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _explained(place: Path) -> Iterator[None]:
    """Say of an error that it is the scratch folder's, where it is."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(place)):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, f"no room left in the scratch folder {place}; {REMEDY}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OSError(error.errno, f"the scratch folder {place} is not writable; {REMEDY}") from error
        if not place.is_dir():
            what = f"the scratch folder {place} is not there; make it, or name another one in {SCRATCH_VARIABLE}"
            raise NotADirectoryError(errno.ENOTDIR, what) from error
        raise
