"""Phase three: the chosen crops into shards, each shard one task that is a pure function of its list of faces."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import Client
from jaxtyping import Int64

from hqdata.shards import ShardFiles, ShardLayout, whole_shards
from hqdata.shards.format import WORK_FOLDER
from hqdata.sources import Source
from hqdata.storage import Folder
from pipelines.dask_map import BuildStopped, Failed, map_bounded
from pipelines.face_rows import ChosenFaces
from pipelines.fitness import Fitness
from pipelines.job import STAGE_VERSIONS, Job
from pipelines.ledger import fingerprint
from pipelines.progress import Progress
from pipelines.rows import PackRow, to_dict
from pipelines.run_lock import HeldLock
from pipelines.stages import pack_shard
from pipelines.stats import Stats, tally
from pipelines.tables import SCORE_PARTS

__all__ = ["PackPlan", "pack_missing", "plan_shards"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackTask:
    """One shard to write."""

    shard: int
    rows: list[PackRow]


@dataclass(slots=True)
class PackPlan:
    """All shards of a run: the ranks of their faces, and those shards that are written already."""

    key: str
    layout: ShardLayout
    shards: list[Int64[np.ndarray, " rows"]]
    done: dict[int, ShardFiles]

    def missing(self, chosen: ChosenFaces) -> Iterator[list[PackTask]]:
        """Yield the shards that are not written yet, each a list of its own."""
        for shard, ranks in enumerate(self.shards):
            if shard not in self.done:
                yield [PackTask(shard, [chosen[rank] for rank in ranks.tolist()])]

    def num_missing(self) -> int:
        """Return how many shards are not written yet."""
        return len(self.shards) - len(self.done)

    def files(self) -> list[ShardFiles]:
        """Return the written shards in order."""
        return [self.done[shard] for shard in sorted(self.done)]


def plan_shards(chosen: ChosenFaces, job: Job, source: Source, rows_per_shard: int) -> PackPlan:
    """Lay the chosen faces out over shards, in an order that is shuffled but depends on nothing but their ids."""
    order = chosen.shuffled()
    num_shards = math.ceil(len(order) / rows_per_shard)
    layout = ShardLayout(
        size=job.size, num_shards=max(1, num_shards), parts=SCORE_PARTS, attributes=source.attribute_names
    )
    key = _pack_key(job, (chosen[rank] for rank in order.tolist()), rows_per_shard, source.attribute_names)
    return PackPlan(key, layout, list(_even(order, num_shards)), _written(job, key))


def pack_missing(
    client: Client,
    plan: PackPlan,
    chosen: ChosenFaces,
    job: Job,
    stats: Stats,
    *,
    expected: Fitness | None = None,
    lock: HeldLock | None = None,
) -> None:
    """Write the shards that are missing; `plan` takes in what was written.

    Raises:
        BuildStopped: if another driver took the run over, or a shard cannot be written; the others stay.
    """
    _forget_other_packs(job, plan.key)
    details = functools.partial(tally, chosen.known)
    with Progress("pack", plan.num_missing(), "shards", log=job.run_folder, details=details) as progress:
        for outcome in map_bounded(
            client,
            _pack_one,
            plan.missing(chosen),
            arguments=lambda: (job, plan.key, plan.layout),
            expected=expected,
        ):
            if lock is not None:
                lock.check()
            if isinstance(outcome, Failed):
                raise BuildStopped(f"shard {outcome.item.shard} cannot be written: {outcome.reason}")
            stats.meet(outcome.newcomer)
            plan.done[outcome.result.shard] = outcome.result
            stats.add_shard(len(plan.shards[outcome.result.shard]), outcome.seconds)
            progress.advance(1)


def _pack_one(tasks: list[PackTask], job: Job, key: str, layout: ShardLayout) -> ShardFiles:
    (task,) = tasks
    return pack_shard(task.rows, job, key, task.shard, layout)


def _even(order: Int64[np.ndarray, " k"], parts: int) -> Iterator[Int64[np.ndarray, " rows"]]:
    """Cut into `parts` runs whose lengths differ by at most one; where the longer ones stand is part of the format."""
    for part in range(parts):
        yield order[part * len(order) // parts : (part + 1) * len(order) // parts]


def _pack_key(job: Job, rows: Iterable[PackRow], rows_per_shard: int, columns: Mapping[str, Any]) -> str:
    """Return the fingerprint of the packed shards: all that is written of the chosen faces, and how it is laid out."""
    faces = hashlib.sha256()
    for row in rows:
        faces.update(json.dumps(_packed_values(row), sort_keys=True).encode())
    return fingerprint(
        {
            "stage": STAGE_VERSIONS["pack"],
            "score": job.score_key,
            "faces": faces.hexdigest(),
            "rows_per_shard": rows_per_shard,
            "columns": {name: str(kind) for name, kind in columns.items()},
        }
    )


def _packed_values(row: PackRow) -> list[Any]:
    """Everything of a face that a shard holds; not its photo's version, since a copied photo changes nothing."""
    scored = {name: value for name, value in to_dict(row.scored).items() if name != "version"}
    face = row.found.faces[row.scored.index]
    size = (row.found.height, row.found.width)
    return [row.rank, row.ref.path, dict(row.ref.attributes), size, face.landmarks, face.landmark_source, scored]


def _written(job: Job, key: str) -> dict[int, ShardFiles]:
    folder = job.folder("packed", key)
    markers = (_read_marker(folder, name, data) for name, data in folder.read_many(f.name for f in folder.files()))
    read = (shard for shard in markers if shard is not None)
    return {shard.shard: shard for shard in whole_shards(job.run_folder, read)}


def _read_marker(folder: Folder, name: str, data: bytes) -> ShardFiles | None:
    try:
        return ShardFiles.from_json(json.loads(data))
    except (AttributeError, KeyError, TypeError, ValueError):
        logger.warning("%s/%s: damaged, its shard is written again", folder, name)
        return None


def _forget_other_packs(job: Job, key: str) -> None:
    """Files of another layout have the same names, so its done-markers must go before the first one is overwritten."""
    packed = job.run_folder / WORK_FOLDER / "packed"
    for name in packed.folders():
        if name != key:
            (packed / name).delete_all()
