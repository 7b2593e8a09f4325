"""The run folder's description: damaged or foreign ones are refused by a sentence."""

import json
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from hqdata.settings import ConfigError
from hqdata.sources import Source
from hqdata.storage import open_folder
from pipelines import run_folder
from pipelines.run_folder import previous_run, require_apart, require_usable


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
        previous_run(open_folder(tmp_path))


def test_no_description_is_none(tmp_path: Path):
    assert previous_run(open_folder(tmp_path)) is None


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


@pytest.mark.parametrize(
    ("source", "run", "apart"),
    [
        ("{}/photos", "{}/run", True),
        ("{}/photos", "{}/photos/run", False),
        ("{}/run/photos", "{}/run", False),
        ("{}/photos", "s3://bucket/photos", True),
        ("s3://bucket/photos", "s3://bucket/photos-hq", True),
        ("s3://bucket/photos", "s3://bucket/photos/hq", False),
    ],
)
def test_the_run_must_not_lie_among_the_photos(source: str, run: str, apart: bool, tmp_path: Path):
    photos = Source(kind="photos", root=source.format(tmp_path), photos=())
    expected = nullcontext() if apart else pytest.raises(ConfigError, match="lie in one another")
    with expected:
        require_apart(photos, open_folder(run.format(tmp_path)))


def test_a_folder_with_something_else_is_refused_and_an_interrupted_run_is_not(tmp_path: Path):
    folder = open_folder(tmp_path / "run")
    require_usable(folder)
    folder.write("work/lock", b"")
    require_usable(folder)
    with pytest.raises(ConfigError, match="neither empty nor a run folder"):
        require_usable(open_folder(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        require_usable(open_folder(tmp_path / "file"))
