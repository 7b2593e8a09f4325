"""Worker processes on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dask import config as dask_config
from distributed import Client, LocalCluster

__all__ = ["open_local"]

SETTINGS = {
    # the driver halves and resubmits by itself: two bad photos among 400 cost 9 s instead of 40 s with the default of 3
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-saturation": 1.0,
    # results are on disk before a task returns, so there is nothing to spill
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.9,
    "distributed.worker.memory.terminate": 0.97,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.low-level-log-length": 1000,
    # a nanny makes glibc give freed pictures back at once, and getting them again costs half as much CPU once more
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": str(2**29),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    },
}


@contextmanager
def open_local(*, workers: int, scratch: Path) -> Iterator[Client]:
    """Yield a client of a fresh local cluster; its processes are gone when the block ends."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong reaches the driver as an exception
    count = workers or len(os.sched_getaffinity(0))
    scratch.mkdir(parents=True, exist_ok=True)
    with (
        dask_config.set(SETTINGS),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            local_directory=str(scratch),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(count, timeout=120)
        yield client
