"""How the 4x generator learns: what one step of `hqdata train-upscaler` does.

First mean absolute error alone, then with a discriminator and a perceptual loss: a GAN from a cold start fails, and an
error-trained network is a choice of its own. A share of the inputs has been JPEG-compressed and restored, since that is
what the network sees in a build.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL.Image import Resampling
from torch import Tensor, nn
from torch.nn import functional

from hqdata.restore.degrade import add_noise, blur, jpeg, shrink
from hqdata.training.attributions import write_attributions
from hqdata.training.checkpoint import Average
from hqdata.training.loop import run_training
from hqdata.training.machine import Machine
from hqdata.training.patches import PhotoPool, draw_pairs
from hqdata.training.perceptual import PerceptualLoss
from hqdata.training.samples import SHEET_PATCHES, run_averaged, sheet, sheet_generator
from hqdata.training.schedule import cosine_rate
from hqdata.training.weights import begin_from, prepare_torch, write_network
from hqdata.upscale.adversary import Adversary, descend
from hqdata.upscale.apply import DEFAULT
from hqdata.upscale.losses import grid_loss
from hqdata.upscale.model import UpscaleGenerator
from hqdata.weights import Network

__all__ = ["L1_SUFFIX", "NETWORKS", "Settings", "train"]

NETWORKS: dict[str, Callable[[], UpscaleGenerator]] = {
    DEFAULT: UpscaleGenerator,
    "sr4-large": partial(UpscaleGenerator, 64, 16),
}
"""What can be trained, by the name of the weights."""
L1_SUFFIX = "-l1"
"""Ends the name of the weights that the adversarial stage begins from."""

JPEG_SHARE = 0.7
"""Of the pictures in the restored batches; the others are clean ones that the restorer has touched."""
LEAST_QUALITY = 30
BLUR_SHARE = 0.3
NOISE_SHARE = 0.3
"""Of the pictures in those batches."""
JUDGES_GRID = 8
RISE_SHARE = 0.15
"""Of the adversarial stage, until the discriminator has its full weight."""
FILTERS = (Resampling.BICUBIC, Resampling.BICUBIC, Resampling.LANCZOS, Resampling.BOX)
"""That the restored batches' pictures are reduced with, as other programs do."""

