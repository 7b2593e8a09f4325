"""A training from its first step to its last, over any number of interruptions: log, sheets, checkpoints, alarms."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import UInt8
from torch import Tensor

from gan.checkpoint import FOLDER, find_not_finite, latest_checkpoint, load_checkpoint, save_checkpoint
from gan.config import GanConfig, gan_config_from_dict
from gan.data import order
from gan.pictures import Pictures
from gan.processes import ALONE, Processes
from gan.sample import generate, grid_for, sheet
from gan.streams import stream
from gan.trainer import Trainer
from hqdata.atomic import write_bytes
from hqdata.png import encode_png
from hqdata.settings import ConfigError
from hqdata.training.identity import check_identity
from hqdata.training.lock import locked_folder
from hqdata.training.machine import Machine
from hqdata.training.runlog import RunLog
from hqdata.training.stopping import StopRequest

__all__ = ["Diverged", "Look", "run_training"]

MOST_ROLLBACKS = 3
"""To one checkpoint, before a training is given up."""
STEPS_PER_READING = {"cpu": 1, "cuda": 16}
"""Steps between two readings of the losses; reading makes a GPU wait."""
LEAST_SPREAD = 0.02
"""Generated pictures that differ less than this, as a share of what real ones do, are a collapse."""
SHEET_COUNT = 32

_LOGGER = logging.getLogger(__name__)


class Diverged(RuntimeError):
    """A training failed again and again from the same checkpoint; the message says how, and what may help."""


class Look(Protocol):
    """Something measured at every tick, such as SWD; called in the leading process alone."""

    def __call__(self, trainer: Trainer) -> Mapping[str, float]:
        """Return figures by name, for the log."""
        ...


def run_training(
    config: GanConfig,
    pictures: Pictures,
    run: Path,
    *,
    machine: Machine,
    processes: Processes = ALONE,
    looks: tuple[Look, ...] = (),
) -> bool:
    """Train until the schedule ends, from where the folder stands; return whether it has ended.

    SIGINT and SIGTERM end it after the step at hand, with a checkpoint; the same call goes on, bit for bit on the same
    device, precision and versions. A SIGINT after that ends it at once, with the last checkpoint.

    Args:
        config: of the training; a resumed one must have the same.
        pictures: real ones; likewise.
        run: folder of the training; created where missing.
        machine: device and precision.
        processes: which one this is; all share the folder.
        looks: what to measure at every tick.

    Raises:
        ConfigError: when another process trains in the folder.
        ValueError: when the folder holds another training, or a file of it is damaged.
        Diverged: when losses become NaN or the generator collapses, each time again after a roll-back.
    """
    trainer = Trainer(config, pictures, machine=machine, processes=processes)
    try:
        with locked_folder(run) if processes.leads else nullcontext(), StopRequest() as stop:
            if processes.leads:
                check_identity(run, _identity(trainer), saved=FOLDER, renewed=_renewed)
            return _Course(trainer, run, looks).follow(stop)
    finally:
        trainer.close()


def _identity(trainer: Trainer) -> dict[str, Any]:
    """Return everything that decides a training's outcome, as JSON holds it."""
    identity = {
        "config": trainer.config.to_dict(),
        "pictures": trainer.pictures.fingerprint,
        "machine": dataclasses.asdict(trainer.machine),
        "processes": trainer.processes.world,
    }
    return json.loads(json.dumps(identity))


