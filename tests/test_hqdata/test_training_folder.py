"""What a training's folder says of itself: damage is named, and nobody else trains in it."""

import json
import signal

import pytest

from hqdata.settings import ConfigError
from hqdata.training.identity import check_identity
from hqdata.training.lock import locked_folder
from hqdata.training.runlog import RunLog, read_log
from hqdata.training.stopping import StopRequest


@pytest.mark.parametrize("content", [b"", b"[]", b'{"ident', b"\xff\xfe", b'{"identity": 3, "versions": {}}'])
def test_a_damaged_run_file_is_named(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json: does not say what the run is .*use another folder"):
        check_identity(tmp_path, {"seed": 1})


def test_of_nested_settings_those_that_differ_are_named(tmp_path):
    check_identity(tmp_path, {"config": {"loss": {"weight": 10.0}, "training": {"seed": 1}}})
    with pytest.raises(ValueError, match=r"another run: config\.training\.seed was 1, now 2; "):
        check_identity(tmp_path, {"config": {"loss": {"weight": 10.0}, "training": {"seed": 2}}})


def test_a_saved_state_of_unknown_origin_is_refused_wherever_it_is_kept(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    check_identity(tmp_path / "other", {}, saved="checkpoints")
    with pytest.raises(ValueError, match=r"holds a saved state but no run\.json"):
        check_identity(tmp_path, {}, saved="checkpoints")


@pytest.mark.parametrize("line", [b"garbage", b"\0\0\0", b"[]", b'{"seconds": 1}', b'{"images": "4", "seconds": 1}'])
def test_a_line_that_is_no_logs_is_named_and_the_file_left_alone(tmp_path, line):
    path = tmp_path / "runlog.jsonl"
    content = b'{"images": 4, "seconds": 1.5}\n' + line + b"\n"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"runlog\.jsonl: line 2 is not that of a training's log; remove it"):
        RunLog(path, images=8)
    assert path.read_bytes() == content


def test_a_last_line_that_a_kill_has_cut_is_left_out(tmp_path):
    path = tmp_path / "runlog.jsonl"
    path.write_bytes(b'{"images": 4, "seconds": 1.5}\n{"images": 8, "sec')
    assert read_log(path) == [{"images": 4, "seconds": 1.5}]


def test_no_file_is_an_empty_log(tmp_path):
    assert read_log(tmp_path / "runlog.jsonl") == []


def test_going_on_leaves_the_lines_before_as_they_were(tmp_path):
    path = tmp_path / "runlog.jsonl"
    log = RunLog(path)
    log.add({"error": 1 / 3})
    log.write(4, {"level": 2})
    before = path.read_bytes()
    RunLog(path, images=4)
    assert path.read_bytes() == before
    assert json.loads(before)["error"] == 0.333333


def test_a_full_disk_is_named_by_the_log(tmp_path):
    log = RunLog(tmp_path / "runlog.jsonl")
    (tmp_path / "runlog.jsonl").unlink()
    (tmp_path / "runlog.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*runlog\.jsonl"):
        log.write(4)


def test_a_folder_is_held_by_one_training(tmp_path):
    with (
        locked_folder(tmp_path / "run"),
        pytest.raises(ConfigError, match=r"another process is training in .*run; wait for it or stop it first"),
        locked_folder(tmp_path / "run"),
    ):
        pass
    with locked_folder(tmp_path / "run"):
        pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked_folder(tmp_path):
        pass
    assert "cannot be locked (Operation not supported); start no second training in it" in caplog.text


def test_a_second_sigterm_changes_nothing():
    with StopRequest() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_sigint_after_a_signal_interrupts_at_once(first):
    with StopRequest():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
