"""What a cluster's scheduler is: it unpickles every task, so it needs the package too, though not torch."""

from __future__ import annotations

import importlib
import platform
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, cast

from dask import config as dask_config
from distributed import Client

from pipelines.clusters.defaults import SCHEDULER_KEYS

__all__ = ["SchedulerReport", "examine_scheduler", "package_version"]

TASKS = "pipelines.worker_task"
"""What every task is made of; whatever that imports, the scheduler must be able to import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerReport:
    """The process that hands out the tasks."""

    address: str
    host: str
    python: str = ""
    distributed: str = ""
    package: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    """Dask's settings that only the scheduler's own start can change."""
    faults: tuple[str, ...] = ()
    """Why it could hand out no task."""
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The process, for messages."""
        return f"the scheduler {self.address} on {self.host}"


def examine_scheduler(client: Client) -> SchedulerReport:
    """Return what the scheduler is; it needs nothing of ours for us to find out that ours is missing there."""
    address, host = client.scheduler_info(n_workers=0)["address"], str(client.run_on_scheduler(socket.gethostname))
    try:
        client.run_on_scheduler(importlib.import_module, TASKS)  # Python's own function, so any scheduler knows it
        facts = cast("dict[str, Any]", client.run_on_scheduler(scheduler_facts))
    except (ImportError, AttributeError) as error:
        fault = f"it cannot import {TASKS} ({error}), so no task could be handed out; install progan-hq where it runs"
        return SchedulerReport(address=address, host=host, faults=(fault,))
    return SchedulerReport(address=address, host=host, warnings=tuple(_differences(facts)), **facts)


def scheduler_facts() -> dict[str, Any]:
    """Return the versions and settings of the scheduler that runs this."""
    return {
        "python": platform.python_version(),
        "distributed": metadata.version("distributed"),
        "package": package_version(),
        "settings": {key: dask_config.get(key, None) for key in SCHEDULER_KEYS},
    }


def package_version() -> str:
    """Return the version of this package; empty where it runs from a folder that is not installed."""
    try:
        return metadata.version("progan-hq")
    except metadata.PackageNotFoundError:
        return ""


def _differences(facts: dict[str, Any]) -> Iterator[str]:
    for what, driver in (("distributed", metadata.version("distributed")), ("package", package_version())):
        if facts[what] != driver:
            name = "progan-hq" if what == "package" else what
            yield f"{name} is {facts[what] or 'not installed'}, the driver has {driver or 'a folder without version'}"
