"""Scratch: what it lies on, whether it can be written to."""

from pathlib import Path

import pytest

from pipelines import scratch
from pipelines.scratch import ScratchFolder, examine_scratch, file_system_of

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:25 / /tmp rw - tmpfs tmpfs rw
31 22 0:26 / /data rw shared:1 - nfs4 server:/data rw
32 31 0:27 / /data/my\\040disk rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/tmp/a", "tmpfs"), ("/tmpfile", "ext4"), ("/data/x/y", "nfs4"), ("/data/my disk/z", "xfs")],
)
def test_the_innermost_mount_says_what_a_folder_lies_on(path: str, kind: str, tmp_path: Path, monkeypatch):
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(scratch, "MOUNTS", tmp_path / "mounts")
    assert file_system_of(Path(path)) == kind


def test_a_system_that_does_not_say_is_no_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scratch, "MOUNTS", Path("/no/such/file"))
    assert file_system_of(Path("/")) == ""


@pytest.mark.parametrize(("kind", "word"), [("nfs4", "network"), ("lustre", "network"), ("tmpfs", "memory")])
def test_slow_and_small_file_systems_are_warned_of(kind: str, word: str):
    (warning,) = ScratchFolder(path="/x", file_system=kind, free_bytes=1).warnings()
    assert word in warning


def test_a_disk_is_not_warned_of():
    assert ScratchFolder(path="/x", file_system="xfs", free_bytes=1).warnings() == []


def test_a_usable_folder_is_left_empty(tmp_path: Path):
    found = examine_scratch(tmp_path)
    assert (found.fault, list(tmp_path.iterdir())) == ("", [])
    assert found.free_bytes > 0


@pytest.mark.parametrize("name", ["file", "missing"])
def test_a_folder_that_cannot_be_written_to_is_named(name: str, tmp_path: Path):
    (tmp_path / "file").touch()
    assert str(tmp_path / name) in examine_scratch(tmp_path / name).fault
