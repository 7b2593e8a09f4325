"""Laws of the lock: one driver at a time, who is gone holds nothing, and who lost the run learns it."""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from hqdata.settings import ConfigError
from hqdata.storage import open_folder
from pipelines import run_lock
from pipelines.run_lock import LOCK_PATH, Holder, LockLost, holder_of, locked

HOLD = "import sys; from hqdata.storage import open_folder; from pipelines.run_lock import locked\n"
HOLD += "with locked(open_folder(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def refuse_flock(*_):
    raise OSError(38, "Function not implemented")


@pytest.fixture(params=["disk", "disk without locks", "store"])
def run(request, tmp_path, monkeypatch):
    if request.param == "disk without locks":
        monkeypatch.setattr(fcntl, "flock", refuse_flock)
    run = open_folder("memory://lock/run" if request.param == "store" else tmp_path / "run")
    yield run
    run.delete_all()


@pytest.fixture(params=["disk without locks", "store"])
def without_locks(request, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refuse_flock)
    run = open_folder("memory://lock/run" if request.param == "store" else tmp_path / "run")
    yield run
    run.delete_all()


def leave_lock(run, **changes):
    """Write the lock of another driver, who was alive ten seconds ago."""
    now = time.time()
    values = {"host": "elsewhere", "pid": 7, "user": "eve", "started": now - 100, "beat": now - 10, "token": "x"}
    run.write_json(LOCK_PATH, asdict(Holder(**(values | changes))))


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_lost(held):
    try:
        held.check()
    except LockLost:
        return True
    return False


def test_a_second_driver_is_refused_and_told_who_the_first_is(run):
    who = rf"another process is building .*run: .* on {socket.gethostname()} \(process {os.getpid()}\), since 20.*UTC"
    with locked(run), pytest.raises(ConfigError, match=rf"{who}.*--unlock"), locked(run):
        pass


def test_the_lock_ends_with_the_block(run):
    with locked(run):
        assert run.exists(LOCK_PATH)
    assert [file.name for file in run.files() if file.name.endswith(".json")] == []
    with locked(run) as held:
        held.check()


def test_the_lock_ends_with_a_block_that_raises(run):
    with pytest.raises(RuntimeError, match="stop"), locked(run):
        raise RuntimeError("stop")
    with locked(run) as held:
        held.check()


def test_who_is_told_to_takes_the_run_over_and_the_other_one_learns_it(run):
    with locked(run, beat_s=0.01) as first, locked(run, steal=True) as second:
        until(lambda: is_lost(first))
        with pytest.raises(LockLost, match=r"the run was taken over by .* since .*; this driver stops"):
            first.check()
        second.check()


def test_who_lost_the_run_leaves_the_others_lock(run):
    first = locked(run, beat_s=0.01)
    held = first.__enter__()
    with locked(run, steal=True):
        until(lambda: is_lost(held))
        first.__exit__(None, None, None)
        assert run.exists(LOCK_PATH)


def test_signs_of_life_are_renewed(run):
    with locked(run, beat_s=0.01):
        first = holder_of(run).beat
        until(lambda: holder_of(run).beat > first)


def test_a_removed_lock_file_is_a_lost_run(run):
    with locked(run, beat_s=0.01) as held:
        run.delete(LOCK_PATH)
        until(lambda: is_lost(held))


def test_a_live_driver_elsewhere_holds_the_run(without_locks):
    leave_lock(without_locks)
    who = r"eve on elsewhere \(process 7\), since .* UTC, last heard of 1\d s ago"
    with pytest.raises(ConfigError, match=who), locked(without_locks):
        pass
    assert without_locks.read_json(LOCK_PATH)["token"] == "x"


@pytest.mark.parametrize(
    "changes", [{"beat": time.time() - 400}, {"host": socket.gethostname(), "pid": 4_194_304}], ids=["silent", "dead"]
)
def test_who_is_gone_holds_nothing(without_locks, changes):
    leave_lock(without_locks, **changes)
    with locked(without_locks) as held:
        held.check()
        assert without_locks.read_json(LOCK_PATH)["pid"] == os.getpid()


def test_the_time_without_a_sign_of_life_can_be_set(without_locks):
    leave_lock(without_locks)
    with locked(without_locks, stale_s=5) as held:
        held.check()


def test_a_damaged_lock_file_holds_nothing(run):
    run.write(LOCK_PATH, b"{")
    with locked(run) as held:
        held.check()


def test_who_cannot_show_signs_of_life_for_long_must_stop(run, monkeypatch):
    def refuse(*_):
        raise OSError(5, "Input/output error")

    with locked(run, beat_s=0.01, stale_s=0.1) as held:
        monkeypatch.setattr(run_lock, "_show_life", refuse)
        until(lambda: is_lost(held))
        with pytest.raises(LockLost, match=r"could not be renewed for 0 s.*Input/output error"):
            held.check()


def test_a_short_failure_of_the_storage_does_not_cost_the_run(run, monkeypatch):
    def refuse(*_):
        failures.append(1)
        raise OSError(5, "Input/output error")

    failures = []
    with locked(run, beat_s=0.01) as held:
        with monkeypatch.context() as patch:
            patch.setattr(run_lock, "_show_life", refuse)
            until(lambda: failures)
        before = holder_of(run).beat
        until(lambda: holder_of(run).beat > before)
        held.check()


def test_a_lost_answer_to_the_claim_is_no_other_driver(without_locks, monkeypatch):
    create = type(without_locks).create

    def create_and_lose(self, name, data):
        create(self, name, data)
        raise FileExistsError(17, "is there already", name)

    monkeypatch.setattr(type(without_locks), "create", create_and_lose)
    with locked(without_locks) as held:
        held.check()


def test_a_killed_driver_holds_nothing_on_a_disk(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as driver:
        assert driver.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=rf"process {driver.pid}\)"), locked(open_folder(tmp_path)):
            pass
        driver.kill()
    assert json.loads((tmp_path / LOCK_PATH).read_text())["pid"] == driver.pid
    with locked(open_folder(tmp_path)) as held:
        held.check()


def test_a_driver_on_another_machine_whose_lock_is_not_seen_is_told_of(tmp_path, caplog):
    run = open_folder(tmp_path)
    leave_lock(run)
    with locked(run):
        assert "taking the run over from eve on elsewhere" in caplog.text
