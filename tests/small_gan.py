"""A training small enough for tests: two growth events and two fades in 26 steps of a blink each."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gan.config import GanConfig, gan_config_from_dict
from gan.pictures import ArrayPictures, one_hot
from gan.trainer import Trainer
from hqdata.training.machine import Machine

CPU = Machine(device="cpu", precision="float32")
MINIBATCH = 4
STEPS = 26
NETWORKS = {"resolution": 16, "latent": 8, "most_maps": 8, "map_budget": 32, "channels": 3}
SCHEDULE = {
    "minibatch": MINIBATCH,
    "stable_images": 20,
    "fade_images": 20,  # 4 px to 20 images, fade to 40, 8 px to 60, fade to 80, 16 px to the end
    "total_images": STEPS * MINIBATCH,
    "tick_images": 12,
}
TRAINING = {"seed": 5, "mirror": True, "average_half_life_images": 40.0, "checkpoint_images": 20, "keep_checkpoints": 3}


def small_config(**sections: dict) -> GanConfig:
    """Return the small training's config, changed section by section."""
    values = {"networks": NETWORKS, "schedule": SCHEDULE, "training": TRAINING, "loss": {}}
    return gan_config_from_dict({name: {**section, **sections.get(name, {})} for name, section in values.items()})


def small_pictures(count: int = 18, *, side: int = 16, channels: int = 3, classes: int = 0) -> ArrayPictures:
    """Return random pictures, fewer than the training shows, so that it goes through several epochs."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    labels = one_hot([index % classes for index in range(count)]) if classes else None
    return ArrayPictures(images, labels=labels)


def small_trainer(**sections: dict) -> Trainer:
    """Return a fresh trainer of the small training."""
    return Trainer(small_config(**sections), small_pictures(), machine=CPU)


def everything(trainer: Trainer) -> dict[str, Tensor]:
    """Return every number that the trainer has learned, by name: weights, average and both optimisers' moments."""
    networks = {"generator": trainer.generator, "discriminator": trainer.discriminator, "average": trainer.average}
    learned = {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}
    optimisers = {"generator": trainer.generator_optimiser, "discriminator": trainer.discriminator_optimiser}
    for name, optimiser in optimisers.items():
        for index, moments in optimiser.state_dict()["state"].items():
            learned |= {f"{name}_adam.{index}.{key}": torch.as_tensor(value) for key, value in moments.items()}
    return {name: value.detach().clone() for name, value in learned.items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Return the names that do not hold the same bits in both."""
    names = one.keys() | other.keys()
    return sorted(
        name for name in names if name not in one or name not in other or not torch.equal(one[name], other[name])
    )


def checkpoint_folders(run: Path) -> list[str]:
    """Return the names of a training's checkpoints, hidden left-overs included."""
    return sorted(path.name for path in (run / "checkpoints").iterdir())
