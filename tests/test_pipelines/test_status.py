"""How a run fares: read from what its driver left, without changing a byte."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hqdata.settings import ConfigError
from hqdata.storage import Folder, open_folder
from pipelines.run_lock import LOCK_PATH, locked
from pipelines.status import run_status

COUNTS = {
    "photos": 100,
    "faces": 90,
    "dropped": 3,
    "quarantined": 1,
    "dropped_by_reason": {"read: empty": 2, "x: y": 1},
}


def line(done: int, seconds: float, *, phase: str = "score", age_s: float = -1.0) -> dict[str, Any]:
    """A line of progress, by default written just after the lock is taken."""
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="seconds")
    unit = "photos" if phase == "score" else "shards"
    numbers = {"phase": phase, "unit": unit, "done": done, "total": 100, "dropped": 0}
    return numbers | {"seconds": seconds, "at": at, "counts": COUNTS}


def write_run(folder: Path, *lines: dict[str, Any], finished: bool = False) -> Folder:
    (folder / "work").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format": "progan-hq/run", "version": 1}))
    (folder / "work" / "progress.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    if finished:
        (folder / "manifest.json").write_text("{}")
        (folder / "stats.json").write_text(json.dumps({"counts": COUNTS | {"selected": 30}}))
    return open_folder(folder)


def test_a_running_build_has_its_driver_its_speed_and_its_time_to_go(tmp_path: Path):
    run = write_run(tmp_path / "run", line(0, 0.0), line(10, 10.0), line(30, 20.0))
    with locked(run):
        status = run_status(run)
    assert (status.state, status.phase, status.done, status.total) == ("running", "score", 30, 100)
    assert status.per_second == pytest.approx(1.5)  # 30 photos in 20 seconds
    assert status.eta_s == pytest.approx(70 / 1.5)
    assert status.holder is not None
    assert "30 of 100 photos, 1.50 photos/s, about 47 s to go" in "\n".join(status.lines())


def test_speed_is_of_the_last_driver_and_phase_alone(tmp_path: Path):
    lines = [line(50, 900.0), line(5, 10.0), line(25, 20.0), line(1, 4.0, phase="pack"), line(3, 8.0, phase="pack")]
    assert run_status(write_run(tmp_path / "a", *lines[:3])).per_second == pytest.approx(2.0)  # 20 in 10 s
    assert run_status(write_run(tmp_path / "b", *lines)).per_second == pytest.approx(0.5)  # 2 in 4 s


def test_a_build_without_a_driver_was_interrupted(tmp_path: Path):
    status = run_status(write_run(tmp_path / "run", line(10, 10.0, age_s=1200)))
    assert (status.state, status.holder, status.eta_s) == ("interrupted", None, None)
    assert "last heard of 20 min ago; the same command goes on" in "\n".join(status.lines())


def test_a_driver_that_says_nothing_for_long_is_noticed(tmp_path: Path):
    run = write_run(tmp_path / "run", line(10, 10.0, age_s=1200))
    with locked(run):
        began_before = json.loads(run.read(LOCK_PATH)) | {"started": time.time() - 2000}
        run.write_json(LOCK_PATH, began_before)
        assert "no sign of progress for 20 min" in "\n".join(run_status(run).lines())


def test_a_finished_build_has_the_counts_of_its_statistics(tmp_path: Path):
    status = run_status(write_run(tmp_path / "run", line(100, 10.0), finished=True))
    assert status.state == "finished"
    text = list(status.lines())
    assert "counts      100 photos, 90 faces, 30 selected, 3 dropped, 1 quarantined" in text
    assert text[-2:] == ["dropped     2 x read: empty", "dropped     1 x x: y"]


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path):
    run = write_run(tmp_path / "run", line(10, 10.0))
    with (run.path / "work" / "progress.jsonl").open("a") as file:
        file.write('{"phase": "sco')
    assert run_status(run).done == 10


def test_a_long_file_is_read_at_its_end_alone(tmp_path: Path):
    run = write_run(tmp_path / "run", *(line(number, float(number)) for number in range(2000)))
    assert run_status(run).done == 1999


def test_what_an_earlier_driver_did_is_not_what_the_present_one_does(tmp_path: Path):
    run = write_run(tmp_path / "run", line(10, 10.0, age_s=60))
    with locked(run):
        status = run_status(run)
    assert (status.state, status.phase, status.per_second, status.silent_s) == ("running", None, None, None)
    assert status.counts == COUNTS
    assert "nothing is scored or packed yet" in "\n".join(status.lines())


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"neither run\.json nor a ledger is there"):
        run_status(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_looking_changes_no_file(tmp_path: Path):
    run = write_run(tmp_path / "run", line(10, 10.0))
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    run_status(run)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_all_of_it_is_plain_json(tmp_path: Path):
    status = run_status(write_run(tmp_path / "run", line(10, 10.0)))
    assert json.loads(json.dumps(status.to_json()))["done"] == 10
    assert status.silent_s is not None
    assert 0 <= status.silent_s < 60 + time.process_time()
