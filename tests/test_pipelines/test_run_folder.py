"""The run folder's description: damaged or foreign ones are refused by a sentence."""

import json
from pathlib import Path

import pytest

from pipelines.config import ConfigError
from pipelines.run_folder import previous_run


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"{", "damaged"),
        (b"[1]", "damaged"),
        (b"\xdd\xfe", "damaged"),
        (b"{}", "damaged"),
        (json.dumps({"format": "progan-hq/run", "version": 9}).encode(), "got .*9.*; give a new folder"),
    ],
)
def test_a_description_that_cannot_be_ours_is_refused(tmp_path: Path, text: bytes, sentence: str):
    (tmp_path / "run.json").write_bytes(text)
    with pytest.raises(ConfigError, match=f"run.json: .*{sentence}"):
        previous_run(tmp_path)


def test_no_description_is_none(tmp_path: Path):
    assert previous_run(tmp_path) is None
