"""The training itself: networks, optimisers and what they have seen; one call of `step` is one minibatch.

Everything random comes from `gan.streams`, so the state is complete with weights, optimiser moments and three numbers.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from gan.config import GanConfig
from gan.data import Feed, prepare
from gan.ema import decay_for, update_average
from gan.losses import noise_strength, smoothed_loss
from gan.modulation import has_batch_statistics, measure_statistics
from gan.pictures import Pictures
from gan.processes import ALONE, Processes, deal
from gan.schedule import Phase
from gan.spectral import FIRST_ITERATIONS, advance_norms
from gan.steps import Part, Steps
from gan.streams import stream
from gan.zoo.networks import Generator
from gan.zoo.registry import build_discriminator, build_generator
from hqdata.settings import ConfigError
from hqdata.training.machine import Machine

__all__ = ["Trainer", "check_pictures"]

Network = TypeVar("Network", bound=nn.Module)

MOST_PARTS = 64
"""A step is split no further when memory runs out."""
STATISTICS_COUNT = 64
"""Pictures in a pass that batch normalisations take statistics from."""
AVERAGE_PASSES = 8
"""Over which the averaged generator's statistics are taken."""

_LOGGER = logging.getLogger(__name__)


class Trainer:
    """Networks in training.

    Args:
        config: of the training.
        pictures: real ones, at least as large as the largest level.
        machine: device and precision.
        processes: which one this is; all must be given the same config and pictures.

    Raises:
        ConfigError: when the pictures cannot feed the networks, or the minibatches cannot be dealt to the processes.
    """

    def __init__(
        self, config: GanConfig, pictures: Pictures, *, machine: Machine, processes: Processes = ALONE
    ) -> None:
        check_pictures(config, pictures)
        config.check_minibatches(processes.world)
        self.config, self.pictures, self.machine, self.processes = config, pictures, machine, processes
        self.images, self.attempt = 0, 0
        """Real pictures shown, and how often the training was rolled back."""
        self.smoothed_loss = 0.0
        """Of the discriminator, where its features get noise; see `gan.losses.smoothed_loss`."""
        torch.manual_seed(config.training.seed)
        shape = config.networks
        self.generator = self._placed(build_generator(shape.architecture, shape=shape))
        self.discriminator = self._placed(build_discriminator(shape.architecture, shape=shape))
        self._measure_statistics(self.generator, passes=1)
        for network in (self.generator, self.discriminator):
            processes.spread([*network.parameters(), *network.buffers()])
        self.average: Generator = copy.deepcopy(self.generator).requires_grad_(False).eval()
        self.renew_optimisers(self.phase.resets)
        self._feed = Feed(pictures, seed=config.training.seed, mirror=config.training.mirror, device=machine.device)
        self._steps = Steps(
            self.generator, self.discriminator, config.loss, machine=machine, compiled=config.training.compile
        )
        self._parts = 1

    @property
    def phase(self) -> Phase:
        """What holds for the next step."""
        return self.config.phase(self.images)

    def step(self) -> dict[str, Tensor]:
        """Show one minibatch to both networks; return the terms of the losses, still on the device."""
        phase = self.phase
        if phase.resets != self.resets:
            self.renew_optimisers(phase.resets)
        _set_rate(self.generator_optimiser, phase.generator_rate)
        _set_rate(self.discriminator_optimiser, phase.discriminator_rate)
        terms: dict[str, Tensor] = {}
        for repeat in range(self.config.training.critic_steps):
            purpose = f"critic-{repeat}"
            whole = self._whole_part(phase, purpose)
            terms = self._descend(
                self._steps.discriminator, whole, self.discriminator, self.discriminator_optimiser, purpose
            )
            self._follow_loss(terms["score"])
            update_average(self.average, self.generator, self._decay(phase))
            self.images += phase.minibatch
        whole = self._generator_part(phase, whole)
        terms |= self._descend(self._steps.generator, whole, self.generator, self.generator_optimiser, "generator")
        return terms

    def close(self) -> None:
        """End the reading thread."""
        self._feed.close()

    def renew_optimisers(self, resets: int) -> None:
        """Forget both optimisers' moments; `resets` says how often that has been done by now."""
        self.generator_optimiser = self._adam(self.generator)
        self.discriminator_optimiser = self._adam(self.discriminator)
        self.resets = resets

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        training = self.config.training
        return torch.optim.Adam(
            network.parameters(),
            betas=(float(training.beta1), float(training.beta2)),
            eps=training.epsilon,
            fused=self.machine.device == "cuda",
        )

    def _decay(self, phase: Phase) -> float:
        return decay_for(phase.minibatch, self.config.training.average_half_life_images)

    def _whole_part(self, phase: Phase, purpose: str) -> Part:
        """Return this process's part of the next minibatch; the one after it is read meanwhile."""
        share = self.processes.share(phase.minibatch, self.config.networks.group)
        shown = self._feed.take(self.images, phase.minibatch, phase.level, share)
        following = self.config.phase(self.images + phase.minibatch)
        self._feed.read_ahead(
            self.images + phase.minibatch,
            following.minibatch,
            following.level,
            self.processes.share(following.minibatch, self.config.networks.group),
        )
        fade = torch.tensor(phase.fade, device=self.machine.device) if phase.fade < 1.0 else 1.0
        shares = torch.rand(phase.minibatch, generator=self._stream("shares"))
        return Part(
            latents=self._latents(phase, purpose, share),
            labels=shown.labels,
            real=prepare(shown.images, shown.mirrored, fade),
            real_labels=shown.labels,
            shares=shares[share].to(self.machine.device),
            minibatch=phase.minibatch,
            level=phase.level,
            fade=fade,
            noise=self._noise(phase, purpose, share),
        )

    def _generator_part(self, phase: Phase, seen: Part) -> Part:
        """Return what the generator is trained on: fresh latents, and labels drawn from the data set's."""
        share = self.processes.share(phase.minibatch, self.config.networks.group)
        labels = None
        if self.pictures.labels is not None and self.config.networks.labels:
            chosen = torch.randint(len(self.pictures), (phase.minibatch,), generator=self._stream("labels"))
            labels = self.pictures.labels[chosen[share]].to(self.machine.device)
        return Part(
            latents=self._latents(phase, "generator", share),
            labels=labels,
            real=seen.real,
            real_labels=seen.real_labels,
            shares=seen.shares,
            minibatch=phase.minibatch,
            level=phase.level,
            fade=seen.fade,
            noise=self._noise(phase, "generator", share),
        )

    def settle_average(self) -> None:
        """Give the averaged generator what goes with its own weights; called before it is looked at or saved.

        Until then it has the statistics and singular vectors of the generator in training, whose features are others.
        Doing it twice changes nothing, and the training does not depend on it.
        """
        update_average(self.average, self.generator, 1.0)  # begins with the generator's buffers
        advance_norms(self.average, iterations=FIRST_ITERATIONS)
        self._measure_statistics(self.average, passes=AVERAGE_PASSES)

    def _measure_statistics(self, network: Generator, *, passes: int) -> None:
        def draw(index: int) -> None:
            numbers = stream(self.config.training.seed, f"statistics-{index}", 0)
            latents = torch.randn(STATISTICS_COUNT, self.config.networks.latent, generator=numbers)
            labels = self.pictures.labels
            if labels is not None:
                chosen = torch.randint(len(labels), (STATISTICS_COUNT,), generator=numbers)
                labels = labels[chosen].to(self.machine.device)
            network(latents.to(self.machine.device), labels)

        measure_statistics(network, draw, passes=passes)

    def _seed_layers(self, purpose: str) -> None:
        """Seed what the generator itself draws, in each process anew."""
        if self.generator.draws:
            torch.manual_seed(self._stream(f"{purpose}-layers-{self.processes.rank}").initial_seed())

    def _latents(self, phase: Phase, purpose: str, share: Tensor) -> Tensor:
        drawn = torch.randn(phase.minibatch, self.config.networks.latent, generator=self._stream(purpose))
        return drawn[share].to(self.machine.device)

    def _noise(self, phase: Phase, purpose: str, share: Tensor) -> Tensor | None:
        strength = noise_strength(self.smoothed_loss, self.config.loss.noise)
        if strength == 0.0:
            return None
        width = sum(self.config.networks.noise_widths(phase.level))
        drawn = torch.randn(phase.minibatch, 3, width, generator=self._stream(f"{purpose}-noise"))
        return (drawn[share] * strength).to(self.machine.device)

    def _follow_loss(self, score: Tensor) -> None:
        """Take in the discriminator's loss, where that decides its noise."""
        if self.config.loss.noise:
            self.smoothed_loss = smoothed_loss(self.smoothed_loss, float(self.processes.sum(score.clone())))

    def _stream(self, purpose: str) -> torch.Generator:
        return stream(self.config.training.seed, purpose, self.images, self.attempt)

    def _descend(
        self,
        terms_of: Callable[[Part], dict[str, Tensor]],
        whole: Part,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        purpose: str,
    ) -> dict[str, Tensor]:
        """Take one optimiser step, in as many parts as memory asks for.

        The result is that of one part, to rounding; but batch normalisation takes the statistics of each part, and a
        generator that draws numbers draws others. What failed leaves no trace.
        """
        advance_norms(network)
        moving = list(self.generator.buffers())
        held = [buffer.clone() for buffer in moving]
        while True:
            optimiser.zero_grad(set_to_none=True)
            self._seed_layers(purpose)
            try:
                added = [terms_of(part) for part in self._split(whole)]
                break
            except torch.OutOfMemoryError:
                if not self._can_split_further(whole):
                    raise
            for buffer, value in zip(moving, held, strict=True):
                buffer.copy_(value)
        self.processes.average_gradients(network)
        optimiser.step()
        return {name: torch.stack([terms[name] for terms in added]).sum() for name in added[0]}

    def _split(self, whole: Part) -> list[Part]:
        dealt = deal(len(whole.latents), self.config.networks.group, self._parts_of(whole))
        return [whole] if len(dealt) == 1 else [whole.only(places) for places in dealt]

    def _can_split_further(self, whole: Part) -> bool:
        parts = self._parts_of(whole) * 2
        if parts > MOST_PARTS or self._groups_of(whole) % parts:
            return False
        torch.cuda.empty_cache()
        mixes = has_batch_statistics(self.generator) or has_batch_statistics(self.discriminator)
        _LOGGER.warning(
            "out of memory at level %d: each step now runs in %d parts%s",
            whole.level,
            parts,
            ", each with batch statistics of its own" if mixes else "",
        )
        self._parts = parts
        return True

    def _parts_of(self, whole: Part) -> int:
        """Return into how many parts a step is split: fewer than another level's where its groups are few."""
        return math.gcd(self._parts, self._groups_of(whole))

    def _groups_of(self, whole: Part) -> int:
        return len(whole.latents) // min(self.config.networks.group, len(whole.latents))

    def _placed(self, network: Network) -> Network:
        layout = torch.channels_last if self.machine.device == "cuda" else torch.contiguous_format
        return network.to(device=self.machine.device, memory_format=layout)  # pyright: ignore[reportCallIssue]


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def check_pictures(config: GanConfig, pictures: Pictures) -> None:
    """Refuse pictures that cannot feed the networks.

    Raises:
        ConfigError: saying which setting does not fit.
    """
    shape = config.networks
    if pictures.channels != shape.channels:
        raise ConfigError(
            f"the pictures have {pictures.channels} channels, the networks {shape.channels}; set networks.channels"
        )
    if pictures.last_level < shape.last_level:
        raise ConfigError(
            f"the pictures have {1 << pictures.last_level} px, the networks {shape.resolution}; set"
            f" networks.resolution to at most {1 << pictures.last_level}, or build a larger data set"
        )
    if len(pictures) < 1:
        raise ConfigError("there are no pictures to train on")
    for level in range(config.phase(0).level, shape.last_level + 1):
        _check_level(config, pictures, level)
    _check_labels(shape.labels, pictures.labels)


def _check_level(config: GanConfig, pictures: Pictures, level: int) -> None:
    first = pictures.batch(np.zeros(1, dtype=np.int64), level)[0]
    wanted = (config.networks.channels, *config.networks.size(level))
    if first.dtype != torch.uint8 or tuple(first.shape) != wanted:
        raise ConfigError(
            f"pictures of level {level} must be uint8 {wanted}, got {first.dtype} {tuple(first.shape)};"
            " set networks.base to their height and width at level 2"
        )


def _check_labels(columns: int, labels: Tensor | None) -> None:
    found = 0 if labels is None else labels.shape[1]
    if columns != found:
        raise ConfigError(f"the pictures have {found} labels, the networks {columns}; set networks.labels")
    if labels is not None and not bool(((labels >= 0) & (labels <= 1)).all()):
        row = int((~((labels >= 0) & (labels <= 1))).any(dim=1).nonzero()[0])
        raise ConfigError(f"labels must be rows of 0..1, got {labels[row].tolist()} for picture {row}")
