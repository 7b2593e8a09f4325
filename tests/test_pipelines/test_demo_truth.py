"""The comparison with the demo's truth counts what it says."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.demo_truth import auc, compare_with_truth

POINTS = [[10.0, 10.0], [50.0, 10.0], [30.0, 30.0], [12.0, 50.0], [48.0, 50.0]]


def photo(id: str, degradation: str = "none", *, strength: float | None = None, effective_px: float = 64.0) -> dict:
    return {
        "id": id,
        "degradation": degradation,
        "strength": strength,
        "effective_px": effective_px,
        "landmarks": POINTS,
    }


def face(id: str, score: float | None, shift: float = 0.0) -> dict:
    landmarks = [value + shift for point in POINTS for value in point]
    return {"id": f"{id}-0", "source": f"img_celeba/{id}.jpg", "score": score, "landmarks": landmarks}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    truth = [
        photo("a"),
        photo("b", effective_px=60.0),
        photo("c", effective_px=30.0),
        photo("d", "blur", strength=2.0),
        photo("e", "jpeg", strength=39.0),
        photo("f", "jpeg", strength=40.0),
        photo("g"),
        photo("h"),
    ]
    faces = [face("a", 9.0, 2.0), face("b", 5.0), face("c", 1.0), face("d", 6.0), face("e", 2.0), face("f", 10.0)]
    faces += [face("g", 99.0, 30.0), face("h", None)]
    (tmp_path / "truth.json").write_text(json.dumps({"photos": truth}))
    (tmp_path / "run.json").write_text(json.dumps({"config": {"align": {"size": 64}}}))
    pq.write_table(pa.Table.from_pylist(faces), tmp_path / "scores.parquet")
    pq.write_table(pa.Table.from_pylist([{"id": "f-0"}, {"id": "a-0"}]), tmp_path / "selected.parquet")
    return tmp_path


def test_faces_are_counted_by_what_the_truth_says(run: Path):
    report = compare_with_truth(run, run / "truth.json")
    assert (report.photos, report.found) == (8, 6)  # g's points lie elsewhere, h was refused
    assert (report.selected, report.selected_pristine, report.pristine) == (2, 1, 2)
    assert report.landmark_error == 0.0
    assert report.auc_by_kind == {"blur": 0.5, "jpeg below 40": 1.0, "jpeg from 40": 0.0, "too few pixels": 1.0}
    assert any("1 of 2 pristine" in line for line in report.lines())


def test_the_truth_of_other_photos_is_refused(run: Path):
    (run / "truth.json").write_text(json.dumps({"photos": [photo("z")]}))
    with pytest.raises(ValueError, match=r"does not know img_celeba/a\.jpg"):
        compare_with_truth(run, run / "truth.json")


def test_ties_count_half():
    assert auc([1.0, 1.0], [1.0]) == 0.5
