"""A file is there whole, or as it was before."""

import stat
from pathlib import Path

import pytest

from metrics.whole_files import whole_file


def write_half(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt


def test_what_is_written_is_there_at_the_end(tmp_path: Path):
    with whole_file(tmp_path / "a.bin") as file:
        file.write(b"new")
        seen = (tmp_path / "a.bin").exists()
    assert not seen
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_others_may_read_it_as_they_may_any_new_file(tmp_path: Path):
    (tmp_path / "usual").touch()
    with whole_file(tmp_path / "a.bin") as file:
        file.write(b"new")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "a.bin")]
    assert modes[0] == modes[1]
