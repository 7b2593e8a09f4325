"""The one training loop: steps, log lines, saved states, samples, and the way back after any interruption.

A step's random choices depend only on the seed and on the images shown so far, and a saved state holds all else, so a
run killed at any moment goes on bit for bit as if nothing had happened (on the same device, precision and versions).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from hqdata.atomic import write_bytes
from hqdata.png import encode_png
from hqdata.training.checkpoint import Average, load_state, save_state
from hqdata.training.identity import check_identity
from hqdata.training.runlog import RunLog
from hqdata.training.stopping import StopRequest

__all__ = ["Trainee", "run_training"]

LOG_IMAGES = 1600
SAVE_IMAGES = 3200
SHEET_IMAGES = 25_600

_LOGGER = logging.getLogger(__name__)


class Trainee(Protocol):
    """What a run trains, and what one step of it does."""

    networks: Mapping[str, nn.Module | Average]
    """Everything learned, by the name it is saved under."""
    optimizers: Mapping[str, torch.optim.Optimizer]

    def step(self, images: int) -> tuple[int, Mapping[str, float]]:
        """Take the step that follows `images` shown; return how many it showed, and the terms of its loss."""
        ...

    def write_weights(self, run: Path) -> None:
        """Write the averaged network as a weights file."""
        ...

    def sample_sheet(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return a few fixed patches: input, result, target in each row."""
        ...


def run_training(trainee: Trainee, run: Path, *, images: int, identity: Mapping[str, Any]) -> None:
    """Train until `images` have been shown, from where the run stands; the result lies in `run`.

    SIGINT and SIGTERM end it after the step at hand with a saved state.

    Args:
        trainee: freshly made; the saved state is loaded into it.
        run: folder of the run.
        images: to show in total.
        identity: everything that decides the outcome; see `check_identity`.

    Raises:
        ValueError: when the run was begun as another one, or the loss is no longer finite.
        KeyboardInterrupt: after a signal; the same command goes on.
    """
    check_identity(run, identity)
    saved = load_state(run, networks=trainee.networks, optimizers=trainee.optimizers) or {"images": 0, "seconds": 0.0}
    shown = saved["images"]
    if shown:
        _LOGGER.info("going on after %d of %d images", shown, images)
    log = RunLog(run / "runlog.jsonl", images=shown, seconds=saved["seconds"])
    with StopRequest() as stop:
        while shown < images:
            before = shown
            batch, terms = trainee.step(before)
            shown += batch
            log.add(terms)
            if _passes(LOG_IMAGES, before, shown):
                _report(log.write(shown))
            is_last = shown >= images or stop.requested
            if _passes(SAVE_IMAGES, before, shown) or is_last:
                _save(trainee, run, shown, log.seconds)
            if _passes(SHEET_IMAGES, before, shown) or is_last:
                write_bytes(run / "samples" / f"{shown:09d}.png", encode_png(trainee.sample_sheet()))
            if stop.requested and shown < images:
                raise KeyboardInterrupt
    trainee.write_weights(run)


def _report(line: Mapping[str, float]) -> None:
    terms = (f"{name} {value:g}" for name, value in line.items() if name not in ("images", "images_per_second"))
    _LOGGER.info("%d images, %.1f images/s, %s", line["images"], line["images_per_second"], ", ".join(terms))


def _save(trainee: Trainee, run: Path, images: int, seconds: float) -> None:
    states = {
        name: network.values if isinstance(network, Average) else network.state_dict()
        for name, network in trainee.networks.items()
    }
    progress = {"images": images, "seconds": round(seconds, 3)}
    save_state(run, progress=progress, networks=states, optimizers=trainee.optimizers)
    trainee.write_weights(run)


def _passes(interval: int, before: int, after: int) -> bool:
    return before // interval < after // interval
