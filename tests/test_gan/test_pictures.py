"""Real pictures at every level, the same from memory as from a run's shards."""

from pathlib import Path

import numpy as np
import pytest
import torch
from shard_runs import picture, write_run
from small_gan import CPU, small_config

from gan.pictures import ArrayPictures, RunPictures, one_hot
from gan.trainer import Trainer
from hqdata.settings import ConfigError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six pictures of 16 px."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture
def images() -> np.ndarray:
    return np.stack([picture(number).transpose(2, 0, 1) for number in range(6)])


@pytest.mark.parametrize("level", [2, 3, 4])
def test_a_runs_pictures_are_those_of_memory_at_every_level(run: Path, images: np.ndarray, level: int):
    indices = np.array([5, 0, 3])
    assert torch.equal(RunPictures(run).batch(indices, level), ArrayPictures(images).batch(indices, level))


def test_a_run_says_what_it_is(run: Path):
    pictures = RunPictures(run)
    assert (len(pictures), pictures.last_level, pictures.channels, pictures.labels) == (6, 4, 3, None)
    assert pictures.fingerprint == RunPictures(run).fingerprint


def test_a_column_of_a_run_becomes_labels(run: Path):
    pictures = RunPictures(run, label_column="Male")
    assert pictures.labels is not None
    assert pictures.labels.tolist() == [[1, 0], [0, 1]] * 3
    assert pictures.fingerprint != RunPictures(run).fingerprint


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("Smiling", r"has no column 'Smiling' for labels; its columns are .*Male"),
        ("camera", r"column 'camera' is empty for 3 pictures, such as 000001"),
        ("quad", r"labels must be numbers or texts"),
    ],
)
def test_a_column_that_makes_no_labels_is_refused(run: Path, column: str, message: str):
    with pytest.raises(ValueError, match=message):
        RunPictures(run, label_column=column)


def test_a_training_on_a_run_is_the_training_on_its_pictures(run: Path, images: np.ndarray):
    config = small_config()
    terms = []
    for pictures in (RunPictures(run), ArrayPictures(images)):
        trainer = Trainer(config, pictures, machine=CPU)
        trainer.step()
        terms.append({name: float(value) for name, value in trainer.step().items()})
        trainer.close()
    assert terms[0] == terms[1]


def test_a_size_that_is_not_in_the_shards_is_refused_before_the_first_step(run: Path):
    with pytest.raises(
        ConfigError, match=r"the pictures have 16 px, the networks 64; set networks.resolution to at most"
    ):
        Trainer(small_config(networks={"resolution": 64}), RunPictures(run), machine=CPU)


def test_an_unfinished_run_is_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        RunPictures(tmp_path)


def test_smaller_levels_are_means_rounded_once():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 3, 16, 16), dtype=np.uint8)
    exact = images.astype(np.float64).reshape(2, 3, 4, 4, 4, 4).mean(axis=(3, 5))
    assert np.array_equal(ArrayPictures(images).batch(np.arange(2), 2).numpy(), np.rint(exact).astype(np.uint8))


def test_the_fingerprint_changes_with_a_single_pixel_and_with_labels():
    images = np.full((2, 1, 4, 4), 9, np.uint8)
    changed = images.copy()
    changed[1, 0, 3, 3] = 10
    labels = torch.eye(2)
    prints = [ArrayPictures(images), ArrayPictures(changed), ArrayPictures(images, labels=labels)]
    prints.append(ArrayPictures(images, labels=labels.flip(0)))
    assert len({pictures.fingerprint for pictures in prints}) == 4


@pytest.mark.parametrize(
    ("shape", "base", "level"),
    [((1, 1, 4, 4), (4, 4), 2), ((1, 4, 32, 32), (4, 4), 5), ((1, 3, 16, 24), (4, 6), 4), ((1, 3, 5, 3), (5, 3), 2)],
)
def test_a_level_is_how_often_the_base_was_doubled(shape: tuple[int, ...], base: tuple[int, int], level: int):
    pictures = ArrayPictures(np.full(shape, 7, np.uint8), base=base)
    assert (pictures.last_level, pictures.channels) == (level, shape[1])


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((2, 3, 8, 8), np.float32), TypeError, r"images must be uint8 in 0\.\.255, got float32"),
        (np.zeros((2, 3, 8, 8), np.int64), TypeError, r"images must be uint8 in 0\.\.255, got int64"),
        (np.eye(8, dtype=np.uint8)[None, None], ValueError, r"hold 0 and 1 alone, .* multiply them with 255 first"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"must have shape \(n, c, h, w\) without a zero, got \(3, 8, 8\)"),
        (np.zeros((0, 3, 8, 8), np.uint8), ValueError, r"without a zero, got \(0, 3, 8, 8\)"),
        (np.zeros((2, 3, 12, 12), np.uint8), ValueError, r"4 x 4 pixels times a power of two, got 12 x 12"),
        (np.zeros((2, 3, 8, 16), np.uint8), ValueError, r"4 x 4 pixels times a power of two, got 8 x 16"),
        (np.zeros((2, 3, 2, 2), np.uint8), ValueError, r"4 x 4 pixels times a power of two, got 2 x 2"),
    ],
)
def test_what_is_no_stored_picture_is_refused(images: np.ndarray, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        ArrayPictures(images)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.tensor([0, 1]), TypeError, r"labels must be float rows \(n, k\), .* got torch.int64 \(2,\)"),
        (torch.zeros(2, 3, dtype=torch.uint8), TypeError, r"got torch.uint8 \(2, 3\)"),
        (torch.zeros(3, 2), ValueError, "labels must have a row for each of 2 pictures, got 3"),
    ],
)
def test_what_are_no_rows_of_labels_is_refused(labels: torch.Tensor, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        ArrayPictures(np.full((2, 1, 4, 4), 9, np.uint8), labels=labels)


def test_classes_are_sorted_and_made_rows():
    assert one_hot([30, 10, 20, 10]).argmax(dim=1).tolist() == [2, 0, 1, 0]
