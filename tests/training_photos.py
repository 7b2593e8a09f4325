"""Small pictures to train on, and the smallest runs that still do everything."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hqdata.training.perceptual import FIRST, PerceptualLoss


def write_patterns(folder: Path, count: int = 2) -> Path:
    """Pictures made by integer arithmetic alone, so that every machine makes the same ones."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[0:300, 0:240]
    for number in range(count):
        planes = [rows * (3 + number) + columns * 5, rows * columns // 7, rows * rows // 9 + columns]
        Image.fromarray(np.stack([plane % 256 for plane in planes], -1).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def random_features(seed: int = 0) -> tuple[PerceptualLoss, str]:
    """A SqueezeNet of random weights with two channels where it has 16 to 64."""
    torch.manual_seed(seed)
    weights = {}

    def add(name: str, wide: int, narrow: int, side: int) -> None:
        weights[f"{name}.weight"] = torch.randn(wide, narrow, side, side) / (side * narrow**0.5)
        weights[f"{name}.bias"] = torch.zeros(wide)

    add(FIRST, 4, 3, 3)
    for number in range(2, 10):
        add(f"fire{number}.squeeze1x1", 2, 4, 1)
        add(f"fire{number}.expand1x1", 2, 2, 1)
        add(f"fire{number}.expand3x3", 2, 2, 3)
    return PerceptualLoss(weights), f"random {seed}"


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())
