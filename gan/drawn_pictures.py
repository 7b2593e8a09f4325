"""A generator as a source of pictures to be measured; see `metrics.open_source`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from gan.checkpoint import FOLDER, load_snapshot
from gan.sample import generate

__all__ = ["drawing", "is_generator", "side_of"]


def is_generator(path: Path) -> bool:
    """Return whether the path looks like a training, one of its checkpoints, or a generator's file."""
    if path.is_dir():
        return (path / FOLDER).is_dir() or (path / "average.safetensors").is_file()
    return path.suffix == ".safetensors" and path.is_file()


def side_of(path: Path) -> int:
    """Return the side in pixels of the largest pictures that a generator draws as it stands.

    Raises:
        CheckpointError: when the file is no generator.
    """
    return 1 << load_snapshot(path).level


def drawing(path: Path, *, device: str) -> Callable[[int, int], UInt8[Tensor, "n 3 h w"]]:
    """Return a function of (count, seed) that draws with a training's averaged generator; equal seeds, equal pictures.

    Pictures are of the level and fade that the training had reached, grey ones as RGB, without alpha. Where the network
    has labels, each picture's is drawn with equal chances.

    Args:
        path: a training's folder, a checkpoint's, or a file.
        device: where to draw.

    Raises:
        CheckpointError: when there is no generator, or it is damaged.
    """
    snapshot = load_snapshot(path)
    generator = snapshot.generator.to(device)
    shape = generator.shape

    def draw(count: int, seed: int) -> UInt8[Tensor, "n 3 h w"]:
        source = torch.Generator().manual_seed(seed)
        latents = torch.randn(count, shape.latent, generator=source)
        labels = (
            torch.eye(shape.labels)[torch.randint(shape.labels, (count,), generator=source)] if shape.labels else None
        )
        images = generate(generator, latents, labels, level=snapshot.level, fade=snapshot.fade)
        return images.expand(-1, 3, -1, -1) if shape.channels == 1 else images[:, :3]

    return draw
