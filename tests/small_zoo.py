"""Small trainings of every architecture, each with a game that suits it."""

from typing import Any

import pytest
import torch
from small_gan import CPU, small_config, small_pictures
from torch import Tensor

from gan.config import GanConfig
from gan.steps import Part
from gan.trainer import Trainer
from gan.zoo import Discriminator, Generator, Shape, build_discriminator, build_generator

HINGE = {"adversarial": "hinge", "penalty": "none", "drift": 0.0}
GAMES: dict[str, dict[str, dict[str, Any]]] = {
    "progan": {},
    "dcgan": {"loss": {"adversarial": "non-saturating", "penalty": "none", "drift": 0.0}},
    "resnet": {"loss": HINGE},
    "selfmod": {"loss": HINGE, "training": {"critic_steps": 2}},
    "sagan": {"networks": {"attention": 8}, "loss": HINGE, "schedule": {"discriminator_pace": 4.0}},
    "style": {"loss": {"adversarial": "non-saturating", "penalty": "r1", "drift": 0.0}},
}
"""Sections beside those of `small_gan`, by architecture."""
STILL = ("dcgan", "resnet", "selfmod", "sagan")
"""Architectures that do not grow; their generators have batch statistics."""


def zoo_config(name: str, **sections: dict) -> GanConfig:
    """Return the small training's config for an architecture, changed section by section."""
    game = GAMES[name]
    parts = {part: {**game.get(part, {}), **sections.get(part, {})} for part in game.keys() | sections.keys()}
    return small_config(**{**parts, "networks": {"architecture": name, **parts.get("networks", {})}})


def zoo_trainer(name: str, **sections: dict) -> Trainer:
    """Return a fresh trainer of an architecture, with labelled pictures where the networks have labels."""
    config = zoo_config(name, **sections)
    return Trainer(config, small_pictures(classes=config.networks.labels), machine=CPU)


def zoo_pair(name: str, **sizes: Any) -> tuple[Generator, Discriminator]:
    """Return networks of an architecture, the same at every call, of which no part does nothing any more."""
    torch.manual_seed(0)
    shape: Shape = zoo_config(name, networks=sizes, loss={"penalty": "none"}).networks
    pair = build_generator(name, shape=shape), build_discriminator(name, shape=shape)
    with torch.no_grad():
        for value in (*pair[0].parameters(), *pair[1].parameters()):
            value.add_(0.1 * torch.randn_like(value))
    return pair


def zoo_part(*, count: int = 8, labels: int = 0) -> Part:
    """Return what a step of networks of 16 px sees."""
    rng = torch.Generator().manual_seed(1)
    named = torch.eye(labels)[torch.arange(count) % labels] if labels else None
    return Part(
        latents=torch.randn(count, 8, generator=rng),
        labels=named,
        real=torch.rand(count, 3, 16, 16, generator=rng) * 2 - 1,
        real_labels=named,
        shares=torch.rand(count, generator=rng),
        minibatch=count,
        level=4,
        fade=1.0,
    )


def values_of(terms: dict[str, Tensor]) -> dict[str, float]:
    """Return a step's terms as numbers."""
    return {name: float(value) for name, value in terms.items()}


def limit_memory(monkeypatch: pytest.MonkeyPatch, trainer: Trainer, most: int) -> None:
    """Let both steps run out of memory for more than so many pictures, when all else is done."""
    for name in ("discriminator", "generator"):
        honest = getattr(trainer._steps, name)

        def limited(part: Part, honest: Any = honest) -> dict[str, Tensor]:
            terms = honest(part)
            if len(part.latents) > most:
                raise torch.OutOfMemoryError("injected")
            return terms

        monkeypatch.setattr(trainer._steps, name, limited)
