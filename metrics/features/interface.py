"""What every feature extractor offers, and how it says that its weights cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jaxtyping import Float32, UInt8

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.arrays import ArrayLike

__all__ = ["Embedding", "FeatureExtractor", "MissingWeights", "WeightsError"]


class MissingWeights(Exception):
    """The weights, or the package that ships them, are not on this machine; the message says how to get them."""


class WeightsError(ValueError):
    """A weights file is not what it should be; the message names the file and the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """What a network makes of n pictures; lies on the network's device."""

    features: Float32[Tensor, "n d"]
    """One row for each picture."""
    logits: Float32[Tensor, "n c"] | None
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
        """Of the weights; part of a cached statistic's identity."""
        ...

    @property
    def protocol(self) -> str:
        """All else that decides a row: resampling, normalisation, layer, ddof, precision; for people and for caches."""
        ...

    @property
    def distance_name(self) -> str:
        """What a Frechet distance over these rows is called: "FID" for the published Inception alone."""
        ...

    @property
    def ddof(self) -> int:
        """Subtracted from the count in the covariance's divisor by those whom the protocol reproduces: 1, or 0."""
        ...

    @property
    def device(self) -> str:
        """As torch names it; where rows come out."""
        ...

    def embed(self, images: UInt8[ArrayLike, "n 3 h w"]) -> Embedding:
        """Return features and logits of pictures of any one size; row i depends on picture i alone."""
        ...
