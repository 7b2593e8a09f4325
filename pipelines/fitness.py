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
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import get_worker
from PIL import features

from hqdata import restore, upscale
from hqdata.landmarks.mtcnn_weights import WEIGHTS_SHA256, load_networks
from hqdata.precision import resolve_precision
from pipelines.canary import Canary, canary_of
from pipelines.hardware import hardware_here
from pipelines.needs import Needs, needs_of
from pipelines.stopping import BuildStopped

if TYPE_CHECKING:
    from pipelines.job import Job

__all__ = [
    "ROOMS",
    "Fitness",
    "Newcomer",
    "UnfitWorker",
    "driver_shortcomings",
    "fitness_for",
    "fitness_of",
    "machine_name",
    "paths_here",
    "require_fit",
    "shortcomings",
    "versions_here",
]

ROOMS = ("gan", "hqdata", "metrics", "pipelines")
"""Our packages, whose names strangers use too."""
BUILDERS = ("hqdata", "pipelines")
"""Those that decide bytes: every file of theirs must be the driver's."""
MODULES = ("torch", "numpy", "scipy", "cv2", "PIL", "pyarrow", "safetensors")
"""Other people's modules that decide pixels or the bytes of shards."""
_EXAMINATION = threading.Lock()
"""One thread of a worker examines it, not each: the test picture changes how many threads torch computes with."""
CODECS = ("libjpeg_turbo", "webp", "littlecms2")
"""What Pillow decodes photos with: one release of it is built with several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitness:
    """What must be equal on every machine of a build. Small, hashable, and the same for every task."""

    needs: Needs
    versions: tuple[tuple[str, str], ...]
    """Of Python and of each module that decides bytes, as imported."""
    rooms: tuple[tuple[str, str], ...]
    """The sha256 of the source files of our packages that decide bytes."""
    paths: tuple[tuple[str, str], ...] = field(compare=False)
    """Where each of our packages was imported from: for messages, since machines differ in it."""
    weights: tuple[tuple[str, str, str], ...]
    """What for, name or file, and its sha256, or in words why it cannot be used."""
    canaries: tuple[tuple[str, Canary], ...] = ()
    """What each kind of hardware (`Hardware.group`) made of the canary picture, as far as that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A worker of a kind of hardware that no machine of the examination had."""

    machine: str
    group: str
    """Its hardware, as `Hardware.group` calls it."""
    pixels: str
    """The sha256 of the test picture's pixels as made there."""
    is_alike: bool
    """Whether another kind of hardware gives the same pixels."""

    def __str__(self) -> str:
        what = "though the test picture does not differ" if self.is_alike else "the test picture differs"
        return (
            f"{self.machine} came later and has other hardware ({self.group}), which may change bits of pixels; {what}"
        )


class UnfitWorker(BuildStopped):
    """One worker cannot give the driver's pixels; others may."""

    def __init__(self, message: str, worker: str = "") -> None:
        super().__init__(message)
        self.worker = worker
        """The worker's address; empty outside one."""


def fitness_of(job: Job) -> Fitness:
    """Return what this machine has of what a job needs; reads and parses every file of weights."""
    return fitness_for(needs_of(job))


def fitness_for(needs: Needs, rooms: Sequence[str] = BUILDERS) -> Fitness:
    """Return what this machine has of what is needed, and the digests of some of our packages; see `fitness_of`."""
    return Fitness(
        needs=needs,
        versions=versions_here(),
        rooms=tuple((room, _sources_sha256(room)) for room in rooms),
        paths=paths_here(),
        weights=tuple((purpose, name, _weights_sha256(purpose, name)) for purpose, name in _weights_needed(needs)),
    )


def require_fit(expected: Fitness) -> Newcomer | None:
    """Return if this process can give the driver's pixels; the examination is done once a process.

    Returns:
        What is to be told of a worker whose hardware is not among those examined before; else None.

    Raises:
        UnfitWorker: naming this machine and everything that differs from the driver's `expected`.
    """
    with _EXAMINATION:
        wrong = shortcomings(expected)
    if wrong:
        name, address = machine_name()
        raise UnfitWorker(
            f"{name} cannot compute for this build: {'; '.join(wrong)}; make it like the driver's machine and run the"
            " same command to go on",
            address,
        )
    with _EXAMINATION:
        return _newcomer(expected)


@functools.lru_cache(maxsize=4)
def _newcomer(expected: Fitness) -> Newcomer | None:
    group, known = hardware_here().group(expected.needs.device), dict(expected.canaries)
    if not known or group in known:
        return None
    pixels = canary_of(expected.needs).pixels
    is_alike = pixels in {canary.pixels for canary in known.values()}
    return Newcomer(machine=machine_name()[0], group=group, pixels=pixels, is_alike=is_alike)


