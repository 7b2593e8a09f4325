"""Train the JPEG-artefact remover: `python -m hqdata.restore.train PHOTOS RUN`; the same command resumes.

One thread, seeded: each step draws its patches from a generator seeded by the seed and the images shown so far, so a
resumed run sees the same patches as an uninterrupted one.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from hqdata.restore.apply import DEFAULT, load
from hqdata.restore.checkpoint import Average, load_state, save_state
from hqdata.restore.degrade import BORDER, add_grain, draw_jpeg
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.restore.patches import PhotoPool, draw_pairs
from hqdata.weights import Network, save_network

__all__ = ["Settings", "cosine_rate", "train"]

GRAIN_SHARE = 0.4
"""Photos made smaller have no grain; without this the network takes a sharp photo's own grain for artefacts."""
LEAST_DAMAGE = 2.0 / 255
"""One grey level in [-1, 1]; see `relative_error`."""
LOG_IMAGES = 1600
SAVE_IMAGES = 3200

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the outcome of a run."""

    images: int = 100_000
    """Patches shown in total."""
    batch: int = 16
    patch: int = 64
    """Side of a patch in pixels."""
    rate: float = 1.5e-3
    """Adam's highest learning rate."""
    seed: int = 0


def train(photos: Path, run: Path, settings: Settings, start: Network | None = None) -> SymmetricAutoencoder:
    """Train, saving to `run` on the way, and return the averaged network.

    Args:
        photos: folder of PNG files.
        run: folder for the state; created where missing.
        settings: of the run; a resumed run must have the same.
        start: trained weights to begin from, instead of random ones.

    Raises:
        ValueError: when `run` was begun with other settings, or the photos are missing.
    """
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    pool = PhotoPool(photos)
    network = SymmetricAutoencoder().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if start is not None:
        network.load_state_dict(start.module.state_dict())
    average = Average(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.rate, betas=(0.9, 0.99))
    saved = load_state(run, networks={"network": network, "average": average}, optimizers={"adam": optimizer})
    if saved is not None and saved["settings"] != asdict(settings):
        raise ValueError(f"{run} was begun with {saved['settings']}, not {asdict(settings)}; use another folder")
    images = saved["images"] if saved else 0
    losses, begun, first = [], time.monotonic(), images
    while images < settings.images:
        losses.append(_step(network, optimizer, pool, settings, images))
        images += settings.batch
        average.update(network, images, settings.batch)
        if images % LOG_IMAGES == 0:
            speed = (images - first) / (time.monotonic() - begun)
            _LOGGER.info("%d images, %.1f images/s, error %.4f", images, speed, float(np.mean(losses)))
            losses.clear()
        if images % SAVE_IMAGES == 0 or images >= settings.images:
            save_state(
                run,
                progress={"images": images, "settings": asdict(settings)},
                networks={"network": network.state_dict(), "average": average.values},
                optimizers={"adam": optimizer},
            )
    network.load_state_dict(average.values)
    return network.eval()


def cosine_rate(images: int, settings_images: int, highest: float) -> float:
    """Return the learning rate after `images` of `settings_images`: a short rise, then half a cosine to 1 %."""
    share = images / settings_images
    rise = min(1.0, (share + 1e-4) / 0.01)
    return highest * rise * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share))))


def relative_error(
    restored: Float32[Tensor, "n 3 h w"],
    *,
    given: Float32[Tensor, "n 3 h w"],
    target: Float32[Tensor, "n 3 h w"],
) -> Float32[Tensor, ""]:
    """Return the mean absolute error of each picture in units of the damage that it had, plus one grey level.

    Decibels count alike for all: with plain errors a ruined picture outweighs ten good ones, and the network learns
    nothing about leaving those alone.
    """
    damage = (given - target).abs().mean(dim=(1, 2, 3))
    errors = (restored - target).abs().mean(dim=(1, 2, 3))
    return (errors / (damage + LEAST_DAMAGE)).mean()


def _step(
    network: SymmetricAutoencoder,
    optimizer: torch.optim.Optimizer,
    pool: PhotoPool,
    settings: Settings,
    images: int,
) -> float:
    """Take one step and return its loss."""
    rng = np.random.default_rng([settings.seed, images])
    target, given = draw_pairs(partial(_draw, pool, settings.patch), settings.batch, rng)
    for group in optimizer.param_groups:
        group["lr"] = cosine_rate(images, settings.images, settings.rate)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        restored = network(given)
    loss = relative_error(restored.float(), given=given, target=target)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
    optimizer.step()
    return float(loss.detach())


def _draw(
    pool: PhotoPool, size: int, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """Return (clean, degraded); a share of the clean pictures has grain of its own, which the network must keep."""
    patch = pool.draw(size + BORDER, rng)
    if rng.random() < GRAIN_SHARE:
        patch = add_grain(patch, rng)
    return draw_jpeg(patch, rng)


def _main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Settings()
    parser.add_argument("photos", type=Path, help="folder that `python -m hqdata.restore.photos` wrote")
    parser.add_argument("run", type=Path, help="folder for the state")
    parser.add_argument("--images", type=int, default=defaults.images, help="patches to show in total")
    parser.add_argument("--rate", type=float, default=defaults.rate, help="Adam's highest learning rate")
    parser.add_argument("--start", help="name or file of weights to begin from")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    given = parser.parse_args()
    settings = Settings(images=given.images, rate=given.rate, seed=given.seed)
    network = train(given.photos, given.run, settings, load(given.start) if given.start else None)
    save_network(
        given.run / f"{DEFAULT}.safetensors",
        network.state_dict(),
        name=DEFAULT,
        architecture=network.architecture,
        channels=network.channels,
        pairs=network.pairs,
    )


if __name__ == "__main__":
    _main()
