"""Clusters that are started for a build and end with it, by the name of their kind or by a file that describes one."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from dask import config as dask_config
from distributed import Client

from hqdata.settings import ConfigError
from pipelines.clusters.arguments import completed_arguments
from pipelines.clusters.arrival import await_workers
from pipelines.clusters.choice import ClusterChoice, ClusterError, first_line
from pipelines.clusters.description import KINDS, SIZED_AT_START, ClusterDescription, describe_cluster
from pipelines.clusters.security import warn_if_exposed
from pipelines.clusters.supervisor import queued_jobs, supervised

__all__ = ["open_named"]

logger = logging.getLogger(__name__)

EXTRAS = {
    "dask_jobqueue": "jobqueue",
    "dask_cuda": "cuda",
    "dask_kubernetes": "kubernetes",
    "asyncssh": "ssh",
}
"""Extras of our distribution by the package that they bring."""
CALM_ADAPTING = {"interval": "30s", "wait_count": 60}
"""Dask's own second and three of them take workers away between two photos (distributed#3863)."""


@contextmanager
def open_named(choice: ClusterChoice, *, scratch: Path) -> Iterator[Client]:
    """Yield a client of a cluster that is started here; its jobs, pods or processes are gone when the block ends.

    Raises:
        ConfigError: if the description cannot be carried out as it is written.
        ClusterError: if the cluster does not start.
        SchedulerLost: if no workers come in time.
    """
    description = describe_cluster(str(choice.cluster))
    with dask_config.set(dict(description.config)):
        make = load_class(description)
        arguments = completed_arguments(description, choice, scratch=scratch)
        with _started(make, arguments, description) as cluster, Client(cluster) as client:
            warn_if_exposed(client)
            with _sized(cluster, client, description, choice):
                await_workers(client, choice)
                yield client


def load_class(description: ClusterDescription) -> Callable[..., Any]:
    """Import and return what starts the cluster.

    Raises:
        ConfigError: if its package is not installed, or has no such class.
    """
    module, _, name = description.path.rpartition(".")
    try:
        if description.path == KINDS["ssh"]:
            importlib.import_module("asyncssh")  # which dask itself misses only once it connects
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigError(_missing(description, error.name or module)) from error
    except AttributeError as error:
        raise ConfigError(f"{description.origin}: {module} has no {name}") from error


def _missing(description: ClusterDescription, package: str) -> str:
    extra = EXTRAS.get(package.split(".")[0])
    install = f"pip install 'progan-hq[{extra}]'" if extra else "install it"
    return f"{description.origin} needs the package {package}, which is not installed; {install}"


def _started(
    make: Callable[..., Any], arguments: dict[str, Any], description: ClusterDescription
) -> AbstractContextManager[Any]:
    logger.info("starting %s", description.path)
    try:
        return make(**arguments)
    except ModuleNotFoundError as error:
        raise ConfigError(_missing(description, error.name or description.family)) from error
    except (TypeError, ValueError) as error:
        said = first_line(error).removesuffix(", for example:")  # whose next lines are of no use at a command line
        raise ConfigError(
            f"{description.origin}: {description.path} refuses its kwargs: {said}; they stand under [kwargs] in a file"
            " for --cluster, or in Dask's own configuration"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"{description.origin}: {description.path} does not start: {first_line(error)}") from error


def _sized(
    cluster: Any, client: Client, description: ClusterDescription, choice: ClusterChoice
) -> AbstractContextManager[None]:
    """Bring a cluster to its size; return what keeps it there."""
    is_batch = description.family == "dask_jobqueue"
    if description.adapt and choice.jobs is None:
        cluster.adapt(**(_calm(description.adapt) if is_batch else description.adapt))
        return nullcontext()
    if description.path in SIZED_AT_START:
        return nullcontext()
    if is_batch:
        cluster.scale(**({"jobs": choice.jobs} if choice.jobs else description.scale or {"jobs": 1}))
        queued = queued_jobs if description.path == KINDS["slurm"] else None
        return supervised(cluster, client, queued=queued)
    cluster.scale(choice.jobs or description.scale.get("n", 1))
    return nullcontext()


def _calm(adapt: Mapping[str, Any]) -> dict[str, Any]:
    floor = {} if "minimum_jobs" in adapt else {"minimum": 1}
    return {**CALM_ADAPTING, **floor, **adapt}
