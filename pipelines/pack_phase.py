"""Phase three: the chosen crops into shards, each shard one task that is a pure function of its list of faces."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distributed import Client

from hqdata.shards import ShardFiles, ShardLayout
from hqdata.shards.format import WORK_FOLDER
from hqdata.sources import Source
from pipelines.dask_map import BuildStopped, Failed, map_bounded
from pipelines.job import Job, order_key, pack_key
from pipelines.knowledge import Knowledge
from pipelines.progress import Progress
from pipelines.rows import PackRow, ScoredFace
from pipelines.stages import pack_shard
from pipelines.stats import Stats
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
    """All shards of a run: their rows, and those that are written already."""

    key: str
    layout: ShardLayout
    shards: list[list[PackRow]]
    done: dict[int, ShardFiles]

    def missing(self) -> list[PackTask]:
        """Return the shards that are not written yet."""
        return [PackTask(shard, rows) for shard, rows in enumerate(self.shards) if shard not in self.done]

    def files(self) -> list[ShardFiles]:
        """Return the written shards in order."""
        return [self.done[shard] for shard in sorted(self.done)]


def plan_shards(
    chosen: Sequence[ScoredFace], known: Knowledge, job: Job, source: Source, rows_per_shard: int
) -> PackPlan:
    """Lay the chosen faces out over shards, in an order that is shuffled but depends on nothing but their ids."""
    rows = [
        PackRow(ref=known.refs[face.photo_id], found=known.found[face.photo_id], scored=face, rank=rank)
        for rank, face in enumerate(chosen)
    ]
    rows.sort(key=lambda row: order_key(row.scored.id))
    shards = list(_even(rows, math.ceil(len(rows) / rows_per_shard)))
    layout = ShardLayout(
        size=job.size, num_shards=max(1, len(shards)), parts=SCORE_PARTS, attributes=source.attribute_names
    )
    key = pack_key(job, rows, rows_per_shard, source.attribute_names)
    return PackPlan(key, layout, shards, _written(job, key))


def pack_missing(client: Client, plan: PackPlan, job: Job, stats: Stats) -> None:
    """Write the shards that are missing; `plan` takes in what was written.

    Raises:
        BuildStopped: if a shard cannot be written; the others stay.
    """
    _forget_other_packs(job, plan.key)
    tasks = plan.missing()
    with Progress("pack", len(tasks), "shards") as progress:
        for outcome in map_bounded(
            client, _pack_one, ([task] for task in tasks), arguments=lambda: (job, plan.key, plan.layout)
        ):
            if isinstance(outcome, Failed):
                raise BuildStopped(f"shard {outcome.item.shard} cannot be written: {outcome.reason}")
            plan.done[outcome.result.shard] = outcome.result
            stats.newly_packed_shards += 1
            progress.advance(1)


def _pack_one(tasks: list[PackTask], job: Job, key: str, layout: ShardLayout) -> ShardFiles:
    (task,) = tasks
    return pack_shard(task.rows, job, key, task.shard, layout)


def _even(rows: list[PackRow], parts: int) -> Iterator[list[PackRow]]:
    """Cut into `parts` runs whose lengths differ by at most one."""
    for part in range(parts):
        yield rows[part * len(rows) // parts : (part + 1) * len(rows) // parts]


def _written(job: Job, key: str) -> dict[int, ShardFiles]:
    markers = map(_read_marker, sorted(job.folder("packed", key).glob("*.json")))
    return {shard.shard: shard for shard in markers if shard is not None and shard.is_whole(job.run_path)}


def _read_marker(path: Path) -> ShardFiles | None:
    try:
        return ShardFiles.from_json(json.loads(path.read_bytes()))
    except (AttributeError, KeyError, TypeError, ValueError):
        logger.warning("%s: damaged, its shard is written again", path)
        return None


def _forget_other_packs(job: Job, key: str) -> None:
    """Files of another layout have the same names, so its done-markers must go before the first one is overwritten."""
    for folder in (job.run_path / WORK_FOLDER / "packed").glob("*"):
        if folder.name != key:
            shutil.rmtree(folder)
