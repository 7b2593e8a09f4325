"""What generator and discriminator are trained to lessen; every term is one number for each picture.

A loss is an adversarial term (`ADVERSARIAL`: wgan, lsgan, non-saturating, hinge, relativistic) with penalties on the
critic's gradient (`gradient_penalty`, `zero_centred_penalty`). Gradients with respect to pictures are taken with
`torch.func.grad`, which runs the same eagerly and compiled, and their norms are differentiable where they vanish.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

__all__ = [
    "ADVERSARIAL",
    "Adversarial",
    "Critic",
    "drift",
    "full_resolution_factor",
    "gradient_norms",
    "gradient_penalty",
    "hinge_critic",
    "label_loss",
    "least_squares_critic",
    "least_squares_generator",
    "logistic_critic",
    "mixtures",
    "noise_strength",
    "non_saturating_generator",
    "relativistic_critic",
    "relativistic_generator",
    "smoothed_loss",
    "wasserstein_critic",
    "wasserstein_generator",
    "zero_centred_penalty",
]

Scores: TypeAlias = "Float[Tensor, ' n']"
Critic: TypeAlias = "Callable[[Float[Tensor, 'n c h w']], Scores]"

TINY = 1e-20
"""Added to a squared norm, so that its root has a gradient at 0; invisible beside any gradient in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversarial:
    """The two sides of a game; each takes the scores of real and of generated pictures, in this order."""

    discriminator: Callable[[Scores, Scores], Scores]
    """What the discriminator is to lessen, one number for each pair."""
    generator: Callable[[Scores, Scores], Scores]
    """What the generator is to lessen; only a relativistic one looks at the real scores."""
    generator_needs_reference: bool = False
    """Whether real pictures must be scored for the generator's step."""


def wasserstein_critic(reference: Scores, generated: Scores) -> Scores:
    """Arjovsky et al. 2017: D(generated) - D(reference)."""
    return generated - reference


def wasserstein_generator(reference: Scores, generated: Scores) -> Scores:
    """Arjovsky et al. 2017: -D(generated)."""
    return -generated


def least_squares_critic(reference: Scores, generated: Scores) -> Scores:
    """Mao et al. 2017 (equation 9), targets 1 for real and 0 for generated, each with their text's factor of 1/2."""
    return 0.5 * (reference - 1).square() + 0.5 * generated.square()


def least_squares_generator(reference: Scores, generated: Scores) -> Scores:
    """Mao et al. 2017 (equation 9): target 1, with the factor of 1/2."""
    return 0.5 * (generated - 1).square()


def logistic_critic(reference: Scores, generated: Scores) -> Scores:
    """Goodfellow et al. 2014, equation 1: cross-entropy, on scores before the sigmoid."""
    return functional.softplus(generated) + functional.softplus(-reference)


def non_saturating_generator(reference: Scores, generated: Scores) -> Scores:
    """Goodfellow et al. 2014, section 3: -log D(generated) instead of log(1 - D(generated))."""
    return functional.softplus(-generated)


def hinge_critic(reference: Scores, generated: Scores) -> Scores:
    """Lim and Ye 2017; Miyato et al. 2018 (equation 16): no gradient from pictures beyond the margin of 1."""
    return functional.relu(1 + generated) + functional.relu(1 - reference)


def relativistic_critic(reference: Scores, generated: Scores) -> Scores:
    """Jolicoeur-Martineau 2018: each real picture is to look more real than the generated one it is paired with."""
    return functional.softplus(generated - reference)


def relativistic_generator(reference: Scores, generated: Scores) -> Scores:
    """Jolicoeur-Martineau 2018: each generated picture is to look more real than the real one it is paired with."""
    return functional.softplus(reference - generated)


ADVERSARIAL = {
    "wgan": Adversarial(discriminator=wasserstein_critic, generator=wasserstein_generator),
    "lsgan": Adversarial(discriminator=least_squares_critic, generator=least_squares_generator),
    "non-saturating": Adversarial(discriminator=logistic_critic, generator=non_saturating_generator),
    "hinge": Adversarial(discriminator=hinge_critic, generator=wasserstein_generator),
    "relativistic": Adversarial(
        discriminator=relativistic_critic, generator=relativistic_generator, generator_needs_reference=True
    ),
}
"""By the name that a configuration gives."""


