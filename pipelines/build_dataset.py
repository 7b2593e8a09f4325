"""The recipe: photos in, the best face crops out. Score every face, select the best, pack them into shards.

Each phase leaves its results in the run folder before the next one starts, and asks the ledger what is left to do, so
the same command goes on where an earlier one stopped, and a changed setting redoes what depends on it and no more.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from distributed import Client
from jaxtyping import Int64

from hqdata.record import PhotoRef
from hqdata.settings import ConfigError
from hqdata.shards import prune, write_index, write_manifest
from hqdata.shards.format import WORK_FOLDER
from hqdata.sources import Source, open_source
from hqdata.storage import Folder, open_folder, scratch_folder
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.config import BuildConfig
from pipelines.crew import describe_crew
from pipelines.dask_map import stop_if_systemic
from pipelines.dask_report import watched
from pipelines.face_rows import ChosenFaces
from pipelines.job import Job, check_weights, crop_name, list_photos, make_job
from pipelines.knowledge import Knowledge
from pipelines.pack_phase import PackPlan, pack_missing, plan_shards
from pipelines.preflight import Fitness, examine_cluster, examine_devices
from pipelines.provenance import hardware_changes, hardware_record, record_newcomers
from pipelines.report import write_contact_sheet
from pipelines.room_needed import parquet_bytes, scratch_bytes, tensor_bytes
from pipelines.run_folder import (
    begin_run,
    describe_run,
    is_finished,
    previous_run,
    require_apart,
    require_usable,
    settings_changed,
)
from pipelines.run_lock import HeldLock, locked
from pipelines.score_phase import score_photos
from pipelines.select_phase import require_answerable, select
from pipelines.spending import keep_spending
from pipelines.stats import BuildSummary, Stats
from pipelines.tables import DROPPED_PATH, write_rated, write_selected

__all__ = ["build_dataset", "choose_device", "open_configured_source", "scratch_of", "settled_device"]

logger = logging.getLogger(__name__)

STATS_PATH = "stats.json"


def build_dataset(
    config: BuildConfig, run: Folder | Path | str, cluster: ClusterChoice | None = None, *, steal_lock: bool = False
) -> BuildSummary:
    """Build the data set that `config` describes in the folder `run`, or finish what is missing there.

    Args:
        config: what to build.
        run: a folder or an fsspec URL; every worker must reach it.
        cluster: where the work runs; the default is this machine.
        steal_lock: take the run over from a driver that is gone but could not let go of it.

    Raises:
        ConfigError: for settings or a folder that cannot be used; nothing was changed.
        SourceError: if the source is not what it should be; nothing was changed.
        BuildStopped: if the environment fails (full disk, missing module); the same command goes on later.
    """
    folder = open_folder(run)
    choice = (cluster or ClusterChoice()).with_workers(config.run.workers)
    source = open_configured_source(config)
    require_apart(source, folder)
    require_answerable(config, source)
    require_usable(folder)
    check_weights(config)
    with _stopping_for_the_disk(), locked(folder, steal=steal_lock) as lock, ExitStack() as stack:

        @functools.cache
        def client() -> Client:
            return stack.enter_context(open_cluster(choice, scratch=scratch_of(folder)))

        before = previous_run(folder)
        device = settled_device(config, before) or examine_devices(client()).choose()
        job = make_job(config, source, folder, device)
        known, refs = _what_is_known(source, job)
        description = describe_run(config, job, refs)
        for line in settings_changed(before, description):
            logger.info("changed since the last build here: %s", line)
        stats = Stats(quarantine_limit=config.run.quarantine_limit)
        if not len(known.to_do()) and is_finished(folder, description):
            logger.info("%s is finished and up to date", folder)
            return stats.summary(known, select(known, config, folder))
        report = examine_cluster(
            client(),
            job,
            run_bytes=_bytes_to_come(config, len(refs)) if before is None else 0,
            scratch_bytes=scratch_bytes(config, folder),
        )
        report.stop_if_unfit()
        for warning in (*report.warnings, *hardware_changes(report, before, description["keys"])):
            logger.warning("%s", warning)
        stats.enlist(describe_crew(choice, client(), report))
        begin_run(folder, description | {"hardware": hardware_record(report, before, description["keys"])})
        return _Build(config, folder, source, job, known, stats, report.expected, lock).run(client())


def _bytes_to_come(config: BuildConfig, photos: int) -> int:
    """Return about what a new run takes, cache included."""
    faces = min(config.select.count, photos)
    return tensor_bytes(config, faces) + 2 * parquet_bytes(config, faces)


def _what_is_known(source: Source, job: Job) -> tuple[Knowledge, Sequence[PhotoRef]]:
    refs = list_photos(source, job)
    known = Knowledge.load(refs, job)
    to_do = len(known.to_do())
    logger.info("%d photos: %d done before, %d to do", len(refs), len(refs) - to_do, to_do)
    return known, refs


@dataclass(frozen=True, slots=True)
class _Build:
    """The phases, with what they share."""

    config: BuildConfig
    folder: Folder
    source: Source
    job: Job
    known: Knowledge
    stats: Stats
    expected: Fitness
    """Of every worker, those that come later too."""
    lock: HeldLock

    def run(self, client: Client) -> BuildSummary:
        try:
            with watched(client, self.folder, wanted=self.config.run.performance_report):
                plan, chosen = self._compute(client)
        finally:
            record_newcomers(self.folder, self.stats.newcomers)
            keep_spending(self.folder, self.job.score_key, self.stats.spending)
        self._finish(plan, chosen)
        return self.stats.summary(self.known, chosen)

    def _compute(self, client: Client) -> tuple[PackPlan, Int64[np.ndarray, " k"]]:
        """Do everything that needs workers."""
        score_photos(client, self.known, self.job, self.config, self.stats, expected=self.expected, lock=self.lock)
        write_rated(self.folder, self.known, self.job, self.source.attribute_names)
        chosen = select(self.known, self.config, self.folder)
        write_selected(self.folder, self.known, chosen)
        self.stats.uncached_crops = _evict(self.job, keep={self.known.face_id(row) for row in chosen.tolist()})
        self._warn_of_an_empty_choice(chosen)
        with ChosenFaces(self.known, self.job, chosen) as faces:
            plan = plan_shards(faces, self.job, self.source, self.config.pack.rows_per_shard)
            pack_missing(client, plan, faces, self.job, self.stats, expected=self.expected, lock=self.lock)
        write_contact_sheet(client, self.folder, self.known, chosen, self.job)
        return plan, chosen

    def _warn_of_an_empty_choice(self, chosen: Int64[np.ndarray, " k"]) -> None:
        if len(chosen):
            return
        if scored := self.known.num_scored():
            logger.warning("select.where %r leaves out all of %d scored faces", self.config.select.where, scored)
        else:
            logger.warning("none of %d photos gave a usable face; %s says why", len(self.known.photos), DROPPED_PATH)

    def _finish(self, plan: PackPlan, chosen: Int64[np.ndarray, " k"]) -> None:
        """Commit: index, no stale files, and the manifest as the last file of all."""
        self.lock.check()
        write_index(self.folder, plan.files(), size=plan.layout.size)
        prune(self.folder, plan.files())
        self.folder.write_json(STATS_PATH, self.stats.to_json(self.known, chosen))
        write_manifest(self.folder, [file for shard in plan.files() for file in shard.files])
        if not self.config.run.keep_cache:
            (self.folder / WORK_FOLDER / "crops").delete_all()


def open_configured_source(config: BuildConfig) -> Source:
    """Return the source of the config.

    Raises:
        ConfigError: if none is given.
        SourceError: if it is not what it should be.
    """
    if not config.source.root:
        raise ConfigError("source.root is empty; give --source DIR, a folder or URL of photos")
    return open_source(config.source.root, config.source.kind, allow_subset=config.source.allow_subset)


def settled_device(config: BuildConfig, before: Mapping[str, Any] | None) -> Literal["cpu", "cuda"] | None:
    """Return "cpu" or "cuda" where the config or the run so far says; None where the workers must be asked.

    A resumed run keeps its device, since another one gives slightly other pixels and would score every photo anew.
    """
    if config.run.device != "auto":
        return config.run.device
    return None if before is None else before.get("resolved", {}).get("device")


def choose_device() -> str:
    """Return "cuda" where this machine has a usable GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def scratch_of(run: Folder) -> Path:
    """Return where local workers put their temporary files: in the run's work folder where that is a disk."""
    return run.path / WORK_FOLDER / "dask" if run.is_local else scratch_folder() / "hqdata-dask"


@contextmanager
def _stopping_for_the_disk() -> Iterator[None]:
    """Turn a full or read-only disk that the driver meets into the error that a worker gives for it."""
    try:
        yield
    except OSError as error:
        stop_if_systemic(error)
        raise


def _evict(job: Job, keep: set[str]) -> int:
    """Remove cached crops that were not chosen, and those of other settings; return how many of `keep` are missing."""
    crops = job.run_folder / WORK_FOLDER / "crops"
    for name in crops.folders():
        if name != job.score_key:
            (crops / name).delete_all()
    wanted = {crop_name(face) for face in keep}
    cached = {file.name for file in job.crops.files()}
    if job.cache != "all":
        job.crops.delete_many(cached - wanted)
    return len(wanted - cached)
