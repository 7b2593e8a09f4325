"""Train the 4x generator: `python -m hqdata.upscale.train PHOTOS RUN`; the same command resumes.

First mean absolute error alone, then with an adversarial part of small weight: a GAN from a cold start fails, and an
error-trained network is a choice of its own. A share of the inputs has been JPEG-compressed and restored, since that is
what the network sees in a build.
"""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL.Image import Resampling
from torch import Tensor
from torch.nn import functional

from hqdata.restore.apply import load as load_restorer
from hqdata.restore.checkpoint import Average, load_state, save_state
from hqdata.restore.degrade import add_noise, blur, jpeg, shrink
from hqdata.restore.patches import PhotoPool, draw_pairs
from hqdata.restore.train import cosine_rate
from hqdata.upscale.apply import DEFAULT, load
from hqdata.upscale.losses import discriminator_loss, generator_loss
from hqdata.upscale.model import PatchDiscriminator, UpscaleGenerator
from hqdata.weights import Network, save_network

__all__ = ["Settings", "train"]

LOG_IMAGES = 1600
SAVE_IMAGES = 3200
RESTORED_SHARE = 0.5
"""Of the batches; their pictures pass the restorer before the generator sees them."""
JPEG_SHARE = 0.7
"""Of the pictures in those batches; the others are clean ones that the restorer has touched."""
LEAST_QUALITY = 30
BLUR_SHARE = 0.15
NOISE_SHARE = 0.15
FILTERS = (Resampling.BICUBIC,) * 6 + (Resampling.LANCZOS, Resampling.BOX)

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the outcome of a run."""

    images: int = 100_000
    """Patches shown in total."""
    gan_images: int = 10_000
    """How many of them, at the end, train against the discriminator too."""
    gan_weight: float = 0.003
    """Weight of the adversarial loss beside a mean absolute error in [-1, 1]."""
    batch: int = 8
    patch: int = 192
    """Side of a target patch in pixels."""
    rate: float = 1.5e-3
    """Adam's highest learning rate before the adversarial part."""
    gan_rate: float = 1e-4
    """Adam's highest learning rate in the adversarial part."""
    seed: int = 0


class _Players:
    """Both networks with their optimizers, and the network that cleans the inputs."""

    def __init__(self, settings: Settings, start: Network | None) -> None:
        torch.manual_seed(settings.seed)
        self.generator = UpscaleGenerator().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        if start is not None:
            self.generator.load_state_dict(start.module.state_dict())
        self.discriminator = PatchDiscriminator()
        self.average = Average(self.generator)
        self.optimizers = {
            "generator_adam": torch.optim.Adam(self.generator.parameters(), lr=settings.rate, betas=(0.9, 0.99)),
            "discriminator_adam": torch.optim.Adam(
                self.discriminator.parameters(), lr=settings.gan_rate, betas=(0.9, 0.99)
            ),
        }

    def load(self, run: Path) -> dict | None:
        networks = {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}
        return load_state(run, networks=networks, optimizers=self.optimizers)

    def save(self, run: Path, images: int, settings: Settings) -> None:
        save_state(
            run,
            progress={"images": images, "settings": asdict(settings)},
            networks={
                "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "average": self.average.values,
            },
            optimizers=self.optimizers,
        )


def train(
    photos: Path, run: Path, settings: Settings, restorer: Network, start: Network | None = None
) -> UpscaleGenerator:
    """Train, saving to `run` on the way, and return the averaged generator.

    Args:
        photos: folder of PNG files.
        run: folder for the state; created where missing.
        settings: of the run; a resumed run must have the same.
        restorer: cleans the compressed inputs, as in a build.
        start: a trained generator to begin from, instead of random weights.

    Raises:
        ValueError: when `run` was begun with other settings, or the photos are missing.
    """
    torch.set_num_threads(1)
    pool, players = PhotoPool(photos), _Players(settings, start)
    saved = players.load(run)
    if saved is not None and saved["settings"] != asdict(settings):
        raise ValueError(f"{run} was begun with {saved['settings']}, not {asdict(settings)}; use another folder")
    images = saved["images"] if saved else 0
    losses, begun, first = [], time.monotonic(), images
    while images < settings.images:
        losses.append(_step(players, pool, settings, images, restorer))
        images += settings.batch
        players.average.update(players.generator, images, settings.batch)
        if images % LOG_IMAGES == 0:
            speed = (images - first) / (time.monotonic() - begun)
            _LOGGER.info("%d images, %.1f images/s, error %.4f", images, speed, float(np.mean(losses)))
            losses.clear()
        if images % SAVE_IMAGES == 0 or images >= settings.images:
            players.save(run, images, settings)
    players.generator.load_state_dict(players.average.values)
    return players.generator.eval()


