"""A run remembers on what it was computed, and says when a resumption brings other pixels."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from hqdata.storage import open_folder
from pipelines.fitness import Newcomer
from pipelines.provenance import hardware_changes, hardware_record, record_newcomers
from pipelines.run_folder import RUN_FORMAT, RUN_VERSION
from pipelines.stats import Stats

KEYS = {"find": "f", "score": "s"}


def report(**pixels: str) -> SimpleNamespace:
    canaries = tuple((group, SimpleNamespace(pixels=sha256)) for group, sha256 in pixels.items())
    workers = {group: ["tcp://a"] for group in pixels}
    return SimpleNamespace(hardware=workers, expected=SimpleNamespace(canaries=canaries))


def before(score: str = "s", **pixels: str) -> dict:
    return {"keys": {"find": "f", "score": score}, "hardware": pixels}


def test_hardware_adds_up_over_the_builds_of_one_ledger():
    assert hardware_record(report(new="2"), before(old="1"), KEYS) == {"old": "1", "new": "2"}
    assert hardware_record(report(new="2"), before(score="other", old="1"), KEYS) == {"new": "2"}
    assert hardware_record(report(new="2"), None, KEYS) == {"new": "2"}


@pytest.mark.parametrize(
    ("recorded", "now", "words"),
    [
        (before(old="1"), report(old="2"), "old: gives other pixels than when this run began"),
        (before(old="1"), report(new="2"), r"new: gives other pixels than the hardware of this run so far \(old\)"),
    ],
)
def test_other_pixels_than_before_are_warned_of(recorded: dict, now: SimpleNamespace, words: str):
    (warning,) = hardware_changes(now, recorded, KEYS)
    with pytest.raises(UserWarning, match=words):
        raise UserWarning(warning)


@pytest.mark.parametrize("recorded", [None, before(old="1"), before(score="other", old="2"), {"keys": KEYS}])
def test_the_same_pixels_or_another_ledger_are_no_change(recorded: dict | None):
    assert list(hardware_changes(report(old="1"), recorded, KEYS)) == []
    assert list(hardware_changes(report(new="1"), recorded, KEYS)) == []


def test_hardware_that_comes_during_a_build_is_told_of_once_and_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "run.json").write_text(
        json.dumps({"format": RUN_FORMAT, "version": RUN_VERSION, "hardware": {"a": "1"}})
    )
    stats = Stats()
    for worker in ("w1", "w2"):
        stats.meet(Newcomer(machine=worker, group="b", pixels="2", is_alike=False))
    stats.meet(None)
    record_newcomers(open_folder(tmp_path), stats.newcomers)
    assert json.loads((tmp_path / "run.json").read_text())["hardware"] == {"a": "1", "b": "2"}
    assert caplog.messages == [str(Newcomer(machine="w1", group="b", pixels="2", is_alike=False))]
