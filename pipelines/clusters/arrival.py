"""Waiting until enough workers are there."""

from __future__ import annotations

import logging

from distributed import Client

from pipelines.clusters.choice import ClusterChoice
from pipelines.stopping import SchedulerLost

__all__ = ["await_workers"]

logger = logging.getLogger(__name__)


def await_workers(client: Client, choice: ClusterChoice, *, default: int = 1) -> None:
    """Return when the workers that the choice waits for, else `default` of them, are connected.

    Raises:
        SchedulerLost: if they are not there in time; a queue may only be long.
    """
    wanted = choice.wait_workers or default
    try:
        client.wait_for_workers(wanted, timeout=choice.wait_s)
    except TimeoutError as error:
        present = len(client.scheduler_info(n_workers=-1)["workers"])
        raise SchedulerLost(
            f"{present} of {wanted} workers came within {choice.wait_s:g} s; look at the queue and at the workers' own"
            " logs, or give --wait-workers or --wait-timeout"
        ) from error