def _step(players: _Players, pool: PhotoPool, settings: Settings, images: int, restorer: Network) -> float:
    """Take one step and return its mean absolute error."""
    rng = np.random.default_rng([settings.seed, images])
    is_restored = rng.random() < RESTORED_SHARE
    jpeg_share = JPEG_SHARE if is_restored else 0.0
    target, given = draw_pairs(partial(_draw, pool, settings.patch, jpeg_share), settings.batch, rng)
    if is_restored:
        given = _restored(given, restorer)
    plain_images = settings.images - settings.gan_images
    is_gan = images >= plain_images
    for group in players.optimizers["generator_adam"].param_groups:
        group["lr"] = (
            cosine_rate(images - plain_images, settings.gan_images, settings.gan_rate)
            if is_gan
            else cosine_rate(images, plain_images, settings.rate)
        )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        generated = players.generator(given)
    generated = generated.float()
    error = functional.l1_loss(generated, target)
    loss = error + settings.gan_weight * _adversarial(players, generated, target) if is_gan else error
    _descend(players.optimizers["generator_adam"], loss, list(players.generator.parameters()))
    if is_gan:
        _train_discriminator(players, generated.detach(), target)
    return float(error.detach())


def _adversarial(
    players: _Players, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"]
) -> Float32[Tensor, ""]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, real = players.discriminator(generated), players.discriminator(target).detach()
    return generator_loss(reference=real.float(), generated=scores.float())


def _train_discriminator(
    players: _Players, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"]
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores, real = players.discriminator(generated), players.discriminator(target)
    loss = discriminator_loss(reference=real.float(), generated=scores.float())
    _descend(players.optimizers["discriminator_adam"], loss, list(players.discriminator.parameters()))


def _descend(optimizer: torch.optim.Optimizer, loss: Float32[Tensor, ""], parameters: list[Tensor]) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 0.5)
    optimizer.step()


@torch.no_grad()
def _restored(given: Float32[Tensor, "n 3 h w"], restorer: Network) -> Float32[Tensor, "n 3 h w"]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return restorer.module(given).float()


def _draw(
    pool: PhotoPool, size: int, jpeg_share: float, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "k l 3"]]:
    """Return (target, small input); a share of the inputs is blurred, noisy or compressed."""
    target = pool.draw(size, rng)
    softened = blur(target, float(rng.uniform(0.3, 1.5))) if rng.random() < BLUR_SHARE else target
    small = shrink(softened, UpscaleGenerator.scale, FILTERS[int(rng.integers(len(FILTERS)))])
    if rng.random() < NOISE_SHARE:
        small = add_noise(small, float(rng.uniform(0.5, 4.0)), rng)
    if rng.random() < jpeg_share:
        small = jpeg(small, int(rng.integers(LEAST_QUALITY, 96)))
    return target, small


def _main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = Settings()
    parser.add_argument("photos", type=Path, help="folder that `python -m hqdata.restore.photos` wrote")
    parser.add_argument("run", type=Path, help="folder for the state")
    parser.add_argument("--images", type=int, default=defaults.images, help="patches to show in total")
    parser.add_argument("--gan-images", type=int, default=defaults.gan_images, help="of them, in the adversarial part")
    parser.add_argument("--restorer", default="dejpeg-small", help="name or file of the network that cleans inputs")
    parser.add_argument("--rate", type=float, default=defaults.rate, help="Adam's highest learning rate before that")
    parser.add_argument("--start", help="name or file of weights to begin from")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    given = parser.parse_args()
    settings = Settings(images=given.images, gan_images=given.gan_images, rate=given.rate, seed=given.seed)
    start = load(given.start) if given.start else None
    network = train(given.photos, given.run, settings, load_restorer(given.restorer), start)
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
