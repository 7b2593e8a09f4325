"""Terms of a step that few trainings use: R1 and R2, and the generator's guessed labels."""

import pytest
import torch
from torch.nn import functional

from gan.config import LossConfig
from gan.losses import gradient_norms
from gan.steps import Part, Steps
from gan.zoo import Shape
from gan.zoo.progan import ProGanDiscriminator, ProGanGenerator
from hqdata.training.machine import Machine

CPU = Machine(device="cpu", precision="float32")
SHAPE = Shape(resolution=8, latent=8, most_maps=8, map_budget=32, labels=3)


@pytest.mark.parametrize(("penalty", "share_of_r2"), [("r1", 0.0), ("r1+r2", 1.0)])
def test_r1_is_at_real_pictures_and_r2_at_generated_ones(penalty, share_of_r2):
    generator, discriminator, part = _networks_and_part()
    terms = Steps(generator, discriminator, LossConfig(penalty=penalty, weight=4.0), machine=CPU).discriminator(part)
    with torch.no_grad():
        generated = generator(part.latents, part.labels)
    real, fake = (
        gradient_norms(lambda some: discriminator(some), images).detach().square().mean()
        for images in (part.real, generated)
    )
    assert float(real - fake) != pytest.approx(0.0, abs=1e-4)
    assert float(terms["penalty"]) == pytest.approx(float(2 * (real + share_of_r2 * fake)), rel=1e-5)


def test_the_generator_is_told_how_well_its_labels_are_guessed():
    generator, discriminator, part = _networks_and_part()
    terms = Steps(generator, discriminator, LossConfig(label_weight=2.5), machine=CPU).generator(part)
    assert part.labels is not None
    with torch.no_grad():
        logits = discriminator.judge(generator(part.latents, part.labels))[1]
    guessed = functional.cross_entropy(logits, part.labels.argmax(1))
    assert float(terms["generator/labels"]) == pytest.approx(2.5 * float(guessed), rel=1e-5)


def _networks_and_part() -> tuple[ProGanGenerator, ProGanDiscriminator, Part]:
    """Return networks and what they see; real pictures have other labels than generated ones."""
    torch.manual_seed(0)
    labels = torch.eye(3)[torch.arange(8) % 3]
    part = Part(
        latents=torch.randn(8, 8),
        labels=labels,
        real=torch.rand(8, 3, 8, 8) * 2 - 1,
        real_labels=labels.roll(1, 0),
        shares=torch.rand(8),
        minibatch=8,
        level=3,
        fade=1.0,
    )
    return ProGanGenerator(SHAPE), ProGanDiscriminator(SHAPE), part
