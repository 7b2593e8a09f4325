"""The Dask settings that a build wants: used for clusters started here, compared with those of a foreign scheduler."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from dask import config as dask_config
from dask.utils import parse_timedelta
from distributed import Client

__all__ = ["SETTINGS", "environment", "warn_of_other_settings"]

logger = logging.getLogger(__name__)

SETTINGS: dict[str, Any] = {
    # the driver halves and resubmits by itself: two bad photos among 400 cost 9 s instead of 40 s with the default of 3
    "distributed.scheduler.allowed-failures": 0,
    # a stolen task may run twice, and there is never a queue to steal from
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-saturation": 1.0,
    # a stopped worker keeps its connection; only its silence tells
    "distributed.scheduler.worker-ttl": "120s",
    # results are on disk before a task returns, so there is nothing to spill
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
    "distributed.admin.low-level-log-length": 1000,
    "distributed.comm.retry.count": 3,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.comm.timeouts.tcp": "60s",
    # a nanny makes glibc give freed pictures back at once, and getting them again costs half as much CPU once more
    "distributed.nanny.pre-spawn-environ": {
        "MALLOC_TRIM_THRESHOLD_": str(2**29),
        "MALLOC_MMAP_THRESHOLD_": str(2**25),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    },
}

SCHEDULER_KEYS = {
    "distributed.scheduler.allowed-failures": "each deadly photo then kills that many workers more",
    "distributed.scheduler.work-stealing": "tasks then run twice",
    "distributed.scheduler.worker-ttl": "a stopped worker is then noticed too late, or a busy one given up",
}
"""What only the scheduler's own start can set, and what another value costs."""


def environment(also: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the settings as environment variables, for workers and schedulers in other places.

    Args:
        also: further Dask settings, nested or with dotted keys, which win.
    """
    return {variable(key): _as_text(value) for key, value in {**SETTINGS, **_flat(also or {})}.items()}


def _in_seconds(value: Any) -> Any:
    """Return a time as a number, so that "2 minutes" is "120s"; anything else as it is."""
    return parse_timedelta(value) if isinstance(value, str) else value


def _flat(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found = {}
    for name, value in config.items():
        key = f"{above}{name}"
        # names of environment variables in there have capitals, which a variable of Dask's own cannot carry
        is_table = isinstance(value, Mapping) and key != "distributed.nanny.pre-spawn-environ"
        found.update(_flat(value, f"{key}.") if is_table else {key: value})
    return found


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return value if isinstance(value, str) else repr(value)


def variable(key: str) -> str:
    """Return the environment variable of a Dask setting.

    >>> variable("distributed.scheduler.worker-ttl")
    'DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL'
    """
    return "DASK_" + key.replace(".", "__").replace("-", "_").upper()


def warn_of_other_settings(client: Client) -> None:
    """Log what a scheduler that others started does otherwise; it works all the same, but fails less gracefully."""
    for key, cost in SCHEDULER_KEYS.items():
        value = client.run_on_scheduler(dask_config.get, key, None)
        if _in_seconds(value) != _in_seconds(SETTINGS[key]):
            setting = f"{variable(key)}={SETTINGS[key]}"
            logger.warning("the scheduler runs with %s = %s: %s; start it with %s", key, value, cost, setting)
