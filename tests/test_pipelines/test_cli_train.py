"""The training commands as a user meets them: weights that load, one sentence for what is wrong, and resuming."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data
from training_photos import random_features, write_patterns

from hqdata import restore, upscale
from hqdata.pixels import to_image, to_tensor
from hqdata.restore.degrade import jpeg
from hqdata.training import packages, perceptual
from pipelines.cli import cli

HQDATA = [sys.executable, "-m", "pipelines.cli"]
FEW = ["--images", "8", "--batch", "4"]
NO_GAN = ["--gan-images", "0"]
GAN = ["--gan-images", "100"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_patterns(tmp_path_factory.mktemp("cli") / "photos")


def hqdata(*words, check=True):
    answer = CliRunner().invoke(cli, [str(word) for word in words])
    if check and answer.exception:
        raise answer.exception
    return answer


@pytest.mark.parametrize("network", ["dejpeg-small", "dejpeg-large"])
def test_a_trained_restorer_can_be_loaded(photos, tmp_path, network):
    words = ["--photos", photos, "--out", tmp_path / "run", "--network", network, "--patch", "16"]
    answer = hqdata("train-restorer", *words, "--images", "2", "--batch", "1")
    assert f"{network}.safetensors" in answer.output
    assert restore.load(tmp_path / "run" / f"{network}.safetensors").name == network


@pytest.mark.parametrize("network", ["sr4-small", "sr4-large"])
def test_a_trained_upscaler_can_be_loaded_from_both_stages_and_between_them(photos, tmp_path, network, monkeypatch):
    monkeypatch.setattr(perceptual, "load_perceptual", lambda *_, **__: random_features())
    sizes = ["--patch", "32", "--gan-images", "4"]
    hqdata("train-upscaler", "--photos", photos, "--out", tmp_path, "--network", network, *FEW, *sizes)
    ends = [tmp_path / f"{network}-l1.safetensors", tmp_path / f"{network}.safetensors"]
    hqdata("blend-weights", *ends, "--share", "0.5", "--out", tmp_path / "half.safetensors", "--name", "half")
    names = [upscale.load(path).name for path in (*ends, tmp_path / "half.safetensors")]
    assert names == [f"{network}-l1", network, "half"]


def test_the_recipe_trains_on_what_its_packages_hold_and_lists_it(tmp_path):
    notice = tmp_path / "packages/usr/share/doc/lomiri-wallpapers-16.04/copyright"
    for name in packages.PACKAGES:
        (notice.parents[1] / name).mkdir(parents=True)
        (notice.parents[1] / name / "copyright").touch()
    notice.write_text(
        "Files: 16.04/a.jpg\nCopyright: 2018 Ann\nLicense: CC0-1.0\n\n"
        "Files: 16.04/b.jpg\nCopyright: 2018 Bob\nLicense: GPL-2\n"
    )
    (tmp_path / "packages/usr/share/backgrounds").mkdir()
    for name in ("a.jpg", "b.jpg"):
        from PIL import Image

        Image.fromarray(data.astronaut()).save(tmp_path / "packages/usr/share/backgrounds" / name)
    words = ["--data", "recipe", "--packages", tmp_path / "packages", "--out", tmp_path / "run", "--patch", "16"]
    hqdata("train-restorer", *words, *FEW)
    listed = json.loads((tmp_path / "run" / "attributions.json").read_text())
    assert [(one["path"], one["author"], one["licence"]) for one in listed] == [("a.jpg", "2018 Ann", "CC0-1.0")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train-restorer", "--out", "{tmp}/run"], "give either --photos DIR, your own, or --data recipe"),
        (["train-restorer", "--out", "{tmp}/run", "--photos", "{photos}", "--licences", "CC"], "belong to --data"),
        (["train-restorer", "--out", "{photos}/run", "--photos", "{photos}"], "put it elsewhere"),
        (["train-restorer", "--out", "{tmp}/run", "--photos", "{tmp}/none"], "no such folder"),
        (["train-restorer", "--out", "{tmp}/run", "--photos", "{photos}", "--start", "best"], "best"),
        (["train-restorer", "--out", "{tmp}/run", "--photos", "{photos}", "--patch", "15"], "patch even"),
        (["train-upscaler", "--out", "{tmp}/run", "--photos", "{photos}", "--gan-images", "-1"], "gan-images"),
        (
            ["train-upscaler", "--out", "{tmp}/run", "--photos", "{photos}", *GAN, "--perceptual", "{tmp}/n"],
            "install it with `pip",
        ),
        (["train-upscaler", "--out", "{tmp}/run", "--photos", "{photos}", *NO_GAN, "--start", "best"], "best"),
        (["train-upscaler", "--out", "{tmp}/run", "--photos", "{photos}", *NO_GAN, "--restorer", "best"], "best"),
        (["blend-weights", "{tmp}/a", "{tmp}/b", "--share", "2", "--out", "{tmp}/c"], "share"),
    ],
)
def test_wrong_use_is_answered_by_a_sentence(photos, tmp_path, words, sentence):
    answer = hqdata(*(word.format(tmp=tmp_path, photos=photos) for word in words), check=False)
    assert answer.exit_code != 0
    assert sentence in answer.output + str(answer.exception)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_a_link_leads_into_the_photos_is_refused(tmp_path):
    photos = write_patterns(tmp_path / "photos")
    (tmp_path / "link").symlink_to(photos)
    words = ["--out", tmp_path / "link" / "run", "--photos", photos, "--patch", "16", *FEW]
    answer = hqdata("train-restorer", *words, check=False)
    assert "put it elsewhere" in answer.output
    assert not (photos / "run").exists()


def test_another_seed_in_the_same_folder_is_refused_by_name(photos, tmp_path):
    words = ["train-restorer", "--photos", photos, "--out", tmp_path / "run", "--patch", "16", *FEW]
    hqdata(*words)
    answer = hqdata(*words, "--seed", "1", check=False)
    assert "seed was 0, now 1" in str(answer.exception)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_training_says_that_it_can_go_on(photos, tmp_path, number):
    run = tmp_path / "run"
    words = ["--photos", photos, "--out", run, "--patch", "16", "--images", "1000000"]
    command = [*HQDATA, "train-restorer", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as training:
        deadline = time.monotonic() + 120
        while not (run / "runlog.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        training.send_signal(number)
        _, errors = training.communicate(timeout=120)
    assert training.returncode == 75
    assert "run the same command to go on" in errors
    assert "Traceback" not in errors
    assert json.loads((run / "state.json").read_text())["images"] > 0


@pytest.mark.slow
def test_a_few_hundred_steps_from_random_weights_beat_the_input(tmp_path):
    """On another photo than the ones it learned from, at the qualities that are easiest to help."""
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee"):
        Image.fromarray(getattr(data, name)()).save(tmp_path / "photos" / f"{name}.png")
    words = ["--photos", tmp_path / "photos", "--out", tmp_path / "run", "--images", "6400"]
    hqdata("train-restorer", *words, "--rate", "2e-3")
    network = restore.load(tmp_path / "run" / "dejpeg-small.safetensors")
    clean = np.ascontiguousarray(data.astronaut()[:256, :256])
    for quality in (10, 20):
        damaged = jpeg(clean, quality)
        fixed = to_image(restore.apply(to_tensor(damaged), network))
        assert np.square(fixed - clean.astype(float)).mean() < 0.97 * np.square(damaged - clean.astype(float)).mean()
