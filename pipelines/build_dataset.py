"""The recipe: photos in, the best face crops out. Score every face, select the best, pack them into shards.

Each phase leaves its results in the run folder before the next one starts, and asks the ledger what is left to do, so
the same command goes on where an earlier one stopped, and a changed setting redoes what depends on it and no more.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from hqdata.atomic import write_json
from hqdata.ranking import best
from hqdata.settings import ConfigError
from hqdata.shards import prune, write_index, write_manifest
from hqdata.shards.format import WORK_FOLDER
from hqdata.sources import Source, open_source
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.config import BuildConfig
from pipelines.dask_map import stop_if_systemic
from pipelines.job import Job, list_photos, make_job
from pipelines.knowledge import Knowledge
from pipelines.pack_phase import PackPlan, pack_missing, plan_shards
from pipelines.report import write_contact_sheet
from pipelines.rows import ScoredFace
from pipelines.run_folder import (
    begin_run,
    describe_run,
    is_finished,
    locked_run,
    previous_run,
    require_apart,
    settings_changed,
)
from pipelines.score_phase import score_photos
from pipelines.stats import BuildSummary, Stats
from pipelines.tables import DROPPED_PATH, write_tables

__all__ = ["build_dataset", "choose_device", "open_configured_source", "select"]

logger = logging.getLogger(__name__)

STATS_PATH = "stats.json"


def build_dataset(config: BuildConfig, run: Path, cluster: ClusterChoice | None = None) -> BuildSummary:
    """Build the data set that `config` describes in the folder `run`, or finish what is missing there.

    Raises:
        ConfigError: for settings or a folder that cannot be used; nothing was changed.
        SourceError: if the source is not what it should be; nothing was changed.
        BuildStopped: if the environment fails (full disk, missing module); the same command goes on later.
    """
    source = open_configured_source(config)
    require_apart(source, run)
    job = make_job(config, source, run.resolve(), choose_device())
    refs = list_photos(source, job)
    description = describe_run(config, job, refs)
    with _stopping_for_the_disk(), locked_run(run):
        for line in settings_changed(previous_run(run), description):
            logger.info("changed since the last build here: %s", line)
        known, stats = Knowledge.load(refs, job), Stats()
        tasks = known.to_do()
        logger.info("%d photos: %d done before, %d to do", len(refs), len(refs) - len(tasks), len(tasks))
        if not tasks and is_finished(run, description):
            logger.info("%s is finished and up to date", run)
            return stats.summary(known, select(known, config.select.count))
        begin_run(run, description)
        choice = (cluster or ClusterChoice()).with_workers(config.run.workers)
        with open_cluster(choice, scratch=run / WORK_FOLDER / "dask") as client:
            score_photos(client, tasks, known, job, config, stats)
            chosen = select(known, config.select.count)
            _evict(job, keep={face.id for face in chosen})
            write_tables(run, known, chosen, source.attribute_names)
            if not chosen:
                logger.warning("none of %d photos gave a usable face; %s says why", len(refs), run / DROPPED_PATH)
            plan = plan_shards(chosen, known, job, source, config.pack.rows_per_shard)
            pack_missing(client, plan, job, stats)
            write_contact_sheet(client, run, known, chosen, job)
        _finish(run, plan, known, chosen, config, stats)
        return stats.summary(known, chosen)


def open_configured_source(config: BuildConfig) -> Source:
    """Return the source of the config.

    Raises:
        ConfigError: if none is given.
        SourceError: if it is not what it should be.
    """
    if not config.source.root:
        raise ConfigError("source.root is empty; give --source DIR, a folder or URL of photos")
    return open_source(config.source.root, config.source.kind, allow_subset=config.source.allow_subset)


def choose_device() -> str:
    """Return "cuda" where there is a usable GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def select(known: Knowledge, count: int) -> list[ScoredFace]:
    """Return the best `count` faces, best first; ties by id."""
    scores = {face.id: face.score for face in known.faces() if face.score is not None}
    return [known.scored[id] for id in best(scores, count)]


@contextmanager
def _stopping_for_the_disk() -> Iterator[None]:
    """Turn a full or read-only disk that the driver meets into the error that a worker gives for it."""
    try:
        yield
    except OSError as error:
        stop_if_systemic(error)
        raise


def _evict(job: Job, keep: set[str]) -> None:
    """Remove cached crops that were not chosen, and those of other settings."""
    for folder in (job.run_path / WORK_FOLDER / "crops").glob("*"):
        if folder.name != job.score_key:
            shutil.rmtree(folder)
    wanted = {job.crop_path(face) for face in keep}
    for path in job.folder("crops", job.score_key).glob("*/*.png"):
        if path not in wanted:
            path.unlink()


def _finish(
    run: Path, plan: PackPlan, known: Knowledge, chosen: Sequence[ScoredFace], config: BuildConfig, stats: Stats
) -> None:
    """Commit: index, no stale files, and the manifest as the last file of all."""
    write_index(run, plan.files(), size=plan.layout.size)
    prune(run, plan.files())
    write_json(run / STATS_PATH, stats.to_json(known, list(chosen)))
    write_manifest(run, [file for shard in plan.files() for file in shard.files])
    if not config.run.keep_cache:
        shutil.rmtree(run / WORK_FOLDER / "crops", ignore_errors=True)
