"""One driver at a time in a run folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from hqdata.settings import ConfigError
from hqdata.shards.format import WORK_FOLDER
from hqdata.storage import Folder

__all__ = ["locked"]


@contextmanager
def locked(folder: Folder, *, steal: bool = False) -> Iterator[None]:
    """Hold the run folder for this process; the lock ends with the process, however that ends."""
    (folder.path / WORK_FOLDER).mkdir(parents=True, exist_ok=True)
    with (folder.path / WORK_FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another process is building {folder}; wait for it or stop it first") from error
        yield
