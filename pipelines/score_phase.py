"""Phase one: find, render and score the faces of all photos that the ledger does not know yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from distributed import Client

from pipelines.config import BuildConfig
from pipelines.dask_map import BuildStopped, Failed, map_bounded
from pipelines.job import Job
from pipelines.knowledge import Knowledge
from pipelines.progress import Progress
from pipelines.rows import ChunkResult, PhotoTask, ScoredFace
from pipelines.stages import score_chunk
from pipelines.stats import Stats
from pipelines.threshold import CacheThreshold

__all__ = ["score_photos"]

TASKS_PER_WORKER = 4
"""A small build is cut so finely that no worker waits long for the last one."""
ENVIRONMENT_ERROR_LIMIT = 20
"""So many photos may be out of reach, or fail in our own code, before more than half of them failing stops the run."""


def score_photos(
    client: Client, tasks: Sequence[PhotoTask], known: Knowledge, job: Job, config: BuildConfig, stats: Stats
) -> None:
    """Do the tasks; `known` and `stats` take in what comes back.

    Raises:
        BuildStopped: if the environment fails, or if more than half of the first photos fail for no fault of theirs.
    """
    count = config.select.count
    threshold = CacheThreshold(count=count, photos=len(known.refs), pilot_photos=config.run.pilot_photos)
    threshold.add(len(known.refs) - len(tasks), _scores(known.scored.values()))
    breaker = _Breaker()
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    chunks = _chunks(tasks, config.run.chunk_photos, workers)
    with Progress("score", len(tasks), "photos") as progress:
        for outcome in map_bounded(client, score_chunk, chunks, arguments=lambda: (job, threshold.value)):
            if isinstance(outcome, Failed):
                known.failed[outcome.item.ref.id] = outcome.reason
                progress.advance(1, dropped=1)
                continue
            result = outcome.result
            known.add_result(result)
            stats.add_result(len(outcome.items), result)
            threshold.add(len(outcome.items), _scores(result.scored))
            breaker.add(result, len(outcome.items))
            progress.advance(len(outcome.items), dropped=sum(1 for photo in result.found if photo.stage))


class _Breaker:
    """Stops a run in which the source is out of reach or our own code fails: no photo is at fault."""

    def __init__(self) -> None:
        self._photos = 0
        self._errors = 0

    def add(self, result: ChunkResult, photos: int) -> None:
        rows = [row for row in (*result.found, *result.scored) if row.retry]
        self._photos += photos
        self._errors += len({row.photo_id for row in rows})
        if rows and self._errors >= ENVIRONMENT_ERROR_LIMIT and self._errors > self._photos / 2:
            raise BuildStopped(
                f"{self._errors} of the first {self._photos} photos failed by no fault of theirs, the last with"
                f" {rows[-1].stage}: {rows[-1].reason}; mend that and run the same command to go on"
            )


def _scores(faces: Iterable[ScoredFace]) -> list[tuple[str, float]]:
    return [(face.id, face.score) for face in faces if face.score is not None]


def _chunks(tasks: Sequence[PhotoTask], most: int, workers: int) -> Iterator[list[PhotoTask]]:
    size = max(1, min(most, math.ceil(len(tasks) / max(1, TASKS_PER_WORKER * workers))))
    for start in range(0, len(tasks), size):
        yield list(tasks[start : start + size])
