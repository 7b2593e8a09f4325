"""A training on disk: one folder for each checkpoint, written whole or not at all, and read without pickle.

Layout (docs/formats.md): `RUN/checkpoints/<images, 12 digits>/` with generator, discriminator and average (the running
average, to sample from) and their optimisers' moments as safetensors, and `state.json`. Each network's file names its
architecture, level and fade in its header, so it is enough to draw pictures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save_file
from torch import Tensor, nn

from gan.config import shape_from_dict
from gan.trainer import Trainer
from gan.zoo.networks import Generator
from gan.zoo.registry import build_generator
from hqdata.atomic import atomic_path, sync, write_json
from hqdata.settings import ConfigError

__all__ = [
    "CheckpointError",
    "Snapshot",
    "find_not_finite",
    "generator_file",
    "latest_checkpoint",
    "load_checkpoint",
    "load_snapshot",
    "save_checkpoint",
    "save_generator",
]

FOLDER = "checkpoints"
STATE = "state.json"
FORMAT, VERSION = "progan-hq/checkpoint", 1
KEYS = ("images", "attempt", "resets", "smoothed_loss", "progress")
FILES = ("generator", "discriminator", "average", "generator_adam", "discriminator_adam")


class CheckpointError(ValueError):
    """A checkpoint is damaged or of something else; the message names the file and the cause."""


def save_checkpoint(trainer: Trainer, run: Path, *, progress: Mapping[str, Any], keep: int) -> Path:
    """Write a checkpoint of the training as it stands; return its folder.

    It appears under its name only when all of it is on the disk; a kill leaves a hidden folder that the next one
    removes. Older ones beyond `keep` are removed afterwards.

    Args:
        trainer: to save; its weights must be finite.
        run: folder of the training.
        progress: JSON values to get back from `load_checkpoint`, such as seconds.
        keep: checkpoints that stay, the newest.

    Raises:
        CheckpointError: when a weight is NaN or infinite; nothing is written.
        OSError: when the disk is full; earlier checkpoints stay.
    """
    trainer.settle_average()
    tensors = _tensors(trainer)
    bad = _not_finite(tensors)
    if bad:
        raise CheckpointError(f"{run}: {bad}, so the training is not saved")
    root = run / FOLDER
    name = f"{trainer.images:012d}"
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(".*"):  # of a kill; files, such as file managers leave, are not ours
        if left.is_dir():
            shutil.rmtree(left)
    temporary = root / f".{name}"
    temporary.mkdir()
    try:
        _write(temporary, tensors, trainer, progress)
        if (root / name).exists():
            _remove(root / name)
        temporary.rename(root / name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(root)
    for old in _folders(run)[:-keep]:
        _remove(old)
    return root / name


def _remove(folder: Path) -> None:
    """Remove a checkpoint; a kill on the way leaves a hidden folder rather than half a checkpoint."""
    shutil.rmtree(folder.rename(folder.with_name(f".removed-{folder.name}")))


def find_not_finite(trainer: Trainer) -> str | None:
    """Return which weight, average or moment holds NaN or infinity, in words; None when all are numbers."""
    return _not_finite(_tensors(trainer))


def latest_checkpoint(run: Path) -> Path | None:
    """Return the folder of a training's newest checkpoint, or None when there is none yet."""
    found = _folders(run)
    return found[-1] if found else None


def _folders(run: Path) -> list[Path]:
    """Return a training's checkpoints in their order; a copy of another name, such as one put aside, is none."""
    return sorted(path for path in (run / FOLDER).glob("[0-9]*") if path.name.isdecimal() and path.is_dir())