Pair = tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "k l 3"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the outcome of a run, beside the photos."""

    images: int = 100_000
    """Patches shown in total."""
    gan_images: int = 0
    """How many of them, at the end, are judged by the discriminator and by the perceptual loss too."""
    batch: int = 8
    patch: int = 96
    """Side of a target patch in pixels, a multiple of 8."""
    restored_share: float = 0.25
    """Of the batches; their pictures pass the restorer before the generator sees them, as in a build. The others are
    reduced without harm, by the filter that published scores rest on."""
    rate: float = 1.2e-3
    """Adam's highest learning rate before the adversarial stage."""
    gan_rate: float = 4e-4
    """Adam's highest learning rate for the generator in the adversarial stage."""
    discriminator_rate: float = 4e-4
    """Adam's constant one for the discriminator, higher than the generator's so that it does not fall behind."""
    error_weight: float = 1.0
    """Of the mean absolute error in [-1, 1], in the adversarial stage."""
    gan_weight: float = 0.001
    """Of the relativistic loss, about log 2; more than a little makes results worse in thousands of patches."""
    perceptual_weight: float = 0.03
    """Of the perceptual loss, some 2 in the beginning; 0 trains without it."""
    grid_weight: float = 1.0
    """Of the error that repeats from input pixel to input pixel, in the adversarial stage."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        if min(self.images, self.batch) < 1 or not 0 <= self.gan_images <= self.images:
            raise ValueError(
                "images and batch must be positive and gan_images at most images,"
                f" got {self.images}, {self.batch} and {self.gan_images}"
            )
        if self.gan_images and self.border >= self.images:
            raise ValueError(
                f"gan_images must be more than the last batch of {self.batch} takes: with {self.gan_images} of"
                f" {self.images} images the adversarial stage would not begin; give more, or 0"
            )
        if not 0 <= self.restored_share <= 1:
            raise ValueError(f"restored_share must be from 0 to 1, got {self.restored_share}")
        if self.patch < 32 or self.patch % 8:
            raise ValueError(f"patch must be a multiple of 8 and at least 32, got {self.patch}")

    @property
    def border(self) -> int:
        """Images shown when the adversarial stage begins: the end of an error-trained batch."""
        return -(-(self.images - self.gan_images) // self.batch) * self.batch


def train(
    photos: Path,
    run: Path,
    settings: Settings,
    *,
    restorer: Network,
    network: str = DEFAULT,
    start: Network | None = None,
    perceptual: tuple[PerceptualLoss, str] | None = None,
    machine: Machine | None = None,
) -> UpscaleGenerator:
    """Train, saving to `run` on the way, and return the averaged generator; the same call resumes.

    Args:
        photos: folder of PNG files.
        run: folder for the state, `<network>.safetensors`, `<network>-l1.safetensors` (what the adversarial stage began
            from), `runlog.jsonl`, `samples/` and `attributions.json`.
        settings: of the run; a resumed run must have the same.
        restorer: cleans the compressed inputs, as in a build; on the machine's device.
        network: a name in `NETWORKS`.
        start: a trained generator to begin from, instead of random weights.
        perceptual: the loss and the sha256 of its weights, as `load_perceptual` returns them.
        machine: where to compute; the default is one CPU thread in float32.

    Raises:
        ValueError: when `run` was begun with other settings, the photos are missing or too small, a GAN is to begin
            from random weights, or the perceptual loss is missing.
        KeyboardInterrupt: after SIGINT or SIGTERM, with the state saved.
    """
    machine = machine or Machine()
    _check_stages(settings, start, perceptual)
    prepare_torch(settings.seed)
    pool = PhotoPool(photos, least_side=settings.patch)
    generator = begin_from(start, NETWORKS[network], machine)
    adversary = Adversary(perceptual[0] if perceptual and settings.perceptual_weight else None, machine)
    trainee = _Training(pool, run, settings, name=network, generator=generator, adversary=adversary, restorer=restorer)
    identity = {
        "network": network,
        **asdict(settings),
        **asdict(machine),
        "photos": write_attributions(photos, pool, run),
        "restorer": restorer.sha256,
        "start": start.sha256 if start else None,
        "perceptual": perceptual[1] if perceptual and settings.gan_images and settings.perceptual_weight else None,
    }
    run_training(trainee, run, images=settings.images, identity=identity)
    generator.load_state_dict(trainee.average.values)
    return generator.eval()


def _check_stages(settings: Settings, start: Network | None, perceptual: object | None) -> None:
    if settings.gan_images and settings.border == 0 and start is None:
        raise ValueError(
            "a GAN learns nothing from random weights; make gan_images smaller than images,"
            " or give trained weights as start"
        )
    if settings.gan_images and settings.perceptual_weight and perceptual is None:
        raise ValueError("the perceptual loss is missing; load it, or set perceptual_weight to 0")


class _Training:
    """The generator with its average, its adversary and the network that cleans its inputs."""

    def __init__(
        self,
        pool: PhotoPool,
        run: Path,
        settings: Settings,
        *,
        name: str,
        generator: UpscaleGenerator,
        adversary: Adversary,
        restorer: Network,
    ) -> None:
        self.pool, self.run, self.settings, self.name = pool, run, settings, name
        self.generator, self.adversary, self.restorer = generator, adversary, restorer
        self.machine = adversary.machine
        self.average = Average(generator)
        self.adam = torch.optim.Adam(generator.parameters(), lr=settings.rate, betas=(0.9, 0.99))
        self.networks: Mapping[str, nn.Module | Average] = {
            "generator": generator,
            "discriminator": adversary.discriminator,
            "average": self.average,
        }
        self.optimizers: Mapping[str, torch.optim.Optimizer] = {
            "generator_adam": self.adam,
            "discriminator_adam": adversary.adam,
        }

    def step(self, images: int) -> tuple[int, Mapping[str, float]]:
        if images == self.settings.border:
            self._begin_adversarial_stage()
        take = self._error_step if images < self.settings.border else self._adversarial_step
        return self.settings.batch, take(images)

    def write_weights(self, run: Path) -> None:
        write_network(run, self.generator, self.average.values, self.name)

    def sample_sheet(self) -> UInt8[np.ndarray, "h w 3"]:
        rng = sheet_generator(self.settings.seed)
        target, given = self._draw(SHEET_PATCHES, rng)
        return sheet(given=given, result=run_averaged(self.generator, self.average, given), target=target)

    def _begin_adversarial_stage(self) -> None:
        """Go on from the average, with a fresh optimizer; a resumed run comes here again, to the same effect."""
        write_network(self.run, self.generator, self.average.values, self.name + L1_SUFFIX)
        self.generator.load_state_dict(self.average.values)
        self.adam.state.clear()

    def _error_step(self, images: int) -> dict[str, float]:
        settings = self.settings
        rate = cosine_rate(images, settings.images - settings.gan_images, settings.rate)
        generated, target = self._generate(images)
        error = functional.l1_loss(generated, target)
        descend(self.adam, error, rate)
        self.average.update(self.generator, images + settings.batch, settings.batch)
        return {"error": float(error.detach()), "rate": rate}

    def _adversarial_step(self, images: int) -> dict[str, float]:
        settings = self.settings
        shown = images - settings.border
        rate = cosine_rate(shown, settings.images - settings.border, settings.gan_rate)
        generated, target = self._generate(images)
        error = functional.l1_loss(generated, target)
        seen, wanted = _moved(generated, target, np.random.default_rng([settings.seed, images, 1]))
        terms = self.adversary.judge(generated=seen, target=wanted)
        terms["grid"] = grid_loss(generated=generated, target=target, scale=UpscaleGenerator.scale)
        loss = settings.error_weight * error + settings.grid_weight * terms["grid"]
        loss = loss + self._gan_weight(shown) * terms["gan"]
        if "perceptual" in terms:
            loss = loss + settings.perceptual_weight * terms["perceptual"]
        descend(self.adam, loss, rate)
        discriminator = self.adversary.learn(generated=seen, target=wanted, rate=settings.discriminator_rate)
        self.average.update(self.generator, shown + settings.batch, settings.batch)
        parts = {name: float(value.detach()) for name, value in terms.items()}
        return {"error": float(error.detach()), **parts, "discriminator": float(discriminator), "rate": rate}

    def _gan_weight(self, shown: int) -> float:
        """Return the discriminator's say, which grows over the first `RISE_SHARE` of the stage as it learns."""
        rise = RISE_SHARE * (self.settings.images - self.settings.border)
        return self.settings.gan_weight * min(1.0, shown / rise)

    def _generate(self, images: int) -> tuple[Float32[Tensor, "n 3 h w"], Float32[Tensor, "n 3 h w"]]:
        """Return (generated, target) of the batch that follows `images` shown."""
        rng = np.random.default_rng([self.settings.seed, images])
        target, given = self._draw(self.settings.batch, rng)
        with self.machine.autocast():
            generated = self.generator(given)
        return generated.float(), target

    def _draw(
        self, count: int, rng: np.random.Generator
    ) -> tuple[Float32[Tensor, "n 3 h w"], Float32[Tensor, "n 3 k l"]]:
        """Return (target, input); in a share of the batches the inputs are as the restorer leaves them."""
        is_restored = rng.random() < self.settings.restored_share
        draw = _draw_damaged if is_restored else _draw
        target, given = draw_pairs(partial(draw, self.pool, self.settings.patch), count, rng)
        target, given = target.to(self.machine.device), given.to(self.machine.device)
        if is_restored:
            with torch.no_grad(), self.machine.autocast():
                given = self.restorer.module(given).float()
        return target, given


