"""One's own photos: decoded like any stranger's file, cleaned by shrinking, listed, and prepared once."""

import hashlib
import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from hqdata.training import packages
from hqdata.training.packages import fetch_packages
from hqdata.training.patches import PhotoPool
from hqdata.training.photos import describe_folder, prepare_once, prepare_own


@pytest.fixture
def folder(tmp_path):
    photos = tmp_path / "mine"
    (photos / "trip").mkdir(parents=True)
    picture(300, 400).save(photos / "trip" / "a b.jpg", quality=60)
    picture(60, 80).save(photos / "lossless.png")
    picture(100, 100).save(photos / "web.webp")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    (photos / "notes.txt").write_text("not a photo")
    return photos


def picture(height, width):
    levels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def test_photos_stored_with_loss_are_made_smaller_and_others_are_kept(folder, tmp_path):
    prepared = {one.path: one.size for one in prepare_own(folder, tmp_path / "out")}
    assert prepared == {"trip/a b.jpg": (150, 200), "web.webp": (80, 80), "lossless.png": (60, 80)}
    kept = PhotoPool(tmp_path / "out").photos["lossless.png"]
    assert np.array_equal(kept, np.asarray(picture(60, 80)))


def test_a_broken_file_is_left_out_by_name(folder, tmp_path, caplog):
    names = {one.name for one in prepare_own(folder, tmp_path / "out")}
    assert names == {"lossless.png", "trip_a_b.png", "web.png"}
    assert str(folder / "broken.jpg") in caplog.text


def test_every_photo_is_listed_with_its_checksum(folder, tmp_path):
    prepare_own(folder, tmp_path / "out")
    listed = json.loads((tmp_path / "out" / "attributions.json").read_text())
    assert {one["name"] for one in listed} == {path.name for path in (tmp_path / "out").glob("*.png")}
    sums = {one["path"]: one["sha256"] for one in listed}
    assert sums["trip/a b.jpg"] == hashlib.sha256((folder / "trip" / "a b.jpg").read_bytes()).hexdigest()


def test_a_large_photo_is_kept_at_two_sizes_under_two_names(tmp_path):
    (tmp_path / "mine").mkdir()
    picture(30, 5000).save(tmp_path / "mine" / "wide.jpg")
    prepared = [(one.name, one.size[1]) for one in prepare_own(tmp_path / "mine", tmp_path / "out")]
    assert prepared == [("wide.png", 2000), ("wide_1000.png", 1000)]


def test_equal_names_do_not_replace_each_other(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("a b.png", "a-b.png", "a_b.png"):
        picture(20, 30).save(tmp_path / "mine" / name)
    assert len({one.name for one in prepare_own(tmp_path / "mine", tmp_path / "out")}) == 3


def test_a_folder_of_broken_photos_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="none of its photos can be decoded"):
        prepare_own(tmp_path / "mine", tmp_path / "out")


@pytest.mark.parametrize("name", [".", "none"])
def test_a_folder_without_photos_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"no photos found|no such folder"):
        describe_folder(tmp_path / name)


def test_a_changed_photo_changes_the_description(folder):
    before = describe_folder(folder)
    picture(61, 80).save(folder / "lossless.png")
    after = describe_folder(folder)
    assert (before["files"], after["files"]) == (4, 4)
    assert before["sha256"] != after["sha256"]


def test_photos_are_prepared_once(tmp_path):
    calls = []
    for _ in range(2):
        prepare_once(tmp_path / "out", {"kind": "test"}, calls.append)
    assert calls == [tmp_path / "out"]


def test_photos_prepared_from_something_else_are_refused(tmp_path):
    prepare_once(tmp_path / "out", {"kind": "test"}, lambda out: None)
    with pytest.raises(ValueError, match=r"was prepared from {'kind': 'test'}, not from {'kind': 'other'}"):
        prepare_once(tmp_path / "out", {"kind": "other"}, lambda out: None)


def test_a_half_prepared_folder_is_begun_again(tmp_path):
    def fail(out):
        picture(8, 8).save(out / "left_over.png")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_once(tmp_path / "out", {}, fail)
    prepare_once(tmp_path / "out", {}, lambda out: picture(8, 8).save(out / "good.png"))
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["good.png"]


def test_somebody_elses_folder_is_left_alone(tmp_path):
    picture(8, 8).save(tmp_path / "precious.png")
    with pytest.raises(ValueError, match="holds files that no training put there"):
        prepare_once(tmp_path, {}, lambda out: None)
    assert (tmp_path / "precious.png").exists()


def test_packages_that_are_there_are_not_fetched(tmp_path, monkeypatch):
    for name in packages.PACKAGES:
        (tmp_path / "usr/share/doc" / name).mkdir(parents=True)
        (tmp_path / "usr/share/doc" / name / "copyright").touch()
    monkeypatch.setattr(packages.shutil, "which", lambda tool: None)
    fetch_packages(tmp_path)


def test_a_system_without_apt_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda tool: None)
    with pytest.raises(ValueError, match=r"apt-get is not on this system.*gcompris-qt-data.*dpkg-deb -x.*--packages"):
        fetch_packages(tmp_path)


def test_a_failed_download_says_why(tmp_path, monkeypatch):
    answer = subprocess.CompletedProcess([], 100, "", "E: Unable to locate package gcompris-qt-data\n")
    monkeypatch.setattr(packages.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(ValueError, match="Unable to locate package gcompris-qt-data; run `apt-get update`"):
        fetch_packages(tmp_path)


def test_only_missing_packages_are_downloaded_and_all_are_unpacked(tmp_path, monkeypatch):
    present, *missing = packages.PACKAGES
    (tmp_path / "usr/share/doc" / present).mkdir(parents=True)
    (tmp_path / "usr/share/doc" / present / "copyright").touch()
    commands = []

    def run(command, cwd, **_):
        commands.append(command)
        if command[0] == "apt-get":
            for name in command[2:]:
                (cwd / f"{name}.deb").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(packages.subprocess, "run", run)
    fetch_packages(tmp_path)
    assert commands[0] == ["apt-get", "download", *missing]
    assert [command[:2] for command in commands[1:]] == [["dpkg-deb", "-x"]] * 3
    assert {command[3] for command in commands[1:]} == {str(tmp_path)}
    assert [path.name for path in tmp_path.iterdir()] == ["usr"]
