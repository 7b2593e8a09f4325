"""What every feature extractor offers, and how it says that its weights cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32, UInt8

__all__ = ["Embedding", "FeatureExtractor", "MissingWeights", "WeightsError"]


class MissingWeights(Exception):
    """The weights, or the package that ships them, are not on this machine; the message says how to get them."""


class WeightsError(ValueError):
    """A weights file is not what it should be; the message names the file and the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What a network makes of n pictures."""

    features: Float32[np.ndarray, "n d"]
    """One row for each picture: the network's last layer before the classifier, averaged over the picture."""
    logits: Float32[np.ndarray, "n c"] | None
    """Class scores before the softmax, for the inception score; None where the network has no classifier."""


class FeatureExtractor(Protocol):
    """A network with its weights and its own preparation of pictures (size, range, resampling)."""

    @property
    def name(self) -> str:
        """Such as "efficientnet-lite0"; belongs beside every number computed with it."""
        ...

    @property
    def width(self) -> int:
        """Length d of a feature row."""
        ...

    @property
    def sha256(self) -> str:
        """Of the weights file; part of a cached statistic's identity."""
        ...

    def embed(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Embedding:
        """Return features and logits of pictures of any one size; row i depends on picture i alone."""
        ...
