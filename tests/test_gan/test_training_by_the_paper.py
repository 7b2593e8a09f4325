"""A training is the paper's, step for step: which numbers meet which labels, in which order, at which rate."""

import numpy as np
import pytest
import torch
from oracles.progan_training import train
from small_gan import CPU, small_config, small_pictures

from gan.trainer import Trainer

STEPS = {1: 26, 2: 13}
"""So that either goes through both growths and both fades."""


@pytest.mark.parametrize("critic_steps", STEPS)
def test_a_training_is_that_of_the_paper_step_for_step(critic_steps: int):
    config = small_config(
        networks={"labels": 3},
        schedule={"rise_images": 30, "rate_at": {8: 0.002}},
        training={"critic_steps": critic_steps},
    )
    pictures = small_pictures(classes=3)
    trainer = Trainer(config, pictures, machine=CPU)
    images = pictures.batch(np.arange(len(pictures)), 4)
    wanted = train(
        config, images, pictures.labels, (trainer.generator, trainer.discriminator), steps=STEPS[critic_steps]
    )
    for _ in range(STEPS[critic_steps]):
        trainer.step()
    trainer.close()
    for got, network in zip((trainer.generator, trainer.discriminator, trainer.average), wanted, strict=True):
        pairs = zip(got.parameters(), network.parameters(), strict=True)
        away = torch.cat([(value - exact).detach().abs().flatten() for value, exact in pairs])
        assert float(away.mean()) < 1e-6  # float32 against float64; a step moves a weight by 1e-3
        assert float((away > 1e-4).double().mean()) < 1e-3  # where a gradient is nearly 0, Adam's step has its sign
