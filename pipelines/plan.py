"""What a build would do, without doing it: counts, chunks, storage, and what is redone and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hqdata.storage import Folder, open_folder
from pipelines.build_dataset import choose_device, open_configured_source, settled_device
from pipelines.config import BuildConfig
from pipelines.face_rows import ChosenFaces
from pipelines.job import list_photos, make_job
from pipelines.knowledge import Knowledge
from pipelines.pack_phase import plan_shards
from pipelines.run_folder import describe_run, is_finished, previous_run, require_apart, settings_changed

__all__ = ["BuildPlan", "plan_build"]

PNG_SHARE = 0.45
"""Of raw bytes, for crops of photos; measured 0.42-0.53 at 1024 px."""
PYRAMID_FACTOR = 4 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The work that is left, and the room that it needs."""

    kind: str
    photos: int
    photos_done: int
    photos_to_find: int
    photos_to_render: int
    """Photos whose faces are known but not rendered with today's settings."""
    chunks: int
    selected: int
    """Faces that would be chosen, an upper bound while not all photos are scored."""
    shards: int
    shards_done: int | None
    """None while it is not known which faces are chosen."""
    tensor_bytes: int
    parquet_bytes: int
    cache_bytes: int
    changes: tuple[str, ...]
    """Settings that differ from the last build in this folder."""
    finished: bool
    """Whether the run folder holds the whole result already."""

    def lines(self) -> Iterator[str]:
        """Yield the plan as text."""
        yield f"source      {self.kind}: {self.photos} photos"
        yield f"score       {self.photos_done} done, {self.photos_to_find} to find and render,"
        yield f"            {self.photos_to_render} to render again with known faces ({self.chunks} chunks)"
        done = "unknown until all are scored" if self.shards_done is None else f"{self.shards_done} done"
        yield f"pack        up to {self.selected} faces in {self.shards} shards, {done}"
        yield f"storage     tensors {_size(self.tensor_bytes)}, Parquet about {_size(self.parquet_bytes)},"
        yield f"            cache about {_size(self.cache_bytes)}"
        for change in self.changes:
            yield f"changed     {change}"
        yield "nothing is left to do" if self.finished else "finish      tables, report and manifest to write"


def plan_build(config: BuildConfig, run: Folder | Path | str) -> BuildPlan:
    """Return what `build_dataset` with these arguments would do; writes nothing.

    Raises:
        ConfigError: for settings or a folder that cannot be used.
        SourceError: if the source is not what it should be.
    """
    folder = open_folder(run)
    source = open_configured_source(config)
    require_apart(source, folder)
    before = previous_run(folder)
    job = make_job(config, source, folder, settled_device(config, before) or choose_device())
    refs = list_photos(source, job)
    description = describe_run(config, job, refs)
    known = Knowledge.load(refs, job)
    num_tasks = len(known.to_do())
    to_find = known.num_to_find()
    chosen = known.best(config.select.count)
    most = min(config.select.count, max(len(refs), len(chosen))) if num_tasks else len(chosen)
    raw = 3 * config.align.size**2
    shards_done = None
    if not num_tasks:
        with ChosenFaces(known, job, chosen) as faces:
            shards_done = len(plan_shards(faces, job, source, config.pack.rows_per_shard).done)
    return BuildPlan(
        kind=source.kind,
        photos=len(refs),
        photos_done=len(refs) - num_tasks,
        photos_to_find=to_find,
        photos_to_render=num_tasks - to_find,
        chunks=math.ceil(num_tasks / config.run.chunk_photos),
        selected=most,
        shards=math.ceil(most / config.pack.rows_per_shard),
        shards_done=shards_done,
        tensor_bytes=round(most * raw * PYRAMID_FACTOR),
        parquet_bytes=round(most * raw * PNG_SHARE),
        cache_bytes=round(min(len(refs), most + config.run.pilot_photos) * raw * PNG_SHARE),
        changes=tuple(settings_changed(before, description)),
        finished=not num_tasks and is_finished(folder, description),
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
