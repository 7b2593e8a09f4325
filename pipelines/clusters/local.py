"""Worker processes on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dask import config as dask_config
from distributed import Client, LocalCluster

from pipelines.clusters import ignore_interrupts
from pipelines.clusters.arrival import await_workers
from pipelines.clusters.choice import ClusterChoice
from pipelines.clusters.security import security_of

__all__ = ["open_local"]

LOST_WORKER_TIMEOUT = "10 minutes"
"""How long a nanny has to restart its worker. Dask's 15 s are too few where the cores are busy: it then closes the
nanny, and a build whose photos kill workers is left with none."""


@contextmanager
def open_local(choice: ClusterChoice, *, scratch: Path) -> Iterator[Client]:
    """Yield a client of a fresh local cluster; its processes are gone when the block ends."""
    processes, threads = choice.local_size
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        dask_config.set(
            {
                "distributed.deploy.lost-worker-timeout": LOST_WORKER_TIMEOUT,
                "distributed.worker.preload": [ignore_interrupts.__name__],
            }
        ),
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
