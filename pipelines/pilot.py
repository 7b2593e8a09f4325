"""Score some photos on the very machines of the build, so that `hqdata plan` can say what all of them will take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hqdata.storage import Folder, open_folder
from pipelines.build_dataset import open_configured_source, scratch_of, settled_device
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.config import BuildConfig
from pipelines.crew import describe_crew
from pipelines.job import check_weights, list_photos, make_job
from pipelines.knowledge import Knowledge
from pipelines.preflight import examine_cluster, examine_devices
from pipelines.run_folder import previous_run, require_apart, require_usable
from pipelines.run_lock import locked
from pipelines.score_phase import score_photos
from pipelines.spending import keep_spending
from pipelines.stats import Stats

__all__ = ["score_pilot"]


def score_pilot(
    config: BuildConfig, run: Folder | Path | str, cluster: ClusterChoice | None = None, *, photos: int
) -> BuildConfig:
    """Score the first photos that are left to do, a random sample; their rows stay, so the build is spared them.

    Nothing else of the run folder is touched: a finished run stays finished.

    Args:
        config: as `build_dataset` takes it.
        run: as `build_dataset` takes it.
        cluster: as `build_dataset` takes it.
        photos: how many.

    Returns:
        The config with the device that the workers have.

    Raises:
        ConfigError, SourceError, BuildStopped: as `build_dataset`.
    """
    folder = open_folder(run)
    choice = (cluster or ClusterChoice()).with_workers(config.run.workers)
    source = open_configured_source(config)
    require_apart(source, folder)
    require_usable(folder)
    check_weights(config)
    with locked(folder), open_cluster(choice, scratch=scratch_of(folder)) as client:
        device = settled_device(config, previous_run(folder)) or examine_devices(client).choose()
        job = make_job(config, source, folder, device)
        known = Knowledge.load(list_photos(source, job), job)
        report = examine_cluster(client, job)
        report.stop_if_unfit()
        stats = Stats()
        stats.enlist(describe_crew(choice, client, report))
        try:
            score_photos(client, known, job, config, stats, expected=report.expected, most=photos)
        finally:
            keep_spending(folder, job.score_key, stats.spending)
    return replace(config, run=replace(config.run, device=job.device))
