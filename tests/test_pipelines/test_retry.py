"""Forgetting refusals: what matches is forgotten, counted and done again; nothing else."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from hqdata.settings import ConfigError
from hqdata.storage import Folder, open_folder
from pipelines.build_dataset import build_dataset
from pipelines.cli import cli
from pipelines.clusters import ClusterChoice
from pipelines.config import BuildConfig
from pipelines.known_run import know_run
from pipelines.ledger import append_rows, read_rows
from pipelines.retry import Refusals, forget_refusals, list_refusals
from pipelines.run_lock import locked

FOUND = [
    {"photo_id": "a", "stage": "read", "reason": "the file ends early"},
    {"photo_id": "b", "stage": "", "reason": ""},
    {"photo_id": "c", "stage": "landmarks", "reason": "no face found"},
]
SCORED = [
    {"photo_id": "b", "index": 0, "stage": "align", "reason": "too far outside"},
    {"photo_id": "b", "index": 1, "stage": "", "reason": ""},
]
QUARANTINED = [{"photo_id": "d", "version": "1", "reason": "the worker process died; a crash"}]


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """A run folder with a ledger of six rows, and one of other settings."""
    folder = open_folder(tmp_path / "run")
    keys = {"find": "f", "score": "s", "photos": "p"}
    folder.write_json("run.json", {"format": "progan-hq/run", "version": 1, "keys": keys})
    append_rows(folder / "work/found/f", FOUND)
    append_rows(folder / "work/scored/s", SCORED)
    append_rows(folder / "work/quarantined/s", QUARANTINED)
    append_rows(folder / "work/found/other", FOUND)
    return folder


def photos(run: Folder, part: str) -> list[str]:
    return [row["photo_id"] for _, rows in read_rows(run / "work" / part) for row in rows]


def test_all_refusals_are_listed_and_other_settings_are_not(run: Folder):
    assert list_refusals(run) == {
        ("read", "the file ends early"): 1,
        ("landmarks", "no face found"): 1,
        ("align", "too far outside"): 1,
        ("worker", "the worker process died; a crash"): 1,
    }


@pytest.mark.parametrize(
    ("refusals", "stages"),
    [
        (Refusals("ends EARLY"), ["read"]),
        (Refusals("*died*"), ["worker"]),
        (Refusals("died*"), []),
        (Refusals("the *"), ["read", "worker"]),
        (Refusals("", "landmarks"), ["landmarks"]),
        (Refusals("the", "worker"), ["worker"]),
        (Refusals("no such reason"), []),
    ],
)
def test_what_matches_is_forgotten_and_nothing_else(run: Folder, refusals: Refusals, stages: list[str]):
    before = list_refusals(run)
    forgotten = forget_refusals(run, refusals)
    assert sorted(stage for stage, _ in forgotten) == sorted(stages)
    assert list_refusals(run) == before - forgotten
    assert {"b"} <= set(photos(run, "found/f")) & set(photos(run, "scored/s"))
    assert photos(run, "found/other") == ["a", "b", "c"]


def test_a_dry_run_counts_the_same_and_changes_no_file(run: Folder):
    before = {file.name: run.read(file.name) for file in run.files()}
    assert forget_refusals(run, Refusals("the"), dry_run=True).total() == 2
    assert {file.name: run.read(file.name) for file in run.files()} == before
    assert forget_refusals(run, Refusals("the")).total() == 2


def test_the_rows_beside_a_forgotten_one_keep_every_bit(run: Folder):
    forget_refusals(run, Refusals(stage="align"))
    assert [row for _, rows in read_rows(run / "work/scored/s") for row in rows] == SCORED[1:]


def test_a_run_that_is_being_built_is_left_alone(run: Folder):
    with locked(run), pytest.raises(ConfigError, match="another process is building"):
        forget_refusals(run, Refusals("early"))
    assert list_refusals(run).total() == 4


def test_an_unknown_stage_is_refused_with_those_that_are_there(run: Folder):
    with pytest.raises(ConfigError, match=r"nothing was refused at stage 'reed'; .*align, landmarks, read, worker"):
        forget_refusals(run, Refusals(stage="reed"))


def test_without_a_ledger_there_is_nothing_to_retry(run: Folder):
    (run / "work").delete_all()
    with pytest.raises(ConfigError, match="its ledger in work is gone"):
        list_refusals(run)


@pytest.mark.dask
@pytest.mark.slow
def test_the_next_build_does_what_was_forgotten_and_no_more(copied: Path, scored_config: BuildConfig):
    assert list_refusals(copied).total() == 1
    forgotten = forget_refusals(copied, Refusals(stage="read"))
    assert forgotten.total() == 1
    assert len(know_run(scored_config, open_folder(copied)).known.to_do()) == 1
    assert build_dataset(scored_config, copied, ClusterChoice(local="1")).newly_scored_photos == 1
    assert list_refusals(copied) == forgotten == Counter(forgotten)
    assert json.loads((copied / "stats.json").read_text())["this_build"]["scored_photos"] == 1


def test_a_reason_that_no_refusal_has_is_said_to_fit_nothing(run: Folder):
    answer = CliRunner().invoke(cli, ["retry", str(run), "--reason", "a tpyo"])
    assert answer.output.splitlines() == ["nothing was forgotten: no refusal fits; `hqdata retry RUN` alone lists them"]