def drift(reference: Scores, weight: float = 0.001) -> Scores:
    """Karras et al. 2018, appendix A.1: weight times D(reference)^2, so that critics do not wander off from zero."""
    return weight * reference.square()


def smoothed_loss(before: float, loss: float) -> float:
    """Return 0.9 before + 0.1 loss, with the loss held in 0..1: how hard the critic's game has lately been for it.

    >>> smoothed_loss(0.5, 7.0)
    0.55
    """
    return 0.9 * before + 0.1 * min(max(loss, 0.0), 1.0)


def noise_strength(smoothed: float, weight: float = 0.2) -> float:
    """Return weight max(smoothed - 1/2, 0)^2, the multiplicative noise on a critic's features.

    Karras et al. 2018, appendix B, for least squares; not in any of their published configurations.

    >>> noise_strength(0.4), round(noise_strength(1.0), 3)
    (0.0, 0.05)
    """
    return weight * max(smoothed - 0.5, 0.0) ** 2


def mixtures(
    reference: Float[Tensor, "n c h w"], generated: Float[Tensor, "n c h w"], shares: Float[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """Return reference + share (generated - reference), a point between each pair (Gulrajani et al. 2017)."""
    return torch.lerp(reference, generated.to(reference.dtype), shares.to(reference.dtype).reshape(-1, 1, 1, 1))


def gradient_norms(critic: Critic, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Return the Euclidean norm over c, h and w of each score's gradient by its picture, in float32 at least.

    Where a gradient is exactly zero the norm is 1e-10, and its own gradient is 0 rather than NaN.
    """
    return (_squared_norms(critic, images) + TINY).sqrt()


def gradient_penalty(
    critic: Critic, images: Float[Tensor, "n c h w"], *, weight: float = 10.0, target: float = 1.0, factor: float = 1.0
) -> Scores:
    """Return weight / target^2 (|gradient| factor - target)^2 (Gulrajani et al. 2017, equation 3; Karras et al. 2018).

    Args:
        critic: pictures to scores.
        images: where to look, see `mixtures`.
        weight: lambda.
        target: gamma; Karras et al. use 750 for CIFAR-10.
        factor: what the norm is multiplied with first; see `full_resolution_factor`.
    """
    return (weight / target**2) * (gradient_norms(critic, images) * factor - target).square()


def zero_centred_penalty(
    critic: Critic, images: Float[Tensor, "n c h w"], *, weight: float = 10.0, factor: float = 1.0
) -> Scores:
    """Return weight / 2 (|gradient| factor)^2 (Mescheder et al. 2018, equation 9).

    R1 at real pictures, R2 at generated ones.

    Args:
        critic: pictures to scores.
        images: where to look.
        weight: gamma.
        factor: what the norm is multiplied with first; see `full_resolution_factor`.
    """
    return 0.5 * weight * factor**2 * _squared_norms(critic, images)


def full_resolution_factor(level: int, last_level: int) -> float:
    """Return what makes a norm at this level's size the norm that the authors' code penalises: 2^(level - last).

    Their networks see every level's pictures enlarged to the last level's size. There a pixel of ours is s x s equal
    pixels, s = 2^(last - level), each with 1/s^2 of its gradient, so the norm is 1/s of ours. With this factor the
    critic's slope at 4 x 4 pixels may be s; without it, as in most other people's trainers, it is held at 1.
    """
    return 2.0 ** (level - last_level)


def label_loss(logits: Float[Tensor, "n k"], labels: Float[Tensor, "n k"]) -> Scores:
    """Return the cross-entropy of label logits (Odena et al. 2017, AC-GAN); 0 where a row of labels is all zero."""
    return -(labels * functional.log_softmax(logits, dim=1)).sum(dim=1)


def _squared_norms(critic: Critic, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    def total(pictures: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        return critic(pictures).sum()

    gradients = torch.func.grad(total)(images)
    return gradients.to(torch.promote_types(gradients.dtype, torch.float32)).square().sum(dim=(1, 2, 3))
