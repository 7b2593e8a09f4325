"""What a build would do, without doing it: counts, chunks, storage, hours, and what is redone and why."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from hqdata.storage import Folder, open_folder
from pipelines.config import BuildConfig
from pipelines.durations import in_words
from pipelines.face_rows import ChosenFaces
from pipelines.known_run import KnownRun, know_run
from pipelines.pack_phase import plan_shards
from pipelines.plan_estimates import TimeEstimate, estimate_time, expected_cached
from pipelines.redo_reasons import redo_reasons
from pipelines.room_needed import parquet_bytes, tensor_bytes
from pipelines.run_folder import is_finished, settings_changed
from pipelines.select_phase import select
from pipelines.spending import read_spending
from pipelines.tables import SCORES_PATH

__all__ = ["BuildPlan", "plan_build"]

JUDGED_PHOTOS = 100
"""So many must be done before they say how many faces a photo has; one, until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """The work that is left, and the room and time that it needs."""

    kind: str
    device: str
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
    """At its largest: the crops that the running threshold lets in."""
    time: TimeEstimate | None
    """None while no photo was measured with these settings."""
    changes: tuple[str, ...]
    """Settings that differ from the last build in this folder."""
    reasons: tuple[str, ...]
    """The same with what follows from them, and what is to do without any."""
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
        if not self.finished:
            yield from self._time_lines()
        for reason in self.reasons:
            yield f"because     {reason}"
        yield "nothing is left to do" if self.finished else "finish      tables, report and manifest to write"

    def _time_lines(self) -> Iterator[str]:
        if self.time is None:
            yield "time        not measured with these settings yet; --pilot 64 scores some photos to find out"
            return
        worker = "a GPU" if self.device == "cuda" else "one worker"
        core = in_words(self.time.core_s)
        yield f"time        about {in_words(self.time.worker_s)} of {worker}, in it {core} of a core;"
        yield (
            f"            {in_words(self.time.wall_s)} with {self.time.threads} at once, judged by"
            f" {self.time.photos_measured} photos"
        )


def plan_build(config: BuildConfig, run: Folder | Path | str) -> BuildPlan:
    """Return what `build_dataset` with these arguments would do; writes nothing.

    Raises:
        ConfigError: for settings or a folder that cannot be used.
        SourceError: if the source is not what it should be.
    """
    state = know_run(config, open_folder(run))
    known = state.known
    photos = len(state.photos)
    num_tasks = len(known.to_do())
    to_find = known.num_to_find()
    finished = not num_tasks and is_finished(state.folder, state.now)
    chosen = None if num_tasks else _chosen(state)
    most = len(chosen) if chosen is not None else min(config.select.count, max(photos, known.num_scored()))
    shards_done, faces_done = (None, 0) if chosen is None else _packed(state, chosen)
    return BuildPlan(
        kind=state.source.kind,
        device=state.job.device,
        photos=photos,
        photos_done=photos - num_tasks,
        photos_to_find=to_find,
        photos_to_render=num_tasks - to_find,
        chunks=math.ceil(num_tasks / config.run.chunk_photos),
        selected=most,
        shards=math.ceil(most / config.pack.rows_per_shard),
        shards_done=shards_done,
        tensor_bytes=tensor_bytes(config, most),
        parquet_bytes=parquet_bytes(config, most),
        cache_bytes=parquet_bytes(config, _cached(state, num_tasks, most)),
        time=_time(state, searched=to_find, rendered=num_tasks - to_find, packed=most - faces_done),
        changes=tuple(settings_changed(state.before, state.now)),
        reasons=tuple(redo_reasons(state.before, state.now, find=to_find, render=num_tasks - to_find)),
        finished=finished,
    )


def _chosen(state: KnownRun) -> Int64[np.ndarray, " k"] | None:
    """Return the faces that would be chosen; None where scores.parquet cannot answer select.where for them yet."""
    if state.config.select.where:
        same = state.before is not None and state.before["keys"] == state.now["keys"]
        if not same or not state.folder.exists(SCORES_PATH):
            return None
    try:
        return select(state.known, state.config, state.folder)
    except ValueError:
        return None  # the table is of other faces, since other ones are wanted today


def _packed(state: KnownRun, chosen: Int64[np.ndarray, " k"]) -> tuple[int, int]:
    """Return how many shards and faces are packed already."""
    with ChosenFaces(state.known, state.job, chosen) as faces:
        plan = plan_shards(faces, state.job, state.source, state.config.pack.rows_per_shard)
    return len(plan.done), sum(len(plan.shards[shard]) for shard in plan.done)


def _cached(state: KnownRun, to_do: int, most: int) -> float:
    """Return how many crops the cache holds at most."""
    photos, known, cache = len(state.photos), state.known, state.config.run.cache
    if cache == "off":
        return 0.0
    if not to_do:
        return known.num_scored() if cache == "all" else most
    done = photos - to_do
    per_photo = known.num_scored() / done if done >= JUDGED_PHOTOS else 1.0
    faces = round(photos * per_photo)
    if cache == "all":
        return faces
    return expected_cached(count=most, faces=faces, pilot=state.config.run.pilot_photos)


def _time(state: KnownRun, *, searched: int, rendered: int, packed: int) -> TimeEstimate | None:
    spending = read_spending(state.folder, state.job.score_key)
    threads = state.config.run.workers or spending.threads or len(os.sched_getaffinity(0))
    return estimate_time(spending, searched=searched, rendered=rendered, packed=packed, threads=threads)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
