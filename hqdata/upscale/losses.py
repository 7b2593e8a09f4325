"""Losses of the adversarial stage beside the perceptual one.

The relativistic average GAN loss (Jolicoeur-Martineau 2018, as ESRGAN, Wang et al. 2018, equations 1 and 2, uses it for
super-resolution) asks whether a photo is more real than the generated pictures are on average. `grid_loss` keeps the
generator from weaving: where a photo has grain, any texture pleases a perceptual loss better than none, and without a
source of randomness the only texture at hand is one that repeats from input pixel to input pixel.
"""

from __future__ import annotations

from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

__all__ = ["discriminator_loss", "generator_loss", "grid_loss"]

GRID_WINDOW = 11
"""Input pixels along the square over which a pattern must repeat to count; detail of photos does not for so long."""


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


def grid_loss(
    *, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"], scale: int
) -> Float32[Tensor, ""]:
    """Return the mean absolute pattern that the error repeats in every square of `scale` x `scale` pixels.

    The error's mean at each of a square's places, over `GRID_WINDOW` squares either way, less the mean of all places.

    Args:
        generated: in [-1, 1], h and w multiples of `scale`.
        target: likewise.
        scale: of the generator, whose squares are what one input pixel becomes.
    """
    places = functional.pixel_unshuffle(generated - target, scale).unflatten(1, (3, scale**2))
    window = [min(GRID_WINDOW, side) for side in places.shape[3:]]
    means = functional.avg_pool2d(places.flatten(1, 2), window, stride=1).unflatten(1, (3, scale**2))
    return (means - means.mean(dim=2, keepdim=True)).abs().mean()


def _relative(*, higher: Float32[Tensor, "n 1 h w"], lower: Float32[Tensor, "n 1 h w"]) -> Float32[Tensor, ""]:
    above = functional.softplus(-(higher - lower.mean())).mean()
    below = functional.softplus(lower - higher.mean()).mean()
    return (above + below) / 2
