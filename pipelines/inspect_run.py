"""A finished run in a few lines: settings, counts, scores, reasons for drops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from hqdata.shards import read_manifest
from hqdata.storage import Folder, open_folder
from pipelines.build_dataset import STATS_PATH
from pipelines.run_folder import previous_run
from pipelines.tables import SCORES_PATH

__all__ = ["inspect_run"]

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def inspect_run(run: Folder | Path | str) -> Iterator[str]:
    """Yield a summary of a run, in a folder or a store, as text.

    Raises:
        FileNotFoundError: if the run is not finished.
        ValueError: if one of its files is damaged.
    """
    folder = open_folder(run)
    files = read_manifest(folder)
    description = previous_run(folder) or {}
    counts = json.loads(folder.read(STATS_PATH))["counts"]
    yield f"run        {run}: {len(files)} files, {sum(file.bytes for file in files.values()) / 1e9:.3f} GB"
    for section, values in description.get("config", {}).items():
        yield f"{section:<10} " + ", ".join(
            f"{key} {value}" if value != "" else f"{key} ''" for key, value in values.items()
        )
    yield (
        f"counts     {counts['photos']} photos, {counts['faces']} faces, {counts['selected']} selected"
        f" ({counts['upscaled']} enlarged, {counts['padded']} padded), {counts['dropped']} dropped"
    )
    with folder.reading(SCORES_PATH) as path:
        scores = pq.read_table(path, columns=["score"])["score"].drop_null().to_numpy()
    if len(scores):
        values = ", ".join(f"{value:.4f}" for value in np.quantile(scores, QUANTILES))
        yield f"scores     min, quartiles, max: {values}"
    for reason, number in counts["dropped_by_reason"].items():
        yield f"dropped    {number} x {reason}"