def _renewed(noted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a training's identity with the settings that have come since, which were as their defaults are."""
    try:
        config = gan_config_from_dict(noted["config"]).to_dict()
    except (KeyError, TypeError, ConfigError):
        return noted  # what differs is told by name
    return {**noted, "config": json.loads(json.dumps(config))}


class _Course:
    """The way of one training through one process's life."""

    def __init__(self, trainer: Trainer, run: Path, looks: tuple[Look, ...]) -> None:
        self._trainer, self._run, self._looks = trainer, run, looks
        self._rollbacks = 0
        self._unread: list[dict[str, Tensor]] = []
        begun = trainer.processes.any(latest_checkpoint(run) is not None)  # all have looked before one writes
        folder = latest_checkpoint(run) if begun else None
        self._log = self._open_log(load_checkpoint(trainer, folder) if folder else {})
        if folder:
            ended = trainer.images >= trainer.config.schedule.total_images
            _LOGGER.info("had ended after %d images" if ended else "going on after %d images", trainer.images)
        else:
            self._save()

    def follow(self, stop: StopRequest) -> bool:
        """Train to the end, or until asked to stop; return whether the end was reached."""
        trainer, settings = self._trainer, self._trainer.config.training
        total, most_unread = trainer.config.schedule.total_images, STEPS_PER_READING[trainer.machine.device]
        while trainer.images < total:
            before, tick_images = trainer.images, trainer.phase.tick_images
            self._unread.append(trainer.step())
            ended = trainer.images >= total
            ticks = _passes(tick_images, before, trainer.images)
            saves = _passes(settings.checkpoint_images, before, trainer.images)
            if not (ended or ticks or saves or len(self._unread) >= most_unread):
                continue
            stopping = trainer.processes.any(stop.requested)
            saves = saves or ended or stopping
            trouble = self._read_losses() or (self._tick() if ticks or ended else None)
            trouble = trouble or (self._weights_trouble() if saves else None)
            if trouble:
                self._roll_back(trouble)
                continue
            if saves:
                self._save()
            if stopping and not ended:
                return False
        return True

    def _read_losses(self) -> str | None:
        """Take the losses since the last reading into the log; return what is wrong with them."""
        readings, self._unread = self._unread, []
        names = list(readings[0])
        table = torch.stack([torch.stack([terms[name] for name in names]) for terms in readings])
        for row in self._trainer.processes.sum(table).tolist():  # each process has the terms of its own pictures
            bad = [name for name, value in zip(names, row, strict=True) if not math.isfinite(value)]
            if bad:
                return f"{bad[0]} became NaN or infinite"
            if self._log:
                self._log.add(dict(zip(names, row, strict=True)))
        return None

    def _tick(self) -> str | None:
        """Look at what the generator draws; return what is wrong with it."""
        trainer, trouble = self._trainer, None
        if self._log:
            phase = trainer.phase
            trainer.settle_average()
            images = self._drawn()
            path = self._run / "samples" / f"{trainer.images:012d}.png"
            height, width = trainer.config.networks.size(trainer.config.networks.last_level)
            columns, rows = grid_for(height, width)
            write_bytes(path, encode_png(sheet(images[: columns * rows], columns=columns, height=height)))
            spread = self._relative_spread(images)
            figures = {name: value for look in self._looks for name, value in look(trainer).items()}
            line = self._log.write(
                trainer.images, {"level": phase.level, "fade": round(phase.fade, 6), "spread": spread, **figures}
            )
            _LOGGER.info("%s", _told(line, trainer))
            if spread < LEAST_SPREAD:
                trouble = f"the generator collapsed: its pictures differ {spread:.1%} as much as real ones"
        return trouble or "the generator collapsed" if trainer.processes.any(trouble is not None) else None

    def _weights_trouble(self) -> str | None:
        """Return what no longer is a number, though the losses before the last step were."""
        trouble = find_not_finite(self._trainer)
        return trouble or "weights hold NaN" if self._trainer.processes.any(trouble is not None) else None

    def _drawn(self) -> UInt8[Tensor, "n c h w"]:
        trainer = self._trainer
        phase, seed = trainer.phase, trainer.config.training.seed
        latents = torch.randn(SHEET_COUNT, trainer.config.networks.latent, generator=stream(seed, "sheet", 0))
        labels = trainer.pictures.labels
        if labels is not None:
            labels = labels[torch.arange(SHEET_COUNT) % len(labels)]
        return generate(trainer.average, latents, labels, level=phase.level, fade=phase.fade)

    def _relative_spread(self, images: UInt8[Tensor, "n c h w"]) -> float:
        trainer = self._trainer
        count = min(SHEET_COUNT * 4, len(trainer.pictures))
        indices = order(len(trainer.pictures), seed=trainer.config.training.seed, first=0, size=count)
        real = trainer.pictures.batch(indices, trainer.phase.level)
        return _spread(images) / max(_spread(real), 1e-6)

    def _save(self) -> None:
        if self._trainer.processes.leads:
            progress = {"seconds": self._log.seconds, "unfinished": self._log.unfinished} if self._log else {}
            keep = self._trainer.config.training.keep_checkpoints
            save_checkpoint(self._trainer, self._run, progress=progress, keep=keep)
        self._rollbacks = 0
        self._trainer.processes.any(False)  # nobody goes on before it is written

    def _roll_back(self, trouble: str) -> None:
        folder = latest_checkpoint(self._run)
        self._rollbacks += 1
        if folder is None or self._rollbacks > MOST_ROLLBACKS:
            raise Diverged(
                f"{self._run}: {trouble} at {self._trainer.images} images, {self._rollbacks} times from the same"
                " checkpoint; begin anew with lower rates, a larger penalty weight or a larger minibatch"
            )
        _LOGGER.warning("%s at %d images; going back to %s", trouble, self._trainer.images, folder.name)
        attempt = self._trainer.attempt + 1
        progress = load_checkpoint(self._trainer, folder)
        self._trainer.attempt = attempt
        self._log = self._open_log(progress)

    def _open_log(self, progress: Mapping[str, Any]) -> RunLog | None:
        if not self._trainer.processes.leads:
            return None
        return RunLog(
            self._run / "runlog.jsonl",
            images=self._trainer.images,
            seconds=progress.get("seconds", 0.0),
            unfinished=progress.get("unfinished"),
        )


def _spread(images: UInt8[Tensor, "n c h w"]) -> float:
    """Return how much pictures differ from each other, in levels: standard deviations over n, averaged."""
    return float(images.double().std(dim=0, correction=0).mean())


def _passes(interval: int, before: int, after: int) -> bool:
    return before // interval < after // interval


def _told(line: Mapping[str, float], trainer: Trainer) -> str:
    """Return a log line for people: where the training is, how fast, and how long it will take at this speed."""
    rate = line["images_per_second"]
    left = max(0, trainer.config.schedule.total_images - trainer.images)  # the last minibatch may pass the end
    phase = trainer.phase
    place = f"{1 << phase.level} px" + (f", fade {phase.fade:.2f}" if phase.fade < 1 else "")
    known = {"images", "seconds", "images_per_second", "level", "fade"}
    rest = ", ".join(f"{name} {value:g}" for name, value in line.items() if name not in known)
    speed = f"{rate:.1f} images/s, {1000 / rate:.2f} s/kimg" if rate else ""
    return f"{trainer.images / 1000:.1f} kimg at {place}: {speed}, {_duration(left, rate)} left at this speed; {rest}"


def _duration(images: int, rate: float) -> str:
    """Return how long so many images take, such as "12 min" or "3.5 h"."""
    seconds = images / rate if rate else math.inf
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
