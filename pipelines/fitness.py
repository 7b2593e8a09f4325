"""What a machine must have in common with the driver so that its pixels are the driver's: code, libraries, weights.

What counts is what Python imports there, not what an installer once noted down: a stranger's folder that comes first
on the path is found out.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import platform
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Protocol

import torch
from distributed import get_worker
from PIL import features

from hqdata import restore, upscale
from hqdata.landmarks.mtcnn_weights import WEIGHTS_SHA256, load_networks
from hqdata.precision import Precision, resolve_precision
from pipelines.config import RestoreConfig, UpscaleConfig
from pipelines.stopping import BuildStopped

__all__ = ["Fitness", "Needs", "UnfitWorker", "fitness_of", "here", "require_fit", "shortcomings"]

ROOMS = ("gan", "hqdata", "metrics", "pipelines")
MODULES = ("torch", "numpy", "scipy", "cv2", "PIL", "pyarrow", "safetensors")
"""Other people's modules that decide pixels or the bytes of shards."""


class Needs(Protocol):
    """What a build asks of a machine; `pipelines.job.Job` is one."""

    @property
    def run(self) -> str:
        """Path or URL of the run folder; empty where there is none to try."""
        ...

    @property
    def provider(self) -> str:
        """How faces are found."""
        ...

    @property
    def restore(self) -> RestoreConfig:
        """The restorer's settings."""
        ...

    @property
    def upscale(self) -> UpscaleConfig:
        """The upscaler's settings."""
        ...

    @property
    def device(self) -> str:
        """ "cpu" or "cuda"."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """What must be equal on every machine of a build. Small, hashable, and the same for every task."""

    versions: tuple[tuple[str, str], ...]
    """Of Python and of each module that decides bytes, as imported."""
    rooms: tuple[tuple[str, str], ...]
    """The sha256 of each of our packages' source files."""
    paths: tuple[tuple[str, str], ...] = field(compare=False)
    """Where each of our packages was imported from: for messages, since machines differ in it."""
    weights: tuple[tuple[str, str, str], ...]
    """What for, name or file, and its sha256, or in words why it cannot be used."""
    precisions: tuple[Precision, ...]
    """What the networks compute in."""
    device: str
    """What they run on, in torch's words."""


class UnfitWorker(BuildStopped):
    """One worker cannot give the driver's pixels; others may."""

    def __init__(self, message: str, worker: str = "") -> None:
        super().__init__(message)
        self.worker = worker
        """The worker's address; empty outside one."""


def fitness_of(needs: Needs) -> Fitness:
    """Return what this machine has of what a build needs; reads and parses every file of weights.

    Raises:
        BuildStopped: if one of our packages, or a module that it needs, cannot be imported.
    """
    return Fitness(
        versions=_versions(),
        rooms=tuple((room, _sources_sha256(room)) for room in ROOMS),
        paths=tuple((room, _path_of(room)) for room in ROOMS),
        weights=tuple((purpose, name, _weights_sha256(purpose, name)) for purpose, name in _weights_needed(needs)),
        precisions=tuple(network.precision for network in (needs.restore, needs.upscale) if network.when != "never"),
        device=needs.device,
    )


def require_fit(expected: Fitness) -> None:
    """Return if this process can give the driver's pixels; the examination is done once a process.

    Raises:
        UnfitWorker: naming this machine and everything that differs from the driver's `expected`.
    """
    wrong = shortcomings(expected)
    if wrong:
        name, address = here()
        raise UnfitWorker(
            f"{name} cannot compute for this build: {'; '.join(wrong)}; make it like the driver's machine and run the"
            " same command to go on",
            address,
        )


@functools.lru_cache(maxsize=4)
def shortcomings(expected: Fitness) -> tuple[str, ...]:
    """Return what is wrong with this machine, one sentence each; nothing for a fit one."""
    return (
        *_version_faults(expected),
        *_room_faults(expected),
        *_weights_faults(expected),
        *_device_faults(expected),
    )


def here() -> tuple[str, str]:
    """Return this process's name for messages, and its address where it is a worker."""
    try:
        worker = get_worker()
    except ValueError:
        return f"the driver on {socket.gethostname()}", ""
    return f"worker {worker.address} on {socket.gethostname()}", worker.address


def _versions() -> tuple[tuple[str, str], ...]:
    python = ".".join(platform.python_version_tuple()[:2])
    codecs = [(name, str(features.version(name))) for name in ("libjpeg_turbo", "webp", "littlecms2")]
    return (("python", python), *((name, _version(name)) for name in MODULES), *codecs)


def _version(module: str) -> str:
    try:
        return str(importlib.import_module(module).__version__)
    except ImportError as error:
        return f"missing ({error})"


def _sources_sha256(room: str) -> str:
    total = hashlib.sha256()
    folder = Path(_path_of(room)).parent
    for path in sorted(folder.rglob("*.py")):
        data = path.read_bytes()
        total.update(f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode())
        total.update(data)
    return total.hexdigest()


def _path_of(room: str) -> str:
    spec = util.find_spec(room)
    if spec is None or spec.origin is None:
        raise BuildStopped(f"{here()[0]} cannot import {room}; install progan-hq there as on the driver's machine")
    return spec.origin


def _weights_needed(needs: Needs) -> Iterator[tuple[str, str]]:
    if needs.provider == "mtcnn":
        yield "landmarks", "mtcnn"
    for purpose, network in (("restore", needs.restore), ("upscale", needs.upscale)):
        if network.when != "never":
            yield purpose, network.weights


def _weights_sha256(purpose: str, name: str) -> str:
    """Return the digest of the file itself, after parsing it; the cause in words where that fails."""
    try:
        return _LOADERS[purpose](name)
    except (ValueError, OSError) as error:
        return str(error)


def _detector_sha256(name: str) -> str:
    load_networks()  # compares each file with its pinned digest
    return hashlib.sha256("".join(WEIGHTS_SHA256.values()).encode()).hexdigest()


def _restorer_sha256(name: str) -> str:
    return restore.load(name).sha256


def _upscaler_sha256(name: str) -> str:
    return upscale.load(name).sha256


_LOADERS: dict[str, Callable[[str], str]] = {
    "landmarks": _detector_sha256,
    "restore": _restorer_sha256,
    "upscale": _upscaler_sha256,
}


def _version_faults(expected: Fitness) -> Iterator[str]:
    wanted = dict(expected.versions)
    for name, version in _versions():
        if wanted.get(name) != version:
            yield f"{name} is {version}, the driver has {wanted.get(name)}"


def _room_faults(expected: Fitness) -> Iterator[str]:
    driver = dict(expected.paths)
    for room, digest in expected.rooms:
        try:
            if _sources_sha256(room) != digest:
                yield f"{room} is other code: {_path_of(room)}, the driver has {driver[room]}"
        except BuildStopped as error:
            yield str(error)


def _weights_faults(expected: Fitness) -> Iterator[str]:
    for purpose, name, digest in expected.weights:
        found = _weights_sha256(purpose, name)
        if found != digest:
            what = f"are other ones, sha256 {found[:12]} instead of {digest[:12]}" if _is_digest(found) else found
            yield f"the weights {name} for {purpose}: {what}"


def _is_digest(text: str) -> bool:
    return len(text) == 64 and " " not in text


def _device_faults(expected: Fitness) -> Iterator[str]:
    if expected.device == "cuda" and not torch.cuda.is_available():
        yield "no GPU that torch can use, and this build computes on GPUs"
        return
    for precision in expected.precisions:
        try:
            resolve_precision(precision, expected.device)
        except ValueError as error:
            yield str(error)
