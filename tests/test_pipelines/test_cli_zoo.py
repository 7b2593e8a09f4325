"""An architecture other than ProGAN, as a user meets it: from pictures to a trained generator and what it draws."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from gan.checkpoint import load_snapshot
from pipelines.cli import cli

SMALL = [
    "--set=networks.resolution=16",
    "--set=networks.most_maps=8",
    "--set=networks.map_budget=32",
    "--set=networks.latent=8",
    "--set=schedule.minibatch=4",
    "--set=schedule.total_images=16",
    "--set=schedule.tick_images=8",
    "--set=training.precision=float32",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    images = np.random.default_rng(0).integers(0, 256, (24, 3, 16, 16), dtype=np.uint8)
    np.savez(path, images=images, kind=np.arange(24) % 3)
    return path


def hqdata(*words):
    answer = CliRunner().invoke(cli, [str(word) for word in words])
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def test_a_dcgan_is_trained_and_drawn_from(tmp_path, pictures):
    run = tmp_path / "run"
    words = ["train", pictures, "--out", run, "--preset", "dcgan-64", *SMALL]
    assert hqdata(*words, "--labels", "kind").exit_code == 0
    snapshot = load_snapshot(run)
    assert (snapshot.generator.shape.architecture, snapshot.generator.shape.labels) == ("dcgan", 3)
    assert (snapshot.images, snapshot.level) == (16, 4)
    assert hqdata("sample", run, "--seeds", "0-3", "--label", "1", "--out", tmp_path / "a.png").exit_code == 0
    assert np.asarray(Image.open(tmp_path / "a.png")).shape == (32, 32, 3)
    assert hqdata("train", "--out", run, "--resume").exit_code == 0
    assert hqdata("timelapse", run, "--seconds", "1", "--fps", "4", "--out", tmp_path / "a.gif").exit_code == 0


def test_a_preset_of_another_size_than_the_pictures_says_what_to_set(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"the pictures have 16 px.*set networks.resolution to at most 16"):
        hqdata("train", pictures, "--out", tmp_path / "run", "--preset", "dcgan-64")
    assert not (tmp_path / "run").exists()


def test_another_architecture_without_its_game_says_what_to_set(tmp_path, pictures):
    with pytest.raises(ValueError, match=r"loss.penalty 'gradient' looks at pictures one by one"):
        hqdata("train", pictures, "--out", tmp_path / "run", "--set", "networks.architecture=dcgan")


def test_the_plan_of_a_network_that_does_not_grow_has_one_level(pictures):
    answer = hqdata("train", pictures, "--plan", "--preset", "dcgan-64", *SMALL)
    assert [line.split()[0] for line in answer.output.splitlines()[3:5]] == ["16", "all"]
