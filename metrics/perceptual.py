"""How different two pictures look to an ImageNet network, compared place by place in its feature maps.

The construction of Zhang et al. 2018 ("The unreasonable effectiveness of deep features as a perceptual metric",
equation 1) with all weights 1, on a network of the caller's choice. Never call the results LPIPS: that is one fixed
network with learned weights. A distance is comparable only to others of the same extractor, so name it with them:
"perceptual distance (SqueezeNet 1.1)". Not every network will do: EfficientNet-lite0 finds faint noise as bad as heavy
blur (docs/decisions/0016-a-distance-that-orders-damage.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Float32, Float64, UInt8

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["StageExtractor", "perceptual_distance"]

TINY = 1e-10
"""Added to a feature vector's length before dividing, as in the authors' code."""


class StageExtractor(Protocol):
    """A network whose inner feature maps can be had at the picture's own size."""

    @property
    def name(self) -> str:
        """Such as "squeezenet1.1"; belongs beside every distance."""
        ...

    def stages(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Sequence[Float32[Tensor, "n c i j"]]:
        """Return the feature maps after each stage, finest first."""
        ...


def perceptual_distance(
    images: UInt8[np.ndarray, "n 3 h w"], reference: UInt8[np.ndarray, "n 3 h w"], *, extractor: StageExtractor
) -> Float64[np.ndarray, " n"]:
    """Return each picture's distance to its reference: squared differences of unit feature vectors.

    Averaged over a stage's places, summed over its channels and over the stages. Nothing is resized, so pictures of
    other sizes give other distances.

    Args:
        images: uint8 RGB to judge.
        reference: what they should look like, in the same order and of the same shape.
        extractor: such as `metrics.features.squeezenet.load()`.

    Returns:
        0 for equal pictures, at most 4 a stage; lower looks nearer; symmetric.

    Raises:
        TypeError: when a picture is not uint8.
        ValueError: when the shapes differ, or the pictures are too small for the extractor.
    """
    if images.shape != reference.shape:
        raise ValueError(f"images and reference must have the same shape, got {images.shape} and {reference.shape}")
    total = np.zeros(len(images))
    for ours, theirs in zip(extractor.stages(images), extractor.stages(reference), strict=True):
        squares = (_unit_vectors(ours) - _unit_vectors(theirs)).square().sum(dim=1)
        total += squares.mean(dim=(1, 2)).cpu().numpy()
    return total


def _unit_vectors(maps: Float32[Tensor, "n c h w"]) -> Float64[Tensor, "n c h w"]:
    wide = maps.double()
    return wide / (wide.square().sum(dim=1, keepdim=True).sqrt() + TINY)
