"""Phase one: find, render and score the faces of all photos that the ledger does not know yet."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
from distributed import Client
from jaxtyping import UInt32

from pipelines.config import BuildConfig
from pipelines.dask_map import BuildStopped, Failed, map_bounded
from pipelines.fitness import Fitness
from pipelines.job import Job
from pipelines.knowledge import Knowledge, Quarantine
from pipelines.progress import Progress
from pipelines.rows import ChunkResult, PhotoTask
from pipelines.run_lock import HeldLock
from pipelines.stages import score_chunk
from pipelines.stats import Stats, tally
from pipelines.threshold import CacheThreshold

__all__ = ["score_photos"]

TASKS_PER_WORKER = 4
"""A small build is cut so finely that no worker waits long for the last one."""
ENVIRONMENT_ERROR_LIMIT = 20
"""So many photos may be out of reach, or fail in our own code, before more than half of them failing stops the run."""


def score_photos(
    client: Client,
    known: Knowledge,
    job: Job,
    config: BuildConfig,
    stats: Stats,
    *,
    expected: Fitness | None = None,
    most: int | None = None,
    lock: HeldLock | None = None,
) -> None:
    """Do what is left to do, or the first `most` photos of it; `known` and `stats` take in what comes back.

    Raises:
        BuildStopped: if another driver took the run over, if the environment fails, or if more than half of the first
            photos fail for no fault of theirs.
    """
    left = known.to_do()
    numbers = left[:most]
    photos = len(known.photos)
    threshold = CacheThreshold(count=config.select.count, photos=photos, pilot_photos=config.run.pilot_photos)
    threshold.add(photos - len(left), known.scores())
    fixed = {"off": math.inf, "all": -math.inf}.get(config.run.cache)
    breaker = _Breaker()
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    chunks = _chunks(known, numbers, config.run.chunk_photos, workers)

    def arguments() -> tuple[Job, float]:
        return job, threshold.value if fixed is None else fixed

    details = functools.partial(tally, known)
    with (
        Progress("score", len(numbers), "photos", log=job.run_folder, details=details) as progress,
        Quarantine(job) as quarantine,
    ):
        for outcome in map_bounded(client, score_chunk, chunks, arguments=arguments, expected=expected):
            if lock is not None:
                lock.check()
            if isinstance(outcome, Failed):
                ref = outcome.item.ref
                quarantine.add(ref, outcome.reason)
                known.quarantine(ref.id, ref.version, outcome.reason)
                progress.advance(1, dropped=1)
                continue
            result = outcome.result
            stats.meet(outcome.newcomer)
            known.add_result(result)
            stats.add_chunk(len(outcome.items), result, outcome.seconds)
            threshold.add(len(outcome.items), [face.score for face in result.scored if face.score is not None])
            breaker.add(result, len(outcome.items))
            progress.advance(len(outcome.items), dropped=sum(1 for photo in result.found if photo.stage))


class _Breaker:
    """Stops a run in which the source is out of reach or our own code fails: no photo is at fault."""

    def __init__(self) -> None:
        self._photos = 0
        self._errors = 0

    def add(self, result: ChunkResult, photos: int) -> None:
        self._photos += photos
        self._errors += len(result.to_retry)
        if result.to_retry and self._errors >= ENVIRONMENT_ERROR_LIMIT and self._errors > self._photos / 2:
            raise BuildStopped(
                f"{self._errors} of the first {self._photos} photos failed by no fault of theirs, the last with"
                f" {result.last_error}; mend that and run the same command to go on"
            )


def _chunks(known: Knowledge, numbers: UInt32[np.ndarray, " t"], most: int, workers: int) -> Iterator[list[PhotoTask]]:
    size = max(1, min(most, math.ceil(len(numbers) / max(1, TASKS_PER_WORKER * workers))))
    for start in range(0, len(numbers), size):
        yield [known.task(number) for number in numbers[start : start + size].tolist()]
