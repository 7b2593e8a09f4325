"""Driver and worker meet in the run folder, or find out that they do not."""

from dataclasses import replace
from pathlib import Path

import pytest
from local_s3 import local_s3

from pipelines.shared_folder import MeetingPoint, meeting_in


def test_both_sides_see_each_other(tmp_path: Path):
    with meeting_in(str(tmp_path / "run")) as meeting:
        assert meeting.fault_seen_by_worker("w1") == ""
        assert meeting.unseen_by_driver(["w1"]) == []


def test_a_worker_that_sees_another_folder_says_so_and_writes_nothing_there(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    with meeting_in(str(tmp_path / "run")) as meeting:
        fault = replace(meeting, run=str(elsewhere), patience_s=0.1).fault_seen_by_worker("w1")
    assert "another one than the driver's" in fault
    assert not elsewhere.exists()


def test_a_worker_whose_files_do_not_arrive_is_named(tmp_path: Path):
    with meeting_in(str(tmp_path / "run")) as meeting:
        meeting.fault_seen_by_worker("w1")
        assert meeting.unseen_by_driver(["w1", "w2"], patience_s=0.1) == ["w2"]


def test_a_folder_that_refuses_is_a_fault_with_its_cause(tmp_path: Path):
    with meeting_in(str(tmp_path / "run")) as meeting:
        meeting.folder.write("w1/blocked", b"")
        assert "cannot be used: IsADirectoryError" in meeting.fault_seen_by_worker("w1")


def test_a_run_folder_that_was_not_there_is_not_there_afterwards(tmp_path: Path):
    with meeting_in(str(tmp_path / "run")):
        pass
    assert not (tmp_path / "run").exists()


def test_what_was_in_the_run_folder_stays(tmp_path: Path):
    (tmp_path / "run.json").touch()
    with meeting_in(str(tmp_path)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_driver_that_cannot_write_says_so(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), meeting_in(str(tmp_path / "file")):
        pass


def test_an_object_store_is_a_folder_too():
    with meeting_in("memory://fitness-test/run") as meeting:
        assert isinstance(meeting, MeetingPoint)
        assert meeting.fault_seen_by_worker("w1") == ""
        assert meeting.unseen_by_driver(["w1"]) == []
        folder = meeting.folder
    assert folder.files() == []


def test_a_store_that_refuses_to_be_written_to_is_a_fault_with_its_cause():
    with local_s3() as server, meeting_in("s3://bucket/run") as meeting:
        assert meeting.fault_seen_by_worker("w1") == ""
        assert meeting.unseen_by_driver(["w1"]) == []
        server.fail("PUT .*w2", status=403, times=100)
        fault = meeting.fault_seen_by_worker("w2")
    assert "the run folder s3://bucket/run cannot be used: PermissionError" in fault
