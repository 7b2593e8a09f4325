"""How well a build of the demo source agrees with what is known of each of its photos."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float64

from hqdata.storage import Folder, open_folder
from pipelines.tables import SCORES_PATH, SELECTED_PATH

__all__ = ["TruthReport", "auc", "compare_with_truth"]

ENOUGH_PIXELS = 0.9
"""Real pixels an output pixel, along a side, from which an unspoilt photo counts as pristine."""
VISIBLE_JPEG = 40
"""JPEG quality below which the artefacts of the demo's photos can be seen; the two kinds are reported apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthReport:
    """Agreement of a run with its demo source."""

    photos: int
    found: int
    """Photos in which a face was found where the truth has one."""
    landmark_error: float
    """Median distance of the five points from the truth, as a share of the eye distance."""
    selected: int
    selected_pristine: int
    pristine: int
    """Unspoilt photos with enough real pixels for the run's crop size, among those found."""
    auc_by_kind: Mapping[str, float]
    """Chance that a pristine face scores higher than one spoilt in this way."""

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        yield f"truth      faces     {self.found} of {self.photos} found, points off by a median of"
        yield f"                     {100 * self.landmark_error:.1f} % of the eye distance"
        best = min(self.selected, self.pristine)
        chance = self.selected * self.pristine / max(self.found, 1)
        yield f"           selected  {self.selected_pristine} of {self.selected} pristine (best possible {best},"
        yield f"                     by chance {chance:.0f})"
        for kind, value in self.auc_by_kind.items():
            yield f"           AUC       {value:.3f} pristine against {kind}"


def compare_with_truth(run: Folder | Path | str, truth_file: Path) -> TruthReport:
    """Compare a finished run with the truth file of its demo source.

    Raises:
        ValueError: if the truth belongs to other photos.
    """
    truth = {f"img_celeba/{photo['id']}.jpg": photo for photo in json.loads(truth_file.read_text())["photos"]}
    folder = open_folder(run)
    size = folder.read_json("run.json")["config"]["align"]["size"]
    faces = [row for row in _rows(folder, SCORES_PATH) if row["score"] is not None]
    strangers = [row["source"] for row in faces if row["source"] not in truth]
    if strangers:
        raise ValueError(f"{truth_file} does not know {strangers[0]}; give the truth file of the run's own source")
    errors = {row["id"]: _point_error(row, truth[row["source"]]) for row in faces}
    real = [row for row in faces if errors[row["id"]] < 0.5]
    kinds = {row["id"]: _kind(truth[row["source"]], size) for row in real}
    chosen = [row["id"] for row in _rows(folder, SELECTED_PATH)]
    return TruthReport(
        photos=len(truth),
        found=len({row["source"] for row in real}),
        landmark_error=float(np.median([errors[row["id"]] for row in real])) if real else float("nan"),
        selected=len(chosen),
        selected_pristine=sum(kinds.get(id) == "pristine" for id in chosen),
        pristine=sum(kind == "pristine" for kind in kinds.values()),
        auc_by_kind=_auc_by_kind(real, kinds),
    )


def auc(better: Sequence[float], worse: Sequence[float]) -> float:
    """Return the chance that a value of `better` exceeds one of `worse`, ties counting half (Mann-Whitney U).

    >>> auc([3, 2], [1, 2])
    0.875
    """
    high, low = np.asarray(better)[:, None], np.asarray(worse)[None, :]
    return float(((high > low) + 0.5 * (high == low)).mean())


def _rows(run: Folder, table: str) -> list[dict[str, Any]]:
    with run.reading(table) as path:
        return pq.read_table(path).to_pylist()


def _auc_by_kind(faces: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for face in faces:
        scores.setdefault(kinds[face["id"]], []).append(face["score"])
    pristine = scores.pop("pristine", [])
    return {kind: auc(pristine, values) for kind, values in sorted(scores.items())} if pristine else {}


def _kind(photo: Mapping[str, Any], size: int) -> str:
    if photo["degradation"] == "jpeg":
        return f"jpeg below {VISIBLE_JPEG}" if photo["strength"] < VISIBLE_JPEG else f"jpeg from {VISIBLE_JPEG}"
    if photo["degradation"] != "none":
        return photo["degradation"].replace("_", " ")
    return "pristine" if photo["effective_px"] >= ENOUGH_PIXELS * size else "too few pixels"


def _point_error(face: Mapping[str, Any], photo: Mapping[str, Any]) -> float:
    found = _points(face["landmarks"])
    true = _points(photo["landmarks"])
    eye_distance = np.linalg.norm(true[1] - true[0])
    return float(np.linalg.norm(found - true, axis=1).mean() / eye_distance)


def _points(values: Any) -> Float64[np.ndarray, "5 2"]:
    return np.asarray(values, dtype=np.float64).reshape(5, 2)
