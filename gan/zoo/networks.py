"""What every generator and every discriminator of the zoo answers to, whatever is inside."""

from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gan.zoo.shape import Shape

__all__ = [
    "Discriminator",
    "Fade",
    "Generator",
    "check_labels",
    "check_latents",
    "check_pictures",
    "check_whole",
    "joined_labels",
]

Fade: TypeAlias = "float | Float[Tensor, '']"
"""Share of the new level, 0..1. As a tensor it is no constant of a compiled graph."""


class Generator(nn.Module):
    """Latents to pictures.

    Args:
        shape: sizes of the network.
    """

    truncates = False
    """Whether `forward` takes a `truncation` too, which trades variety for likeness."""
    draws = False
    """Whether it draws random numbers from torch's global generator while it trains."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(
        self,
        latents: Float[Tensor, "n d"],
        labels: Float[Tensor, "n k"] | None = None,
        level: int | None = None,
        fade: Fade = 1.0,
    ) -> Float[Tensor, "n c h w"]:
        """Return pictures of a level's own size, around -1..1.

        Args:
            latents: from the normal distribution.
            labels: one row for each latent where the network has labels.
            level: log2 of the nominal resolution; the last by default, and the only one of a network that does not
                grow.
            fade: 1 for the level's own pictures, 0 for those of the level before, enlarged; between them a mixture.
                Networks that do not grow take only 1.

        Raises:
            ValueError: when a shape is wrong or the level does not exist.
        """
        raise NotImplementedError


class Discriminator(nn.Module):
    """Pictures to scores, higher for those that look real.

    Args:
        shape: sizes of the network.
    """

    guesses_labels = False
    """Whether it guesses labels (AC-GAN, Odena et al. 2017); otherwise it is told them (projection)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape

    def forward(
        self,
        images: Float[Tensor, "n c h w"],
        labels: Float[Tensor, "n k"] | None = None,
        level: int | None = None,
        fade: Fade = 1.0,
    ) -> Float[Tensor, " n"]:
        """Return the score of each picture; see `judge` for the arguments."""
        return self.judge(images, labels, level=level, fade=fade)[0]

    def judge(
        self,
        images: Float[Tensor, "n c h w"],
        labels: Float[Tensor, "n k"] | None = None,
        *,
        level: int | None = None,
        fade: Fade = 1.0,
        noise: Float[Tensor, "n w"] | None = None,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        """Return scores and label logits, both float32.

        Args:
            images: of the level's own size, in -1..1; at fade 0 the level before sees their 2 x 2 means.
            labels: rows that the pictures claim to be of; a network that guesses labels does not look at them.
            level: log2 of the nominal resolution; the last by default.
            fade: share of the level's own block, as in the generator.
            noise: for `gan.layers.multiply_noise`, as many columns as `Shape.noise_widths` adds up to; None for none.

        Returns:
            Scores (n,) and logits (n, labels) before the softmax; the latter have no columns without labels, and where
            labels are told, not guessed.

        Raises:
            TypeError: when the pictures are not float.
            ValueError: when their size is not the level's, the level does not exist, or labels are missing.
        """
        raise NotImplementedError


def check_latents(latents: Float[Tensor, "n d"], shape: Shape) -> None:
    """Refuse latents of another length.

    Raises:
        ValueError: saying what was expected.
    """
    if latents.ndim != 2 or latents.shape[1] != shape.latent:
        raise ValueError(f"latents must have shape (n, {shape.latent}), got {tuple(latents.shape)}")


def check_labels(labels: Float[Tensor, "n k"] | None, count: int, shape: Shape) -> None:
    """Refuse labels that do not go with a network and with so many latents or pictures.

    Raises:
        ValueError: saying what was expected.
    """
    if shape.labels == 0:
        if labels is not None and labels.shape[-1] != 0:
            raise ValueError("this network was built without labels; leave them out")
    elif labels is None or labels.shape != (count, shape.labels):
        got = None if labels is None else tuple(labels.shape)
        raise ValueError(f"labels must have shape ({count}, {shape.labels}), one-hot rows, got {got}")


def joined_labels(
    latents: Float[Tensor, "n d"], labels: Float[Tensor, "n k"] | None, shape: Shape
) -> Float[Tensor, "n d+k"]:
    """Return latents with their labels behind them, where the network has labels.

    Raises:
        ValueError: when a shape is wrong.
    """
    check_latents(latents, shape)
    check_labels(labels, latents.shape[0], shape)
    if labels is None or not shape.labels:
        return latents
    return torch.cat([latents, labels.to(latents.dtype)], dim=1)


def check_pictures(images: Tensor, shape: Shape, level: int) -> None:
    """Refuse pictures that a discriminator cannot judge at a level.

    Raises:
        TypeError: when they are not float.
        ValueError: when their size is not the level's.
    """
    if not images.is_floating_point():
        raise TypeError(f"images must be float in -1..1, got {images.dtype}; gan.data turns uint8 into that")
    wanted = (shape.channels, *shape.size(level))
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ValueError(
            f"images of level {level} must have shape (n, {', '.join(map(str, wanted))}), got {tuple(images.shape)}"
        )


def check_whole(fade: Fade) -> None:
    """Refuse a fade to a network that does not grow.

    Raises:
        ValueError: unless the fade is 1.
    """
    if isinstance(fade, Tensor) or fade != 1.0:
        raise ValueError(f"this architecture does not grow, so fade must be 1, got {fade}")
