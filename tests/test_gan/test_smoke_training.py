"""A real training, short and small: crops of scikit-image's photos, from 4 to 8 pixels, on one core in a minute."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import metrics
from gan.checkpoint import load_snapshot
from gan.config import load_gan_config
from gan.pictures import ArrayPictures
from gan.sample import generate, latents_of
from gan.training_run import run_training
from hqdata.training.machine import Machine

SETTINGS = (
    "networks.resolution=8",
    "networks.channels=3",
    "schedule.total_images=14_000",
    "schedule.stable_images=1_000",
    "schedule.fade_images=1_000",
    "schedule.minibatch=16",
    "schedule.tick_images=7_000",
    "training.checkpoint_images=14_000",
    "training.precision=float32",
)


@pytest.mark.slow
def test_a_short_training_halves_the_distance_to_the_photos(tmp_path: Path):
    crops = _crops(3000)
    assert run_training(load_gan_config(["mnist-cpu"], SETTINGS), ArrayPictures(crops), tmp_path, machine=Machine())
    first, last = sorted((tmp_path / "checkpoints").iterdir())
    reference = _enlarged(torch.from_numpy(crops[:1024]))
    assert _distance(last, reference) < 0.5 * _distance(first, reference)


def _crops(count: int, side: int = 8) -> np.ndarray:
    """Return squares of 32 and 64 pixels from everywhere in four photos, shrunk by means."""
    rng = np.random.default_rng(0)
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    crops = np.empty((count, 3, side, side), dtype=np.uint8)
    for index, crop in enumerate(crops):
        photo, block = photos[index % len(photos)], int(rng.choice([4, 8]))
        top, left = (int(rng.integers(0, length - side * block + 1)) for length in photo.shape[:2])
        square = photo[top : top + side * block, left : left + side * block].reshape(side, block, side, block, 3)
        crop[...] = square.mean(axis=(1, 3)).round().transpose(2, 0, 1)
    return crops


def _enlarged(images: torch.Tensor) -> torch.Tensor:
    """Return pictures of 16 pixels, the smallest that the distance is defined for."""
    times = 16 // images.shape[-1]
    return images.repeat_interleave(times, 2).repeat_interleave(times, 3)


def _distance(checkpoint: Path, reference: torch.Tensor) -> float:
    snapshot = load_snapshot(checkpoint)
    latents = latents_of(range(1024), snapshot.generator.shape.latent)
    images = generate(snapshot.generator, latents, level=snapshot.level, fade=snapshot.fade)
    return metrics.swd(reference=reference, generated=_enlarged(images)).mean
