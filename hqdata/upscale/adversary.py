"""The adversarial stage's two judges of the generator: a discriminator that learns beside it, and a fixed network."""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor

from hqdata.training.machine import Machine
from hqdata.training.perceptual import PerceptualLoss
from hqdata.upscale.losses import discriminator_loss, generator_loss
from hqdata.upscale.model import PatchDiscriminator

__all__ = ["Adversary", "descend"]

LONGEST_STEP = 0.5
"""Gradients longer than this are shortened to it."""


class Adversary:
    """A discriminator with its optimizer, and the perceptual loss where there is one.

    Args:
        perceptual: None leaves the perceptual part out.
        machine: where to compute.
    """

    def __init__(self, perceptual: PerceptualLoss | None, machine: Machine) -> None:
        self.discriminator = PatchDiscriminator().to(machine.device)
        self.adam = torch.optim.Adam(self.discriminator.parameters(), betas=(0.9, 0.99))
        self._perceptual, self.machine = perceptual, machine

    def judge(
        self, *, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"]
    ) -> dict[str, Float32[Tensor, ""]]:
        """Return the parts of the generator's loss: "gan", and "perceptual" where there is one."""
        with self.machine.autocast():
            scores, real = self.discriminator(generated), self.discriminator(target).detach()
            terms = {"gan": generator_loss(reference=real.float(), generated=scores.float())}
            if self._perceptual is not None:
                terms["perceptual"] = self._perceptual(generated=generated, target=target)
        return terms

    def learn(
        self, *, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"], rate: float
    ) -> Float32[Tensor, ""]:
        """Take one step of the discriminator and return its loss."""
        with self.machine.autocast():
            scores, real = self.discriminator(generated.detach()), self.discriminator(target)
        loss = discriminator_loss(reference=real.float(), generated=scores.float())
        descend(self.adam, loss, rate)
        return loss.detach()


def descend(optimizer: torch.optim.Optimizer, loss: Float32[Tensor, ""], rate: float) -> None:
    """Take one step down the loss's gradient, not longer than `LONGEST_STEP` before the optimizer scales it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(
        [value for group in optimizer.param_groups for value in group["params"]], LONGEST_STEP
    )
    optimizer.step()
