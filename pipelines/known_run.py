"""A run as the ledger and its source know it today, for commands that look at it and compute nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hqdata.record import PhotoRef
from hqdata.settings import ConfigError
from hqdata.shards.format import WORK_FOLDER
from hqdata.sources import Source
from hqdata.storage import Folder, open_folder
from pipelines.build_dataset import choose_device, open_configured_source, settled_device
from pipelines.config import BuildConfig, config_from_dict
from pipelines.job import Job, check_weights, list_photos, make_job
from pipelines.knowledge import Knowledge
from pipelines.run_folder import RUN_PATH, describe_run, previous_run, require_apart
from pipelines.select_phase import require_answerable

__all__ = ["KnownRun", "config_of", "description_of", "know_run", "ledger_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run folder against settings and a source."""

    config: BuildConfig
    folder: Folder
    source: Source
    job: Job
    photos: Sequence[PhotoRef]
    known: Knowledge
    before: Mapping[str, Any] | None
    """What run.json says of the last build."""
    now: Mapping[str, Any]
    """What it would say of one with these settings."""


def know_run(config: BuildConfig, folder: Folder) -> KnownRun:
    """Read the ledger of `folder` for these settings and their source.

    Raises:
        ConfigError: for settings or a folder that cannot be used.
        SourceError: if the source is not what it should be.
    """
    source = open_configured_source(config)
    require_apart(source, folder)
    require_answerable(config, source)
    check_weights(config)
    before = previous_run(folder)
    job = make_job(config, source, folder, settled_device(config, before) or choose_device())
    photos = list_photos(source, job)
    return KnownRun(
        config=config,
        folder=folder,
        source=source,
        job=job,
        photos=photos,
        known=Knowledge.load(photos, job),
        before=before,
        now=describe_run(config, job, photos),
    )


def description_of(run: Folder) -> dict[str, Any]:
    """Return a run's run.json.

    Raises:
        ConfigError: if there is none, or it is not understood.
    """
    description = previous_run(run)
    if description is None:
        raise ConfigError(f"{run}: has no {RUN_PATH}, so no build began there; give a run folder")
    return description


def config_of(run: Folder) -> BuildConfig:
    """Return the settings of the last build in `run`.

    A source that was given relative to another working folder is taken from where it was then.

    Raises:
        ConfigError: if no build began there.
    """
    description = description_of(run)
    config = config_from_dict(description["config"])
    there = description["resolved"]["source"]
    if open_folder(config.source.root).url == open_folder(there).url:
        return config
    return replace(config, source=replace(config.source, root=there))


def ledger_of(run: Folder) -> list[Folder]:
    """Return the folders of the ledger that the last build used: faces found, scored, and photos quarantined.

    Raises:
        ConfigError: if no build began there, or its ledger is gone.
    """
    keys = description_of(run)["keys"]
    work = run / WORK_FOLDER
    parts = [work / "found" / keys["find"], work / "scored" / keys["score"], work / "quarantined" / keys["score"]]
    if all(part.is_empty() for part in parts):
        raise ConfigError(f"{run}: its ledger in {WORK_FOLDER} is gone, so the next build does every photo again")
    return parts
