"""What is measured while a generator learns: distances to real pictures and the checkerboard, at every tick.

The averaged generator draws the same latents each time, at the level and fade where the training stands; real pictures
are those of that level. So a figure does not change at the moment of growth, when the generator only enlarges, but real
pictures gain detail then: compare figures of one level. No random number of the training is touched.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gan.checkerboard import has_grid, stride_peaks
from gan.data import order
from gan.layers import enlarge
from gan.sample import generate
from gan.streams import stream
from gan.trainer import Trainer
from hqdata.training.machine import Machine
from metrics.descriptors import PatchDescriptors, Role
from metrics.features import FeatureExtractor, MissingWeights, extractor
from metrics.frechet import fid
from metrics.sliced import patch_distance

__all__ = [
    "CheckerboardMeasure",
    "FrechetMeasure",
    "Measure",
    "PictureLook",
    "Sight",
    "SlicedMeasure",
    "usual_looks",
]

COUNT = 1024
"""Pictures of each side; a distance of so few is above that of many, so compare only equal counts."""
LEAST_SIDE = 16
"""Smaller pictures are enlarged to this for the sliced distance, whose coarsest level it is."""
TOGETHER = 64
"""Pictures sent to the device at once."""

Known = TypeVar("Known")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What measures look at."""

    generated: UInt8[Tensor, "n c h w"]
    """On the CPU, of the level's own size."""
    real: Callable[[], UInt8[Tensor, "n c h w"]]
    """Reads equally many real ones, always the same for a level."""
    level: int
    device: str
    """Where to work."""


class Measure(Protocol):
    """One idea of what is good."""

    name: str
    """Short, for the log."""

    def __call__(self, sight: Sight) -> Mapping[str, float]:
        """Return figures by name; none where the pictures are too small."""
        ...


class PictureLook:
    """Draws once at every tick and asks several measures; a `gan.training_run.Look` of one training.

    The figures are the measures', and the seconds that each took as NAME_seconds, drawing as drawing_seconds. At 1024
    px the pictures of both sides take 6 GB of memory while they are measured.

    Args:
        measures: to ask.
        count: pictures to draw, and real ones to compare with; fewer where the data set has fewer.
    """

    def __init__(self, *measures: Measure, count: int = COUNT) -> None:
        if count < 2:
            raise ValueError(f"count must be at least 2 pictures, got {count}")
        self._measures, self._count = measures, count

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Return the figures of the averaged generator as it stands."""
        began = time.perf_counter()
        sight = self._sight(trainer)
        figures = {"drawing_seconds": _since(began)}
        for measure in self._measures:
            began = time.perf_counter()
            figures |= measure(sight)
            figures[f"{measure.name}_seconds"] = _since(began)
        return figures

    def _sight(self, trainer: Trainer) -> Sight:
        phase, seed, pictures = trainer.phase, trainer.config.training.seed, trainer.pictures
        count = min(self._count, len(pictures))
        latents = torch.randn(count, trainer.config.networks.latent, generator=stream(seed, "look", 0))
        chosen = order(len(pictures), seed=seed, first=0, size=count)
        labels = None if pictures.labels is None else pictures.labels[torch.from_numpy(chosen)]
        return Sight(
            generated=generate(trainer.average, latents, labels, level=phase.level, fade=phase.fade),
            real=lambda: pictures.batch(chosen, phase.level),
            level=phase.level,
            device=trainer.machine.device,
        )


class SlicedMeasure:
    """ProGAN's sliced Wasserstein distance: swd_16, swd_32 ... for each scale of the pictures, and their mean, swd.

    A thousand times the distance, as the paper prints it (Karras et al. 2018, section 5). Pictures below 16 px are
    enlarged by repeating pixels, real ones too.

    Args:
        seed: of patches and directions.
    """

    name = "swd"

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._reference: _Latest[PatchDescriptors] = _Latest()

    def __call__(self, sight: Sight) -> dict[str, float]:
        """Return the distances."""
        reference = self._reference.of(sight.level, lambda: self._descriptors("reference", sight.real(), sight.device))
        generated = self._descriptors("generated", sight.generated, sight.device)
        result = patch_distance(reference=reference, generated=generated, seed=self._seed)
        return {"swd": result.mean, **{f"swd_{side}": value for side, value in result.levels.items()}}

    def _descriptors(self, role: Role, images: UInt8[Tensor, "n c h w"], device: str) -> PatchDescriptors:
        descriptors = PatchDescriptors(role, seed=self._seed, min_size=LEAST_SIDE)
        for some in images.split(TOGETHER):
            large = some.to(device)
            while min(large.shape[2:]) < LEAST_SIDE:
                large = enlarge(large)
            descriptors.update(_coloured(large))
        return descriptors


class FrechetMeasure:
    """Fréchet distance over a network's features: fd.

    Args:
        network: see `metrics.features.extractor`; without a file to find, efficientnet-lite0 needs the extra "offline".
    """

    name = "fd"

    def __init__(self, network: FeatureExtractor) -> None:
        self._network = network
        self._reference: _Latest[Float[Tensor, "n d"]] = _Latest()

    def __call__(self, sight: Sight) -> dict[str, float]:
        """Return the distance."""
        reference = self._reference.of(sight.level, lambda: self._features(sight.real()))
        return {"fd": fid(reference=reference, generated=self._features(sight.generated))}

    def _features(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return torch.cat([self._network.embed(_coloured(some)).features.cpu() for some in images.split(TOGETHER)])


class CheckerboardMeasure:
    """How much higher the peaks of a checkerboard are than in real pictures, in decibels: checkerboard.

    See `gan.checkerboard.stride_peaks`; none below 16 px.
    """

    name = "checkerboard"

    def __init__(self) -> None:
        self._reference: _Latest[float] = _Latest()

    def __call__(self, sight: Sight) -> dict[str, float]:
        """Return the difference."""
        if not has_grid(*sight.generated.shape[2:]):
            return {}
        reference = self._reference.of(sight.level, lambda: stride_peaks(sight.real()).nyquist)
        return {"checkerboard": stride_peaks(sight.generated).nyquist - reference}


def usual_looks(machine: Machine) -> tuple[PictureLook, ...]:
    """Return what every training logs: sliced distance and checkerboard; on a GPU with the extra "offline", FD too.

    On a processor FD would take a minute a tick; give `PictureLook` a `FrechetMeasure` to have it all the same.
    """
    measures: list[Measure] = [SlicedMeasure(), CheckerboardMeasure()]
    if machine.device != "cpu":
        with contextlib.suppress(MissingWeights):
            measures.append(FrechetMeasure(extractor("efficientnet-lite0", device=machine.device)))
    return (PictureLook(*measures),)


class _Latest(Generic[Known]):
    """The real pictures' side of the level at hand; a level that has been left hardly ever comes back."""

    def __init__(self) -> None:
        self._held: tuple[int, Known] | None = None

    def of(self, level: int, make: Callable[[], Known]) -> Known:
        if self._held is None or self._held[0] != level:
            self._held = None  # make room first
            self._held = level, make()
        return self._held[1]


def _coloured(images: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, "n 3 h w"]:
    """Return RGB: grey three times, alpha left out."""
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)
