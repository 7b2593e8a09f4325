"""A scheduler that somebody else started, by its address or by the file it wrote."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from pipelines.clusters.arrival import await_workers
from pipelines.clusters.choice import ClusterChoice, ClusterError, first_line
from pipelines.clusters.defaults import warn_of_other_settings
from pipelines.clusters.security import security_of, warn_if_exposed

__all__ = ["open_address"]

logger = logging.getLogger(__name__)

CONNECT_S = 60.0
"""A scheduler that is up answers within this; a wrong address should not cost the whole wait for workers."""


@contextmanager
def open_address(choice: ClusterChoice, address: str) -> Iterator[Client]:
    """Yield a client of the scheduler at `address`, which goes on when the block ends.

    Raises:
        ClusterError: if nobody answers there.
        SchedulerLost: if no workers come in time.
    """
    try:
        client = Client(address, security=security_of(choice), timeout=min(CONNECT_S, choice.wait_s))
    except (OSError, ValueError) as error:
        raise ClusterError(f"no scheduler answers at {address}: {first_line(error)}") from error
    with client:
        warn_if_exposed(client)
        warn_of_other_settings(client)
        await_workers(client, choice)
        yield client


def address_in(file: Path, *, wait_s: float) -> str:
    """Return the address in a scheduler file, waiting for the scheduler to write it.

    Raises:
        ClusterError: if there is no such file in time, or none that a scheduler wrote.
    """
    deadline = time.monotonic() + wait_s
    is_told = False
    while True:
        address = _read_address(file)
        if address is not None:
            return address
        if not is_told:
            logger.info("waiting up to %g s for a scheduler to write its address to %s", wait_s, file)
            is_told = True
        if time.monotonic() > deadline:
            what = "is not what `dask scheduler --scheduler-file` writes" if file.exists() else "was not written"
            raise ClusterError(f"{file} {what} within {wait_s:g} s; is the scheduler running?")
        time.sleep(0.2)


def _read_address(file: Path) -> str | None:
    try:
        address = json.loads(file.read_text())["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there yet, or half written
    return address if isinstance(address, str) else None
