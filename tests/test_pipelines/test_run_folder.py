"""The run folder's description: damaged or foreign ones are refused by a sentence."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hqdata.settings import ConfigError
from pipelines import run_folder
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


def test_an_installed_package_does_not_take_a_strangers_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "environment" / "pipelines"
    package.mkdir(parents=True)
    shutil.copy(run_folder.__file__, package)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setattr(run_folder, "__file__", str(package / "run_folder.py"))
    assert run_folder._git_commit() is None


def test_a_checkout_names_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "pipelines"
    package.mkdir()
    shutil.copy(run_folder.__file__, package)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "pipelines"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "ours"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setattr(run_folder, "__file__", str(package / "run_folder.py"))
    assert run_folder._git_commit() == head
