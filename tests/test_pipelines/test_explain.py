"""Why a face was chosen or not: the answer agrees with the tables, whether the run is finished or not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hqdata.settings import ConfigError
from hqdata.storage import Folder, open_folder
from pipelines.config import load_config
from pipelines.explain import Explanation, explain
from pipelines.ledger import read_rows, rewrite_rows
from pipelines.tables import scores_schema


def score_row(id: str, score: float | None, reason: str = "") -> dict[str, Any]:
    photo, _, index = id.rpartition("-")
    values = {"id": id, "source": f"img/{photo}.jpg", "face_index": int(index), "score": score, "zoom": 0.5}
    return values | {"status": "dropped" if reason else "ok", "reason": reason, "Male": 1 if score == 5.0 else -1}


SCORES = [
    score_row("a-0", 5.0),
    score_row("a-1", 3.0),
    score_row("b-0", 4.0),
    score_row("c-0", 3.0),
    score_row("d-0", None, "align: too far outside"),
]
DROPPED = [
    {"id": "d-0", "source": "img/d.jpg", "stage": "align", "reason": "too far outside"},
    {"id": "e", "source": "img/e.jpg", "stage": "read", "reason": "the file is empty"},
]


def write_finished(folder: Path, chosen: list[tuple[str, float]], where: str = "") -> Folder:
    """Write the tables of a run without its work folder."""
    folder.mkdir()
    config = load_config(assignments=['source.root="/photos"', f"select.where={json.dumps(where)}"]).to_dict()
    run = {"format": "progan-hq/run", "version": 1, "config": config, "resolved": {"source": "/photos"}}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "manifest.json").write_text("{}")
    pq.write_table(pa.Table.from_pylist(SCORES, scores_schema({"Male": int})), folder / "scores.parquet")
    pq.write_table(pa.Table.from_pylist(DROPPED), folder / "dropped.parquet")
    selected = [{"rank": rank, "id": id, "score": score} for rank, (id, score) in enumerate(chosen)]
    schema = pa.schema([("rank", pa.int64()), ("id", pa.string()), ("score", pa.float64())])
    pq.write_table(pa.Table.from_pylist(selected, schema), folder / "selected.parquet")
    data = [{"path": f"data/{shard}.parquet", "rows": 1} for shard in range(len(chosen))]
    (folder / "tensors").mkdir()
    (folder / "tensors" / "index.json").write_text(json.dumps({"ids": [id for id, _ in chosen], "data": data}))
    return open_folder(folder)


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return write_finished(tmp_path / "run", [("a-0", 5.0), ("b-0", 4.0)])


def one(run: Folder, name: str) -> Explanation:
    (story,) = explain(run, [name])
    return story


def test_a_chosen_face_has_its_rank_and_its_place(run: Folder):
    story = one(run, "b-0")
    assert (story.fate, story.score, story.rank, story.of) == ("chosen, rank 1 of 2 chosen faces", 4.0, 1, 4)
    assert story.place == "row 0 of data/1.parquet"


def test_a_near_miss_is_told_how_far_below_the_cut_it_is(run: Folder):
    assert one(run, "c-0").fate == "not chosen: 1.0000 below the last of 2 chosen faces"
    assert one(run, "c-0").cut == 4.0


def test_equal_scores_rank_by_id(run: Folder):
    assert [one(run, id).rank for id in ("a-1", "c-0")] == [2, 3]


def test_a_face_that_the_condition_leaves_out_is_told_so(tmp_path: Path):
    run = write_finished(tmp_path / "run", [("a-0", 5.0)], where="Male == 1")
    assert one(run, "b-0").fate == "not chosen: select.where 'Male == 1' leaves it out"


def test_where_nothing_is_chosen_there_is_no_cut(tmp_path: Path):
    run = write_finished(tmp_path / "run", [], where="Male == 7")
    assert (one(run, "a-0").cut, one(run, "a-0").place) == (None, None)


@pytest.mark.parametrize(("name", "reason"), [("d-0", "align: too far outside"), ("e", "read: the file is empty")])
def test_a_dropped_face_or_photo_has_its_reason_once(run: Folder, name: str, reason: str):
    assert one(run, name).fate == f"dropped, {reason}"


@pytest.mark.parametrize("name", ["a", "img/a.jpg", "/photos/img/a.jpg"])
def test_a_photo_by_id_or_path_means_all_its_faces(run: Folder, name: str):
    assert [story.id for story in explain(run, [name])] == ["a-0", "a-1"]


@pytest.mark.parametrize(("name", "nearest"), [("a-7", "a-1, a-0"), ("dd", "d-0"), ("img/c.jpeg", "c-0")])
def test_an_unknown_name_is_answered_with_the_nearest_ids(run: Folder, name: str, nearest: str):
    with pytest.raises(ConfigError, match=f"neither a face nor a photo of this run; the nearest ids: .*{nearest}"):
        explain(run, [name])


def test_a_name_is_no_pattern(run: Folder):
    with pytest.raises(ConfigError, match="neither a face nor a photo"):
        explain(run, ["."])


def test_every_line_of_text_is_about_the_face(run: Folder):
    text = "\n".join(one(run, "b-0").lines())
    assert "rank 1 of 4 (0 is the best); the last chosen face has 4.0000" in text
    assert "zoom 0.5" in text


@pytest.fixture
def unfinished(copied: Path) -> Path:
    """A run that was interrupted before its tables were written, with one photo not scored yet."""
    (copied / "manifest.json").unlink()
    for name in ("scores.parquet", "selected.parquet", "dropped.parquet"):
        (copied / name).unlink()
    return copied


@pytest.mark.dask
@pytest.mark.slow
def test_an_unfinished_run_answers_as_the_finished_one(scored_run: Path, unfinished: Path):
    names = [*pq.read_table(scored_run / "scores.parquet")["id"].to_pylist(), "000005"]
    finished = [replace(story, place=None) for story in explain(scored_run, names)]
    assert explain(unfinished, names) == finished
    assert not (unfinished / "scores.parquet").exists()


@pytest.mark.dask
@pytest.mark.slow
def test_the_ledger_is_named_where_it_is_asked_for(scored_run: Path):
    (face,) = explain(scored_run, ["000001-0"], ledger=True)
    (broken,) = explain(scored_run, ["000005"], ledger=True)
    assert [Path(name).parts[-4] for name in face.ledger] == ["found", "scored"]
    assert [Path(name).parts[-4] for name in broken.ledger] == ["found"]
    assert all(b'"000001"' in Path(name).read_bytes() for name in face.ledger)


@pytest.mark.dask
@pytest.mark.slow
@pytest.mark.parametrize("name", ["000001", "000001-0", "img_celeba/000001.jpg", "/elsewhere/img_celeba/000001.jpg"])
def test_a_photo_that_is_not_done_yet_is_told_so(unfinished: Path, name: str):
    shutil.rmtree(unfinished / "work" / "found")
    story = one(open_folder(unfinished), name)
    assert (story.id, story.fate) == ("000001", "not done yet; the same command goes on")


@pytest.mark.dask
@pytest.mark.slow
@pytest.mark.parametrize("name", ["000001-", "other/000001.jpg", "000001.png"])
def test_a_name_like_that_of_a_photo_that_is_not_done_is_unknown(unfinished: Path, name: str):
    shutil.rmtree(unfinished / "work" / "found")
    with pytest.raises(ConfigError, match="neither a face nor a photo"):
        explain(unfinished, [name])


@pytest.mark.dask
@pytest.mark.slow
def test_a_photo_with_a_dropped_face_and_one_to_be_done_is_told_of_both(unfinished: Path):
    (found,) = (open_folder(path) for path in (unfinished / "work" / "found").iterdir())
    for file, rows in list(read_rows(found)):
        rewrite_rows(found, file, map(with_a_smaller_face, rows))
    shutil.rmtree(unfinished / "work" / "scored")
    fates = [(story.id, story.fate.split(",")[0]) for story in explain(unfinished, ["000001"])]
    assert fates == [("000001-1", "dropped"), ("000001", "not done yet; the same command goes on")]


def with_a_smaller_face(row: dict[str, Any]) -> dict[str, Any]:
    smaller = [{**face, "landmarks": [[x / 10, y / 10] for x, y in face["landmarks"]]} for face in row["faces"]]
    return {**row, "faces": row["faces"] + smaller}
