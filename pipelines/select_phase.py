"""Phase two: which faces are chosen. A pure function of the scores, so it may be asked again at any time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from hqdata.sources import Source
from hqdata.storage import Folder
from pipelines.config import BuildConfig
from pipelines.knowledge import Knowledge
from pipelines.tables import SCORES_PATH, scores_schema
from pipelines.where import allowed_rows, parse_condition

__all__ = ["require_answerable", "select"]


def require_answerable(config: BuildConfig, source: Source) -> None:
    """Refuse a condition on columns that the scores of this source will not have.

    Raises:
        ConfigError: naming the nearest column.
    """
    if config.select.where:
        parse_condition(config.select.where).require_fits(scores_schema(source.attribute_names))


def select(known: Knowledge, config: BuildConfig, run: Folder) -> Int64[np.ndarray, " k"]:
    """Return the rows of the best faces, best first; ties by id. A smaller count chooses the beginning of the same.

    Args:
        known: the faces, with the scores that scores.parquet in `run` has.
        config: whose `select` says how many and which.
        run: the run folder.

    Raises:
        ValueError: if scores.parquet is of other faces.
    """
    where = config.select.where
    if not where:
        return known.best(config.select.count)
    allowed = allowed_rows(where, run, SCORES_PATH)
    faces = len(known.rated_rows())
    if len(allowed) != faces:
        raise ValueError(f"{run}/{SCORES_PATH}: has {len(allowed)} rows for {faces} faces; run `hqdata build` again")
    return known.best(config.select.count, allowed=allowed)
