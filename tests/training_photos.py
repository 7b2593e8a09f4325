"""Small pictures to train on, and the smallest runs that still do everything."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hqdata.training.perceptual import LAYERS, PerceptualLoss


def write_patterns(folder: Path, count: int = 2) -> Path:
    """Pictures made by integer arithmetic alone, so that every machine makes the same ones."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[0:300, 0:240]
    for number in range(count):
        planes = [rows * (3 + number) + columns * 5, rows * columns // 7, rows * rows // 9 + columns]
        Image.fromarray(np.stack([plane % 256 for plane in planes], -1).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def random_features(seed: int = 0) -> tuple[PerceptualLoss, str]:
    """A VGG16 of random weights, with one to eight channels where it has 64 to 512."""
    torch.manual_seed(seed)
    weights, narrow = {}, 3
    for block, layers in LAYERS.items():
        for layer in range(1, layers + 1):
            wide = 2 ** (block - 1)
            weights[f"conv{block}_{layer}.weight"] = torch.randn(wide, narrow, 3, 3) / (3 * narrow**0.5)
            weights[f"conv{block}_{layer}.bias"] = torch.zeros(wide)
            narrow = wide
    return PerceptualLoss(weights), f"random {seed}"


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())
