"""A folder held by one process at a time, so that two trainings never write into each other's files."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hqdata.settings import ConfigError

__all__ = ["locked_folder"]

LOCK_FILE = ".lock"

_LOGGER = logging.getLogger(__name__)


@contextmanager
def locked_folder(run: Path) -> Iterator[None]:
    """Hold a run's folder for this process; the lock ends with the process, however that ends.

    On a file system without locks there is a warning, and no protection.

    Args:
        run: created where missing.

    Raises:
        ConfigError: when another process holds it.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"another process is training in {run}; wait for it or stop it first") from error
        except OSError as error:
            _LOGGER.warning("%s: cannot be locked (%s); start no second training in it", run, error.strerror)
        yield