def load_checkpoint(trainer: Trainer, folder: Path) -> dict[str, Any]:
    """Put the trainer where it was when the checkpoint was saved; return the progress saved with it.

    Raises:
        CheckpointError: when a file is missing, damaged, or of another architecture; the trainer is then spoiled.
    """
    state = _read_state(folder)
    files = {name: _read_file(folder, name, state["files"]) for name in FILES}
    trainer.images, trainer.attempt, trainer.smoothed_loss = state["images"], state["attempt"], state["smoothed_loss"]
    for name, network in _networks(trainer).items():
        _fill(network, files[name], folder / f"{name}.safetensors")
    trainer.renew_optimisers(state["resets"])
    for name, optimiser in _optimisers(trainer).items():
        network = _networks(trainer)[name.removesuffix("_adam")]
        _restore_moments(optimiser, network, files[name])
    return state["progress"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A generator to draw pictures with."""

    generator: Generator
    """In eval mode on the CPU, float32."""
    level: int
    fade: float
    """Where its training stood: what it draws well."""
    images: int
    """Real pictures that the training had shown."""
    sha256: str
    """Of the file."""


def load_snapshot(path: Path) -> Snapshot:
    """Return the averaged generator of a training folder, a checkpoint folder or one safetensors file.

    Raises:
        CheckpointError: when there is none, or the file is damaged or of something else.
    """
    file = generator_file(path)
    try:
        with safe_open(file, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})["progan-hq"])
        data = file.read_bytes()
        shape = shape_from_dict(header["shape"])
        generator = build_generator(shape.architecture, shape=shape)
        _fill(generator, load(data), file)
    except (KeyError, TypeError, SafetensorError, ConfigError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file}: is no generator of a training here ({error}); see `hqdata import`") from error
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error
    return Snapshot(
        generator=generator.eval().requires_grad_(False),
        level=header["level"],
        fade=header["fade"],
        images=header["images"],
        sha256=hashlib.sha256(data).hexdigest(),
    )


def save_generator(file: Path, generator: Generator, *, level: int, fade: float, images: int) -> None:
    """Write one generator as a safetensors file that says by itself what it is; see `load_snapshot`."""
    with atomic_path(file) as temporary:
        _write_tensors(temporary, _contiguous(generator.state_dict()), _header(generator, level, fade, images))


def generator_file(path: Path) -> Path:
    """Return the file of the averaged generator of a training folder, a checkpoint folder, or the file given.

    Raises:
        CheckpointError: when there is none.
    """
    if path.is_file():
        return path
    folder = latest_checkpoint(path) or path
    file = folder / "average.safetensors"
    if not file.is_file():
        raise CheckpointError(
            f"{path}: holds no checkpoint; give a training's folder, a checkpoint or a .safetensors file"
        )
    return file


def _networks(trainer: Trainer) -> dict[str, nn.Module]:
    return {"generator": trainer.generator, "discriminator": trainer.discriminator, "average": trainer.average}


def _optimisers(trainer: Trainer) -> dict[str, torch.optim.Optimizer]:
    return {"generator_adam": trainer.generator_optimiser, "discriminator_adam": trainer.discriminator_optimiser}


def _tensors(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """Return everything learned, by file; the moments by their parameter's name, so that no order matters."""
    tensors = {name: _contiguous(network.state_dict()) for name, network in _networks(trainer).items()}
    for name, optimiser in _optimisers(trainer).items():
        names = [key for key, _ in _networks(trainer)[name.removesuffix("_adam")].named_parameters()]
        tensors[name] = {
            f"{names[index]}/{field}": torch.as_tensor(value).contiguous()
            for index, moments in optimiser.state_dict()["state"].items()
            for field, value in moments.items()
        }
    return tensors


def _contiguous(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.contiguous() for name, value in values.items()}


def _not_finite(tensors: Mapping[str, Mapping[str, Tensor]]) -> str | None:
    for file, values in tensors.items():
        for name, value in values.items():
            if not bool(torch.isfinite(value).all()):
                return f"{name} of the {file} holds NaN or infinity"
    return None


def _write(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], trainer: Trainer, progress: Mapping[str, Any]
) -> None:
    phase, digests = trainer.phase, {}
    for name, values in tensors.items():
        file = folder / f"{name}.safetensors"
        network = _networks(trainer).get(name)
        metadata = _header(network, phase.level, phase.fade, trainer.images) if isinstance(network, Generator) else None
        with atomic_path(file) as temporary_file:
            _write_tensors(temporary_file, values, metadata)
        digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    state = {
        "format": FORMAT,
        "version": VERSION,
        "images": trainer.images,
        "attempt": trainer.attempt,
        "resets": trainer.resets,
        "smoothed_loss": trainer.smoothed_loss,
        "level": phase.level,
        "fade": phase.fade,
        "config": trainer.config.to_dict(),
        "pictures": trainer.pictures.fingerprint,
        "progress": dict(progress),
        "files": digests,
    }
    write_json(folder / STATE, state)


def _write_tensors(file: Path, values: Mapping[str, Tensor], metadata: dict[str, str] | None) -> None:
    """Write a safetensors file; a full disk is an OSError, as elsewhere, although the library has an error of its own.

    Raises:
        OSError: when the disk is full or fails.
    """
    try:
        save_file(dict(values), file, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(file)) from error


def _header(generator: Generator, level: int, fade: float, images: int) -> dict[str, str]:
    shape = dataclasses.asdict(generator.shape)
    return {"progan-hq": json.dumps({"shape": shape, "level": level, "fade": fade, "images": images})}


def _read_state(folder: Path) -> dict[str, Any]:
    file = folder / STATE
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file}: cannot be read ({error}); remove this checkpoint to use an earlier one"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{file}: is no checkpoint's, which holds an object; remove it to use an earlier one")
    if state.get("format") != FORMAT or state.get("version") != VERSION:
        raise CheckpointError(
            f"{file}: is {state.get('format')} version {state.get('version')}, wanted {FORMAT} version {VERSION};"
            " it was written by another version of this package"
        )
    missing = [key for key in (*KEYS, "files") if key not in state]
    missing += [name for name in FILES if not missing and name not in state["files"]]
    if missing:
        raise CheckpointError(f"{file}: lacks {missing[0]!r}; remove this checkpoint to use an earlier one")
    return state


def _read_file(folder: Path, name: str, digests: Mapping[str, str]) -> dict[str, Tensor]:
    file = folder / f"{name}.safetensors"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != digests[name]:
        raise CheckpointError(
            f"{file}: does not have the checksum that {STATE} names; remove {folder} to use an earlier one"
        )
    return load(data)


def _fill(network: nn.Module, values: Mapping[str, Tensor], file: Path) -> None:
    try:
        network.load_state_dict(dict(values))
    except RuntimeError as error:
        raise CheckpointError(f"{file}: does not fit the networks: {' '.join(str(error).split())}") from error


def _restore_moments(optimiser: torch.optim.Optimizer, network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give the optimiser back its moments, each laid out in memory as its parameter: fused Adam takes no other."""
    places = {name: (index, parameter) for index, (name, parameter) in enumerate(network.named_parameters())}
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in values.items():
        name, field = key.rsplit("/", 1)
        index, parameter = places[name]
        alike = torch.empty_like(parameter, device="cpu").copy_(value) if value.shape == parameter.shape else value
        moments.setdefault(index, {})[field] = alike
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
