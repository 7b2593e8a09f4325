"""One step of each network: the terms of its loss on a part of a minibatch, and their gradients.

Each term is summed over its pictures and divided by the whole minibatch, so that parts and processes add up. The terms
of the discriminator are taken back one after the other, scores first and then the penalty, which halves the memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from gan.config import LossConfig
from gan.losses import (
    ADVERSARIAL,
    Critic,
    drift,
    full_resolution_factor,
    gradient_penalty,
    label_loss,
    mixtures,
    zero_centred_penalty,
)
from gan.zoo.networks import Discriminator, Fade, Generator
from hqdata.precision import computing_in
from hqdata.training.machine import Machine

__all__ = ["Part", "Steps"]

REAL, GENERATED, PENALTY = range(3)
"""Places in a part's noise."""
MOST_GRAPHS = 64
"""Compiled of each loss: nine levels, each with and without a fade, and anew when memory asks for smaller parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a step sees, on the device."""

    latents: Float32[Tensor, "b d"]
    labels: Float32[Tensor, "b k"] | None
    """Of the generated pictures."""
    real: Float[Tensor, "b c h w"]
    """-1..1; the generator's step looks at them only when the game is relativistic."""
    real_labels: Float32[Tensor, "b k"] | None
    shares: Float32[Tensor, " b"]
    """Where between a real and a generated picture the penalty looks, 0..1."""
    minibatch: int
    """Pictures of the whole minibatch."""
    level: int
    fade: Fade
    noise: Float32[Tensor, "b 3 w"] | None = None
    """On the discriminator's features when it sees real pictures, generated ones, and those of the penalty."""

    def only(self, places: Int64[Tensor, " p"]) -> Part:
        """Return some of the pictures, which remain part of the whole minibatch."""
        rows = {
            name: value if value is None else value[places.to(value.device)]
            for name, value in (
                ("latents", self.latents),
                ("labels", self.labels),
                ("real", self.real),
                ("real_labels", self.real_labels),
                ("shares", self.shares),
                ("noise", self.noise),
            )
        }
        return dataclasses.replace(self, **rows)


class Steps:
    """The two losses, compiled or not.

    Args:
        generator: to train.
        discriminator: to train.
        loss: the game.
        machine: device and precision.
        compiled: run the losses through torch.compile, one graph for each level and one more for its fade.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        loss: LossConfig,
        *,
        machine: Machine,
        compiled: bool = False,
    ) -> None:
        self._generator, self._discriminator, self._loss, self._machine = generator, discriminator, loss, machine
        self._game = ADVERSARIAL[loss.adversarial]
        wrap: Callable[..., Any] = _compiled if compiled else _as_it_is
        self._scores = wrap(self._score_terms)
        self._penalty = wrap(self._penalty_terms)
        self._answer = wrap(self._generator_terms)

    def discriminator(self, part: Part) -> dict[str, Tensor]:
        """Add a part's gradients to the discriminator's, and return the terms, for the log, on the device."""
        with torch.no_grad(), self._machine.autocast():
            generated = self._generator(part.latents, part.labels, part.level, part.fade).float()
        terms = self._descended("score", self._scores, part, generated)
        if self._loss.penalty != "none" and self._loss.weight:
            terms |= self._descended("penalty", self._penalty, part, generated)
        return terms

    def generator(self, part: Part) -> dict[str, Tensor]:
        """Add a part's gradients to the generator's, and return the terms."""
        self._discriminator.requires_grad_(False)
        try:
            return self._descended("generator", self._answer, part)
        finally:
            self._discriminator.requires_grad_(True)

    def _descended(self, name: str, terms_of: Callable[..., dict[str, Tensor]], *given: Any) -> dict[str, Tensor]:
        """Add the gradients of a term and its parts; return all terms without their graphs.

        The machine's precision is entered here, as compiled code cannot do it, and its exact algorithms hold for the
        way back too: a GPU would else choose others there, so that no two runs were equal.
        """
        with computing_in("float32", self._machine.device):
            with self._machine.autocast():
                terms = terms_of(*given)
            _total(terms, name).backward()
        return {name: value.detach() for name, value in terms.items()}

    def _judge(
        self, part: Part, images: Float[Tensor, "b c h w"], role: int, labels: Float32[Tensor, "b k"] | None
    ) -> tuple[Tensor, Tensor]:
        noise = None if part.noise is None else part.noise[:, role]
        return self._discriminator.judge(images, labels, level=part.level, fade=part.fade, noise=noise)

    def _score_terms(self, part: Part, generated: Float32[Tensor, "b c h w"]) -> dict[str, Tensor]:
        real, real_logits = self._judge(part, part.real, REAL, part.real_labels)
        fake, fake_logits = self._judge(part, generated, GENERATED, part.labels)
        each = {
            "score": self._game.discriminator(real, fake),
            "score/drift": drift(real, self._loss.drift),
            "real_score": real,
            "generated_score": fake,
        }
        if self._discriminator.guesses_labels and part.real_labels is not None and part.labels is not None:
            guesses = label_loss(real_logits, part.real_labels) + label_loss(fake_logits, part.labels)
            each["score/labels"] = self._loss.label_weight * guesses
        return _means(each, part.minibatch)

    def _penalty_terms(self, part: Part, generated: Float32[Tensor, "b c h w"]) -> dict[str, Tensor]:
        def critic(labels: Float32[Tensor, "b k"] | None) -> Critic:
            return lambda images: self._judge(part, images, PENALTY, labels)[0]

        loss, last = self._loss, self._discriminator.shape.last_level
        factor = full_resolution_factor(part.level, last) if loss.norm == "full" else 1.0
        if loss.penalty == "gradient":
            between = mixtures(part.real, generated, part.shares)
            each = gradient_penalty(critic(part.labels), between, weight=loss.weight, target=loss.target, factor=factor)
        else:
            each = zero_centred_penalty(critic(part.real_labels), part.real, weight=loss.weight, factor=factor)
            if loss.penalty == "r1+r2":
                each = each + zero_centred_penalty(critic(part.labels), generated, weight=loss.weight, factor=factor)
        return _means({"penalty": each}, part.minibatch)

    def _generator_terms(self, part: Part) -> dict[str, Tensor]:
        images = self._generator(part.latents, part.labels, part.level, part.fade)
        fake, logits = self._judge(part, images, GENERATED, part.labels)
        real = fake
        if self._game.generator_needs_reference:
            real = self._judge(part, part.real, REAL, part.real_labels)[0]
        each = {"generator": self._game.generator(real, fake)}
        if self._discriminator.guesses_labels and part.labels is not None:
            each["generator/labels"] = self._loss.label_weight * label_loss(logits, part.labels)
        return _means(each, part.minibatch)


def _means(each: Mapping[str, Float32[Tensor, " b"]], minibatch: int) -> dict[str, Tensor]:
    return {name: values.sum() / minibatch for name, values in each.items()}


def _total(terms: Mapping[str, Tensor], name: str) -> Tensor:
    """Return the sum of a term and its parts, which are called name/..."""
    total = terms[name]
    for key, value in terms.items():
        if key.startswith(f"{name}/"):
            total = total + value
    return total


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, fullgraph=True, dynamic=False, recompile_limit=MOST_GRAPHS)  # pyright: ignore[reportCallIssue]


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
