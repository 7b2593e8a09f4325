"""Keeps a batch system's pool of jobs at its size.

dask-jobqueue submits a job once. One that ended (walltime, preemption, a dead node) stays in its books, so neither its
`scale` nor a second one replaces it (dask-jobqueue#691), and a pool of days shrinks to nothing.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from distributed import Client

__all__ = ["Pool", "queued_jobs", "supervised"]

logger = logging.getLogger(__name__)

INTERVAL_S = 30.0
PATIENCE_TICKS = 3
"""A worker that restarts after a crash is away for a moment; its job has not ended."""
SHORT_LIFE_S = 300.0
"""A job that ends sooner after its worker came says more about the machines than about walltimes."""
SHORT_LIVES = 10
"""So many of those in a row, or three for each job of the pool, and no more are submitted."""


@contextmanager
def supervised(
    cluster: Any,
    client: Client,
    *,
    interval_s: float = INTERVAL_S,
    queued: Callable[[], set[str] | None] | None = None,
) -> Iterator[None]:
    """Replace jobs of a `dask_jobqueue` cluster that ended, as long as the block runs; never more than it has now.

    Args:
        cluster: already scaled to the size that is to be kept.
        client: connected to it.
        interval_s: time between two looks; a job counts as ended after three.
        queued: returns the ids that the batch system knows, None where it does not answer; without it only jobs whose
            worker was seen can be found ended, and one that dies before that counts as waiting.
    """
    stopped = threading.Event()
    watched = (cluster, client, queued or _unknown, interval_s, stopped)
    thread = threading.Thread(target=_watch, args=watched, name="job-supervisor", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _unknown() -> None:
    return None


def _watch(
    cluster: Any, client: Client, queued: Callable[[], set[str] | None], interval_s: float, stopped: threading.Event
) -> None:
    pool = Pool(target=len(cluster.worker_spec))
    while not stopped.wait(interval_s) and not pool.is_given_up:
        try:
            ended = pool.ended(_jobs_now(cluster, client, queued()), now_s=time.monotonic())
            if ended:
                logger.warning("%d of %d jobs have ended; submitting as many again", len(ended), pool.target)
                cluster.sync(cluster.scale_down, sorted(ended))
                cluster.scale(jobs=pool.target)
        except Exception:
            # the cluster is closing, or the batch system does not answer; a supervisor that dies helps nobody
            logger.warning("could not look after the jobs; trying again in %g s", interval_s, exc_info=True)
    if pool.is_given_up:
        logger.error("%d jobs in a row ended soon after they began; no more are submitted", pool.short_lives)


@dataclass(frozen=True, slots=True)
class JobState:
    """What is known of a job at one moment."""

    is_live: bool
    """One of its workers is connected."""
    is_queued: bool | None
    """The batch system knows it, waiting or running; None where that cannot be asked."""


def _jobs_now(cluster: Any, client: Client, queued: set[str] | None) -> dict[Any, JobState]:
    names = {str(worker["name"]) for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
    states = {}
    for job, spec in list(cluster.worker_spec.items()):
        workers = {f"{job}{suffix}" for suffix in spec.get("group", [""])}
        identity = getattr(cluster.workers.get(job), "job_id", None)
        is_queued = None if queued is None or identity is None else str(identity) in queued
        states[job] = JobState(bool(workers & names), is_queued)
    return states


@dataclass(slots=True, kw_only=True)
class Pool:
    """The jobs of a cluster over time."""

    target: int
    short_lives: int = 0
    _came_s: dict[Any, float] = field(default_factory=dict)
    _missed: dict[Any, int] = field(default_factory=dict)

    @property
    def is_given_up(self) -> bool:
        """Whether jobs end so fast that submitting more would only burden the queue."""
        return self.short_lives >= max(SHORT_LIVES, 3 * self.target)

    def ended(self, jobs: Mapping[Any, JobState], *, now_s: float) -> set[Any]:
        """Return the jobs that were found ended three times in a row, and forget them."""
        for job, state in jobs.items():
            if state.is_live:
                self._came_s.setdefault(job, now_s)
            self._missed[job] = self._missed.get(job, 0) + 1 if self._seems_ended(job, state) else 0
        found = {job for job in jobs if self._missed[job] >= PATIENCE_TICKS}
        for job in found:
            lived_s = now_s - self._came_s.pop(job, now_s)
            self.short_lives = self.short_lives + 1 if lived_s < SHORT_LIFE_S else 0
            del self._missed[job]
        return found

    def _seems_ended(self, job: Any, state: JobState) -> bool:
        """A job without a worker has ended if the queue has lost it; where none can be asked, if it had a worker."""
        if state.is_live:
            return False
        return job in self._came_s if state.is_queued is None else not state.is_queued


def queued_jobs() -> set[str] | None:
    """Return the ids of this user's jobs that SLURM knows, waiting or running; None where SLURM does not answer."""
    command = ["squeue", "--noheader", "--me", "--format=%A"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return set(answer.stdout.split()) if answer.returncode == 0 else None
