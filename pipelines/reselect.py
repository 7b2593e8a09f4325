"""Choose and pack again what is scored already: the last build with another count, condition or shard size."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from hqdata.settings import ConfigError
from hqdata.storage import Folder, open_folder
from pipelines.build_dataset import build_dataset
from pipelines.clusters import ClusterChoice
from pipelines.config import BuildConfig
from pipelines.known_run import KnownRun, config_of, know_run
from pipelines.stats import BuildSummary
from pipelines.tables import DROPPED_PATH

__all__ = ["repack", "reselect"]


def reselect(
    run: Folder | Path | str,
    cluster: ClusterChoice | None = None,
    *,
    count: int | None = None,
    where: str | None = None,
) -> BuildSummary:
    """Choose faces of a scored run anew and pack them; nothing is searched or scored again.

    Args:
        run: the run folder; its source must still be there.
        cluster: where the packing runs.
        count: faces to keep; None keeps the number of the last build.
        where: a condition on the columns of scores.parquet; None keeps the last one, an empty text takes it away.

    Raises:
        ConfigError: if photos are not scored yet, or for settings that cannot be used.
    """
    folder = open_folder(run)
    config = config_of(folder)
    given = {name: value for name, value in (("count", count), ("where", where)) if value is not None}
    select = dataclasses.replace(config.select, **given)
    return _build_scored(replace(config, select=select), folder, cluster)


def repack(
    run: Folder | Path | str, cluster: ClusterChoice | None = None, *, rows_per_shard: int | None = None
) -> BuildSummary:
    """Pack the chosen faces of a scored run anew where shards are missing, damaged or of another size.

    Args:
        run: the run folder; its source must still be there.
        cluster: where the packing runs.
        rows_per_shard: faces a shard; None keeps the number of the last build.

    Raises:
        ConfigError: if photos are not scored yet, or for settings that cannot be used.
    """
    folder = open_folder(run)
    config = config_of(folder)
    pack = config.pack if rows_per_shard is None else replace(config.pack, rows_per_shard=rows_per_shard)
    return _build_scored(replace(config, pack=pack), folder, cluster)


def _build_scored(config: BuildConfig, folder: Folder, cluster: ClusterChoice | None) -> BuildSummary:
    _require_scored(know_run(config, folder))
    return build_dataset(config, folder, cluster)


def _require_scored(run: KnownRun) -> None:
    """Refuse a run that would have to score photos first; those that failed by no fault of theirs are tried again."""
    waiting = [run.known.photos[number].path for number in run.known.to_do().tolist()]
    if not waiting:
        return
    tried = _listed_as_dropped(run.folder)
    unknown = [path for path in waiting if path not in tried]
    if unknown:
        raise ConfigError(
            f"{run.folder}: {len(unknown)} photos are not scored yet, such as {unknown[0]}; run `hqdata build` with the"
            " settings of the last build first"
        )


def _listed_as_dropped(run: Folder) -> set[str]:
    if not run.exists(DROPPED_PATH):
        return set()
    with run.reading(DROPPED_PATH) as path:
        return set(pq.read_table(path, columns=["source"])["source"].to_pylist())