@functools.lru_cache(maxsize=4)
def shortcomings(expected: Fitness) -> tuple[str, ...]:
    """Return what is wrong with this worker, one sentence each; nothing for a fit one."""
    wrong = (*_version_faults(expected), *driver_shortcomings(expected), *_device_faults(expected.needs))
    return wrong or tuple(_canary_faults(expected))


def driver_shortcomings(expected: Fitness) -> tuple[str, ...]:
    """Return what is wrong with this machine as a driver, which computes nothing itself."""
    return (*_room_faults(expected), *_weights_faults(expected))


def machine_name() -> tuple[str, str]:
    """Return this process's name for messages, and its address where it is a worker."""
    try:
        worker = get_worker()
    except ValueError:
        return f"the driver on {socket.gethostname()}", ""
    return f"worker {worker.address} on {socket.gethostname()}", worker.address


def versions_here() -> tuple[tuple[str, str], ...]:
    """Return the versions of Python and of what decides bytes, as imported."""
    python = ".".join(platform.python_version_tuple()[:2])
    codecs = ((name, str(features.version(name))) for name in CODECS)
    return (("python", python), *((name, _version(name)) for name in MODULES), *codecs)


def paths_here() -> tuple[tuple[str, str], ...]:
    """Return the file or folder that each of our packages is imported from; empty for one that is not found."""
    return tuple((room, _path_of(room)) for room in ROOMS)


def _path_of(room: str) -> str:
    spec = util.find_spec(room)
    if spec is None:
        return ""
    return spec.origin or next(iter(spec.submodule_search_locations or []), "")


def _home_of(room: str) -> Path:
    """Return the folder on the path that a package lies in; a stranger's may be one file, or have no `__init__.py`."""
    path = Path(_path_of(room))
    return path.parents[1] if path.name == "__init__.py" else path.parent


def _version(module: str) -> str:
    try:
        return str(importlib.import_module(module).__version__)
    except ImportError as error:
        return f"missing ({error})"


@functools.lru_cache(maxsize=len(ROOMS))
def _sources_sha256(room: str) -> str:
    total = hashlib.sha256()
    folder = _home_of(room) / room
    for path in sorted(folder.rglob("*.py")):
        data = path.read_bytes()
        total.update(f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode())
        total.update(data)
    return total.hexdigest()


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
    for name, version in versions_here():
        if wanted.get(name) != version:
            yield f"{name} is {version}, the driver has {wanted.get(name)}; install the driver's version"


def _room_faults(expected: Fitness) -> Iterator[str]:
    ours = _home_of("pipelines")
    for room in ROOMS:
        if not _path_of(room):
            yield f"{room} cannot be imported; install progan-hq as on the driver's machine"
        elif (home := _home_of(room)) != ours:
            yield f"{room} is a stranger's, {_path_of(room)}, and hides ours in {ours}; take {home} off the path"
    driver = dict(expected.paths)
    for room, digest in expected.rooms:
        if _home_of(room) == ours and _sources_sha256(room) != digest:
            yield f"{room} in {ours} {_other_than(ours, driver[room])}"


def _other_than(ours: Path, driver: str) -> str:
    if ours == Path(driver).parents[1]:
        return "has other files than when the driver began; start again, with the same files on all machines"
    return f"is other code than the driver's {driver}; install the same version of progan-hq"


def _weights_faults(expected: Fitness) -> Iterator[str]:
    for purpose, name, digest in expected.weights:
        found = _weights_sha256(purpose, name)
        if found != digest or not _is_digest(found):
            other = f"sha256 is {found[:12]}, the driver has {digest[:12]}; copy the driver's file there"
            what = other if _is_digest(found) else found
            yield f"the weights {name} ({purpose}): {what}"


def _is_digest(text: str) -> bool:
    return len(text) == 64 and " " not in text


def _device_faults(needs: Needs) -> Iterator[str]:
    hardware = hardware_here()
    if needs.device == "cuda" and not hardware.has_gpu:
        fault = hardware.gpu_fault or "torch sees none"
        yield f"this build computes on GPUs, and here is none that can be used: {fault}"
        return
    for network in (needs.restore, needs.upscale):
        try:
            resolve_precision(network.precision if network.when != "never" else "float32", needs.device)
        except ValueError as error:
            yield str(error)


def _canary_faults(expected: Fitness) -> Iterator[str]:
    """Compare with the other machines of this hardware; another kind of hardware is named, not refused."""
    if not expected.canaries:
        return
    try:
        found = canary_of(expected.needs)
    except (ValueError, OSError, RuntimeError) as error:
        yield f"the test picture fails: {type(error).__name__}: {error}"
        return
    group = hardware_here().group(expected.needs.device)
    known = dict(expected.canaries).get(group)
    if known is not None and found != known:
        yield f"the test picture gives other pixels here than on the other machines with {group}"
