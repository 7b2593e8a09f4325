"""The relativistic average GAN loss: is a photo more real than the generated pictures are on average?

Jolicoeur-Martineau 2018, as ESRGAN (Wang et al. 2018, equations 1 and 2) uses it for super-resolution.
"""

from __future__ import annotations

from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

__all__ = ["discriminator_loss", "generator_loss"]


def discriminator_loss(
    *, reference: Float32[Tensor, "n 1 h w"], generated: Float32[Tensor, "n 1 h w"]
) -> Float32[Tensor, ""]:
    """Return the loss that is low when photos score above the generated pictures' mean, and these below the photos'."""
    return _relative(higher=reference, lower=generated)


def generator_loss(
    *, reference: Float32[Tensor, "n 1 h w"], generated: Float32[Tensor, "n 1 h w"]
) -> Float32[Tensor, ""]:
    """Return the loss that is low when generated pictures score above the photos' mean, and photos below theirs."""
    return _relative(higher=generated, lower=reference)


def _relative(*, higher: Float32[Tensor, "n 1 h w"], lower: Float32[Tensor, "n 1 h w"]) -> Float32[Tensor, ""]:
    above = functional.softplus(-(higher - lower.mean())).mean()
    below = functional.softplus(lower - higher.mean()).mean()
    return (above + below) / 2
