"""Choosing and packing again: the same bytes as a build with those settings, and nothing is scored again."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hqdata.settings import ConfigError
from hqdata.shards import verify_run
from hqdata.storage import open_folder
from pipelines.build_dataset import build_dataset
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.config import BuildConfig
from pipelines.job import crop_name
from pipelines.known_run import config_of
from pipelines.reselect import repack, reselect

pytestmark = [pytest.mark.dask, pytest.mark.slow]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterChoice]:
    """A worker that stays for all builds here."""
    with open_cluster(ClusterChoice(local="1"), scratch=tmp_path_factory.mktemp("dask")) as client:
        yield ClusterChoice(scheduler=client.scheduler_info()["address"])


def chosen(run: Path) -> list[str]:
    return pq.read_table(run / "selected.parquet")["id"].to_pylist()


def shard_bytes(run: Path) -> dict[str, str]:
    files = [path for folder in ("data", "tensors") for path in (run / folder).rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_selections_are_nested_and_a_condition_that_all_fulfil_changes_no_byte(
    scored_run: Path, copied: Path, one: ClusterChoice
):
    smaller = reselect(copied, one, count=3, where="")
    assert (smaller.newly_scored_photos, smaller.selected) == (0, 3)
    assert chosen(copied) == chosen(scored_run)[:3]
    assert verify_run(copied, deep=True) == []
    reselect(copied, one, count=6, where="face_index >= 0")
    assert shard_bytes(copied) == shard_bytes(scored_run)


def test_a_condition_keeps_the_best_of_those_it_allows_and_is_remembered(
    scored_run: Path, copied: Path, one: ClusterChoice
):
    condition = "identity in (1, 3) and not padded == True"
    summary = reselect(copied, one, where=condition)
    table = pq.read_table(scored_run / "scores.parquet", columns=["id", "identity", "padded", "score"]).to_pylist()
    allowed = [row for row in table if row["score"] is not None and row["identity"] in (1, 3) and not row["padded"]]
    best = sorted(allowed, key=lambda row: (-row["score"], row["id"]))[:6]
    assert chosen(copied) == [row["id"] for row in best]
    assert summary.newly_scored_photos == 0
    assert config_of(open_folder(copied)).select.where == condition


def test_a_condition_that_no_face_fulfils_is_named_and_no_photo_blamed(
    copied: Path, one: ClusterChoice, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING")
    assert reselect(copied, one, where="score > 1e9").selected == 0
    assert "select.where 'score > 1e9' leaves out all of 11 scored faces" in caplog.text
    assert "gave a usable face" not in caplog.text
    assert verify_run(copied) == []


def test_other_shards_hold_the_same_faces(scored_run: Path, copied: Path, one: ClusterChoice):
    summary = repack(copied, one, rows_per_shard=3)
    assert (summary.newly_scored_photos, summary.newly_packed_shards) == (0, 2)
    assert chosen(copied) == chosen(scored_run)
    assert verify_run(copied, deep=True) == []


def test_crops_that_the_cache_lost_are_counted_and_rendered_again(copied: Path, one: ClusterChoice):
    for face in chosen(copied)[:2]:
        next((copied / "work" / "crops").glob(f"*/{crop_name(face)}")).unlink()
    repack(copied, one, rows_per_shard=3)
    stats = json.loads((copied / "stats.json").read_text())["this_build"]
    assert stats["uncached_crops"] == 2
    assert (stats["cluster"]["kind"], stats["cluster"]["workers"]) == ("scheduler", 1)
    assert verify_run(copied, deep=True) == []


def test_what_is_not_scored_is_not_chosen_from(copied: Path):
    for path in (copied / "work" / "scored").rglob("*.jsonl"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"11 photos are not scored yet, such as .*\.jpg; run `hqdata build`"):
        reselect(copied, count=3)
    assert (copied / "manifest.json").exists()


def test_a_condition_on_an_unknown_column_stops_before_anything_changes(copied: Path):
    with pytest.raises(ConfigError, match="no column 'identty' in the scores; did you mean 'identity'"):
        reselect(copied, where="identty == 1")
    assert (copied / "manifest.json").exists()


def test_an_unknown_column_stops_a_build_before_it_scores(tmp_path: Path, scored_config: BuildConfig):
    config = replace(scored_config, select=replace(scored_config.select, where="Smilng == 1"))
    with pytest.raises(ConfigError, match="no column 'Smilng'"):
        build_dataset(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"has no run\.json"):
        reselect(tmp_path, count=3)
