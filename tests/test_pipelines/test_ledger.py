"""The ledger: rows are there and right, or not there."""

from operator import itemgetter
from pathlib import Path

import pytest

from hqdata.storage import Folder, open_folder
from pipelines.ledger import LedgerReader, append_rows, fingerprint, read_rows, rewrite_rows

ROWS = [{"id": "a", "score": 0.1}, {"id": "b", "score": 1 / 3}]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder(tmp_path / "ledger")


def all_rows(folder: Folder) -> list[dict]:
    return [row for _, rows in read_rows(folder) for row in rows]


def test_rows_come_back_with_every_bit(folder: Folder):
    append_rows(folder, ROWS)
    append_rows(folder, [{"id": "c", "score": 5e-324}])
    assert sorted(all_rows(folder), key=itemgetter("id")) == [*ROWS, {"id": "c", "score": 5e-324}]


def test_writing_the_same_rows_again_changes_nothing(folder: Folder):
    assert append_rows(folder, ROWS) == append_rows(folder, ROWS)
    assert all_rows(folder) == ROWS


def test_no_rows_write_no_file(folder: Folder):
    assert append_rows(folder, []) is None
    assert folder.is_empty()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_skipped_and_reported(folder: Folder, damage: str, caplog: pytest.LogCaptureFixture):
    path = folder.path / append_rows(folder, ROWS)
    append_rows(folder, [{"id": "c"}])
    data = bytearray(path.read_bytes())
    data[8] ^= 1
    path.write_bytes({"flip": bytes(data), "cut": path.read_bytes()[:-20], "empty": b""}[damage])
    assert all_rows(folder) == [{"id": "c"}]
    assert path.name in caplog.text


def test_nan_cannot_enter(folder: Folder):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_rows(folder, [{"score": float("nan")}])


def test_a_fingerprint_follows_every_value_and_no_order():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_a_row_is_found_by_file_and_key_however_few_files_are_held(folder: Folder):
    names = [append_rows(folder, [{"id": id}, {"id": id + "2"}]) for id in "abc"]
    reader = LedgerReader(folder, key=itemgetter("id"), held=1)
    assert [reader.row(name, id + "2") for name, id in zip(names, "abc", strict=True)] == [
        {"id": "a2"},
        {"id": "b2"},
        {"id": "c2"},
    ]


@pytest.mark.parametrize("key", ["b", "none"])
def test_a_row_that_is_not_there_any_more_is_an_error_with_the_file(folder: Folder, key: str):
    name = append_rows(folder, ROWS)
    if key == "b":
        folder.write(name, b"{}")
    with pytest.raises(ValueError, match=f"{name}: .*run the same command"):
        LedgerReader(folder, key=itemgetter("id")).row(name, key)


def test_rewriting_forgets_the_rows_left_out(folder: Folder):
    name = append_rows(folder, ROWS)
    rewrite_rows(folder, name, ROWS[:1])
    assert all_rows(folder) == ROWS[:1]
    rewrite_rows(folder, append_rows(folder, ROWS), ROWS)
    assert len(all_rows(folder)) == 3
