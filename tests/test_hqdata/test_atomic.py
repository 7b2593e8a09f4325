"""A file appears whole or not at all."""

from pathlib import Path

import pytest

from hqdata.atomic import atomic_path, atomic_path_with_suffix, json_bytes, write_bytes, write_json


def test_the_file_appears_with_its_content_and_nothing_else(tmp_path: Path):
    write_bytes(tmp_path / "below" / "a.bin", b"content")
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["a.bin"]
    assert (tmp_path / "below" / "a.bin").read_bytes() == b"content"


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ha")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_half()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_reader_sees_the_old_content_until_the_new_is_whole(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_equal_values_give_equal_json_bytes(tmp_path: Path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    assert (tmp_path / "a.json").read_bytes() == json_bytes({"a": [1.5, None], "b": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_a_temporary_path_can_have_the_files_suffix(tmp_path: Path):
    with atomic_path_with_suffix(tmp_path / "a.png") as temporary:
        assert temporary.suffix == ".png"
        temporary.write_text("new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.png", "new")]


def test_an_error_leaves_no_temporary_path_with_a_suffix(tmp_path: Path):
    def write_half() -> None:
        with atomic_path_with_suffix(tmp_path / "a.png") as temporary:
            temporary.write_text("ha")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_a_file_whose_writer_made_it_private(tmp_path: Path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "private") as temporary:
        temporary.unlink()
        temporary.write_text("content")
        temporary.chmod(0o600)
    assert (tmp_path / "private").stat().st_mode == (tmp_path / "plain").stat().st_mode
