"""Worker processes on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster

from pipelines.clusters.arrival import await_workers
from pipelines.clusters.choice import ClusterChoice
from pipelines.clusters.security import security_of

__all__ = ["open_local"]


@contextmanager
def open_local(choice: ClusterChoice, *, scratch: Path) -> Iterator[Client]:
    """Yield a client of a fresh local cluster; its processes are gone when the block ends."""
    processes, threads = choice.local_size
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        LocalCluster(
            n_workers=processes,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            local_directory=str(scratch),
            security=security_of(choice),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        await_workers(client, choice, default=processes)
        yield client