def _moved(
    generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"], rng: np.random.Generator
) -> tuple[Float32[Tensor, "n 3 h-8 w-8"], Float32[Tensor, "n 3 h-8 w-8"]]:
    """Return the same cut of both, at a random place on the judges' grid of 8 pixels.

    Both judges halve the picture three times, in step with the generator's own grid of 4 x 4 output pixels. Moving them
    is meant to keep them from favouring a place on that grid.
    """
    top, left = (int(value) for value in rng.integers(0, JUDGES_GRID, 2))
    rows = slice(top, top + target.shape[2] - JUDGES_GRID)
    columns = slice(left, left + target.shape[3] - JUDGES_GRID)
    return generated[:, :, rows, columns], target[:, :, rows, columns]


def _draw(pool: PhotoPool, size: int, rng: np.random.Generator) -> Pair:
    """Return (target, small input)."""
    target = pool.draw_detailed(size, rng)
    return target, shrink(target, UpscaleGenerator.scale)


def _draw_damaged(pool: PhotoPool, size: int, rng: np.random.Generator) -> Pair:
    """Return (target, small input); a share of the inputs is blurred, noisy or compressed."""
    target = pool.draw_detailed(size, rng)
    softened = blur(target, float(rng.uniform(0.3, 1.5))) if rng.random() < BLUR_SHARE else target
    small = shrink(softened, UpscaleGenerator.scale, FILTERS[int(rng.integers(len(FILTERS)))])
    if rng.random() < NOISE_SHARE:
        small = add_noise(small, float(rng.uniform(0.5, 4.0)), rng)
    if rng.random() < JPEG_SHARE:
        small = jpeg(small, int(rng.integers(LEAST_QUALITY, 96)))
    return target, small
