"""Where the work runs: one file a kind of cluster, all behind `open_cluster`.

`choice` is what the command line said. `local` starts processes here, `address` finds somebody else's scheduler,
`named` starts what a `description` says, with the `arguments` that a build wants and Dask's `defaults`; `supervisor`
keeps a batch system's jobs at their number, `walltime` ends workers in time, `arrival` waits for the first. `security`
is TLS, `ignore_interrupts` a preload of workers here. `slurm_script` writes a pool that outlives all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from dask import config as dask_config
from distributed import Client

from hqdata.settings import ConfigError
from pipelines.clusters.address import address_in, open_address
from pipelines.clusters.choice import ClusterChoice, ClusterError
from pipelines.clusters.defaults import SETTINGS
from pipelines.clusters.local import open_local
from pipelines.clusters.named import open_named
from pipelines.patience import Patience
from pipelines.stopping import BuildStopped, SchedulerLost

__all__ = ["ClusterChoice", "ClusterError", "losing_the_scheduler", "open_cluster"]


@contextmanager
def open_cluster(choice: ClusterChoice, *, scratch: Path) -> Iterator[Client]:
    """Yield a client of the chosen cluster with its workers there; what was started here ends with the block.

    Args:
        choice: kind and size; a default one is this machine, or the scheduler that dask's configuration names.
        scratch: folder for the temporary files of workers on this machine; others use their own machine's.

    Raises:
        ConfigError: if the choice cannot be carried out as it is written.
        ClusterError: if the cluster does not start or does not answer.
        SchedulerLost: if no workers come in time, or the scheduler goes away; the same command may have them later.
    """
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong reaches the driver as an exception
    Patience.configured()
    with dask_config.set(SETTINGS), _opened(choice, scratch) as client, losing_the_scheduler(client):
        yield client


@contextmanager
def losing_the_scheduler(client: Client) -> Iterator[None]:
    """Turn whatever Dask raises once its scheduler is gone (a KeyError, a cancelled future) into one error.

    Raises:
        SchedulerLost: in place of such an error.
    """
    try:
        yield
    except (BuildStopped, ConfigError):
        raise
    except Exception as error:
        is_of_a_disk = isinstance(error, OSError) and error.errno is not None
        if client.status == "running" or is_of_a_disk:
            raise
        raise SchedulerLost("the scheduler is gone; what is done is safe, run the same command to resume") from error


def _opened(choice: ClusterChoice, scratch: Path) -> AbstractContextManager[Client]:
    if choice.cluster == "local":
        return open_local(replace(choice, cluster=None, jobs=None, local=str(choice.jobs or 0)), scratch=scratch)
    if choice.cluster is not None:
        return open_named(choice, scratch=scratch)
    if choice.scheduler_file is not None:
        return open_address(choice, address_in(choice.scheduler_file, wait_s=choice.wait_s))
    configured = None if choice.is_made else dask_config.get("scheduler-address", None)
    address = choice.scheduler or configured
    if address is not None:
        return open_address(choice, address)
    return open_local(choice, scratch=scratch)
