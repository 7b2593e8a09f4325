"""How the JPEG-artefact remover learns: what one step of `hqdata train-restorer` does.

Each step draws its patches from a generator seeded by the seed and the images shown so far, so a resumed run sees the
same patches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from hqdata.restore.apply import DEFAULT
from hqdata.restore.degrade import BORDER, add_grain, draw_jpeg
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.restore.red import RedNet
from hqdata.training.attributions import write_attributions
from hqdata.training.checkpoint import Average
from hqdata.training.loop import run_training
from hqdata.training.machine import Machine
from hqdata.training.patches import PhotoPool, draw_pairs
from hqdata.training.samples import SHEET_PATCHES, run_averaged, sheet, sheet_generator
from hqdata.training.schedule import cosine_rate
from hqdata.training.weights import begin_from, prepare_torch, write_network
from hqdata.weights import Network

__all__ = ["NETWORKS", "Settings", "relative_error", "relative_square", "train"]

NETWORKS: dict[str, Callable[[], nn.Module]] = {DEFAULT: SymmetricAutoencoder, "dejpeg-large": RedNet}
"""What can be trained, by the name of the weights."""

GRAIN_SHARE = 0.4
"""Photos made smaller have no grain; without this the network takes a sharp photo's own grain for artefacts."""
LEAST_DAMAGE = 4.0 / 255
"""Two grey levels in [-1, 1]; see `relative_error`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the outcome of a run, beside the photos."""

    images: int = 100_000
    """Patches shown in total."""
    batch: int = 16
    patch: int = 64
    """Side of a patch in pixels, even."""
    rate: float = 1.5e-3
    """Adam's highest learning rate."""
    early_images: int = 20_000
    """How many of them, at the beginning of a run from random weights, count by `relative_square`."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        if self.images < 1 or self.batch < 1 or self.patch < 8 or self.patch % 2:
            raise ValueError(
                "images and batch must be positive and patch even and at least 8,"
                f" got {self.images}, {self.batch} and {self.patch}"
            )


def train(
    photos: Path,
    run: Path,
    settings: Settings,
    *,
    network: str = DEFAULT,
    start: Network | None = None,
    machine: Machine | None = None,
) -> nn.Module:
    """Train, saving to `run` on the way, and return the averaged network; the same call resumes.

    Args:
        photos: folder of PNG files.
        run: folder for the state, `<network>.safetensors`, `runlog.jsonl`, `samples/` and `attributions.json`.
        settings: of the run; a resumed run must have the same.
        network: a name in `NETWORKS`.
        start: trained weights of that architecture to begin from, instead of random ones.
        machine: where to compute; the default is one CPU thread in float32.

    Raises:
        ValueError: when `run` was begun with other settings, or the photos are missing or too small.
        KeyboardInterrupt: after SIGINT or SIGTERM, with the state saved.
    """
    machine = machine or Machine()
    prepare_torch(settings.seed)
    pool = PhotoPool(photos, least_side=settings.patch + BORDER)
    trainee = _Training(pool, settings, network, start, machine)
    identity = {
        "network": network,
        **asdict(settings),
        **asdict(machine),
        "photos": write_attributions(photos, pool, run),
        "start": start.sha256 if start else None,
    }
    run_training(trainee, run, images=settings.images, identity=identity)
    trainee.network.load_state_dict(trainee.average.values)
    return trainee.network.eval()


def relative_error(
    restored: Float32[Tensor, "n 3 h w"],
    *,
    given: Float32[Tensor, "n 3 h w"],
    target: Float32[Tensor, "n 3 h w"],
) -> Float32[Tensor, ""]:
    """Return the mean absolute error of each picture in units of the damage that it had, plus two grey levels.

    Decibels count alike for all: with plain errors a ruined picture outweighs ten good ones, and the network learns
    nothing about leaving those alone.
    """
    damage = (given - target).abs().mean(dim=(1, 2, 3))
    errors = (restored - target).abs().mean(dim=(1, 2, 3))
    return (errors / (damage + LEAST_DAMAGE)).mean()


def relative_square(
    restored: Float32[Tensor, "n 3 h w"],
    *,
    given: Float32[Tensor, "n 3 h w"],
    target: Float32[Tensor, "n 3 h w"],
) -> Float32[Tensor, ""]:
    """Return the mean squared error of each picture in units of the damage that it had, plus two grey levels'.

    For the beginning: with `relative_error` a network of random weights stays the identity for good, since the smallest
    change to a clean picture costs more than it gains elsewhere. Squares of small changes cost nearly nothing.
    """
    damage = (given - target).square().mean(dim=(1, 2, 3))
    errors = (restored - target).square().mean(dim=(1, 2, 3))
    return (errors / (damage + LEAST_DAMAGE**2)).mean()


class _Training:
    """One network with its average and its optimizer."""

    def __init__(self, pool: PhotoPool, settings: Settings, name: str, start: Network | None, machine: Machine) -> None:
        self.pool, self.settings, self.name, self.machine = pool, settings, name, machine
        self.network = begin_from(start, NETWORKS[name], machine)
        self.early_images = 0 if start else settings.early_images
        self.average = Average(self.network)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=settings.rate, betas=(0.9, 0.99))
        self.networks: Mapping[str, nn.Module | Average] = {"network": self.network, "average": self.average}
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {"adam": self.adam}

    def step(self, images: int) -> tuple[int, Mapping[str, float]]:
        settings = self.settings
        rng = np.random.default_rng([settings.seed, images])
        target, given = self._draw(settings.batch, rng)
        rate = cosine_rate(images, settings.images, settings.rate)
        for group in self.adam.param_groups:
            group["lr"] = rate
        with self.machine.autocast():
            restored = self.network(given)
        measure = relative_square if images < self.early_images else relative_error
        loss = measure(restored.float(), given=given, target=target)
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
        self.adam.step()
        self.average.update(self.network, images + settings.batch, settings.batch)
        return settings.batch, {measure.__name__: float(loss.detach()), "rate": rate}

    def write_weights(self, run: Path) -> None:
        write_network(run, self.network, self.average.values, self.name)

    def sample_sheet(self) -> UInt8[np.ndarray, "h w 3"]:
        target, given = self._draw(SHEET_PATCHES, sheet_generator(self.settings.seed))
        return sheet(given=given, result=run_averaged(self.network, self.average, given), target=target)

    def _draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[Float32[Tensor, "n 3 h w"], Float32[Tensor, "n 3 h w"]]:
        target, given = draw_pairs(partial(_draw, self.pool, self.settings.patch), count, rng)
        return target.to(self.machine.device), given.to(self.machine.device)


def _draw(
    pool: PhotoPool, size: int, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """Return (clean, degraded); a share of the clean pictures has grain of its own, which the network must keep."""
    patch = pool.draw(size + BORDER, rng)
    if rng.random() < GRAIN_SHARE:
        patch = add_grain(patch, rng)
    return draw_jpeg(patch, rng)
