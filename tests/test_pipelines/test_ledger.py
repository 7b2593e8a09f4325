"""The ledger: rows are there and right, or not there."""

from pathlib import Path

import pytest

from pipelines.ledger import append_rows, fingerprint, read_rows

ROWS = [{"id": "a", "score": 0.1}, {"id": "b", "score": 1 / 3}]


def test_rows_come_back_with_every_bit(tmp_path: Path):
    append_rows(tmp_path, ROWS)
    append_rows(tmp_path, [{"id": "c", "score": 5e-324}])
    assert sorted(read_rows(tmp_path), key=lambda row: row["id"]) == [*ROWS, {"id": "c", "score": 5e-324}]


def test_writing_the_same_rows_again_changes_nothing(tmp_path: Path):
    assert append_rows(tmp_path, ROWS) == append_rows(tmp_path, ROWS)
    assert list(read_rows(tmp_path)) == ROWS


def test_no_rows_write_no_file(tmp_path: Path):
    assert append_rows(tmp_path, []) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_file_is_skipped_and_reported(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture):
    path = append_rows(tmp_path, ROWS)
    append_rows(tmp_path, [{"id": "c"}])
    data = bytearray(path.read_bytes())
    data[8] ^= 1
    path.write_bytes({"flip": bytes(data), "cut": path.read_bytes()[:-20], "empty": b""}[damage])
    assert list(read_rows(tmp_path)) == [{"id": "c"}]
    assert path.name in caplog.text


def test_nan_cannot_enter(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_rows(tmp_path, [{"score": float("nan")}])


def test_a_fingerprint_follows_every_value_and_no_order():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
