"""The part of `hqdata score` that runs on a worker: networks over a stretch of a set, its results left in a folder.

Pictures never cross the network between processes: a worker reads or draws them itself, and proves by their content
that they are the driver's.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from distributed import get_worker

from gan.drawn_pictures import drawing
from hqdata.storage import open_folder
from metrics.features import FeatureExtractor, MissingWeights, extractor
from metrics.features.network_extractor import Precision
from metrics.parts import Identity, OtherNetwork, gather_part, save_part
from metrics.sources import ImageSource, open_source
from metrics.sources.ordered import default_threads
from pipelines.fitness import machine_name
from pipelines.stopping import BuildStopped

__all__ = ["NetworkWords", "PartJob", "SetWords", "Stretch", "gather_stretches", "open_set"]

_COMPUTING = threading.Lock()
"""A network has all threads of a worker process: two at once would share them, and the switches of float32 too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWords:
    """What a command line says of a set of pictures, from which every machine opens the same source."""

    path: str
    """Absolute: a folder, file or pattern; of a generator, its file's name in the work folder."""
    is_generator: bool
    name: str
    """In messages and in the report."""
    size: int | None
    limit: int | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWords:
    """What a command line says of the network of fid, kid, is and prdc; others are opened by their names alone."""

    extractor: str
    weights: str | None
    precision: Precision
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Neighbouring pictures that one task is to look at."""

    start: int
    stop: int
    """One beyond the last."""
    content: str
    """Fingerprint of these pictures; empty where they are drawn."""
    file: str
    """Where below the work folder the part is to lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartJob:
    """All that a task needs beside its stretch; small, hashable and the same for every task of a pass."""

    command: str
    """Tells commands apart: what a worker has open is another one's no more, since files may have changed."""
    work: str
    """Path or URL of the work folder."""
    pictures: SetWords
    count: int
    """Pictures of the whole set."""
    identities: tuple[tuple[str, str], ...]
    """Of the gatherers by their part, as JSON."""
    network: NetworkWords
    batch_size: int
    device: str
    """"cpu" or "cuda"."""


def gather_stretches(stretches: list[Stretch], job: PartJob) -> str:
    """Leave the parts of some stretches in the work folder; return what is wrong with a picture, if anything is.

    Raises:
        BuildStopped: when this machine has other pictures or weights than the driver's.
    """
    try:
        for stretch in stretches:
            with _COMPUTING:
                _gather(stretch, job)
    except (MissingWeights, OtherNetwork) as error:
        raise BuildStopped(f"{machine_name()[0]}: {error}; every machine needs the same weights") from error
    except ValueError as error:
        return str(error)
    return ""


def open_set(words: SetWords, draw: Callable[[int, int], Any] | None, *, num_threads: int | None = None) -> ImageSource:
    """Return the source that words stand for.

    Args:
        words: what was said of it.
        draw: draws a generator's pictures; None where they are stored.
        num_threads: that decode.

    Raises:
        FileNotFoundError, ValueError: as `metrics.open_source`.
    """
    return open_source(
        words.path if draw is None else draw,
        size=words.size,
        limit=words.limit,
        seed=words.seed,
        num_threads=num_threads,
        name=words.name or None,
    )


def _gather(stretch: Stretch, job: PartJob) -> None:
    pictures = _pictures(job).stretch(stretch.start, stretch.stop)
    identities: dict[str, Identity] = {part: json.loads(identity) for part, identity in job.identities}
    networks = {
        part: _network(identity["network"], job.network, job.device, job.command)
        for part, identity in identities.items()
        if "network" in identity
    }
    arrays = gather_part(pictures, identities, networks, count=job.count, batch_size=job.batch_size, device=job.device)
    if stretch.content and pictures.fingerprint() != stretch.content:
        raise BuildStopped(
            f"{machine_name()[0]}: pictures {stretch.start} to {stretch.stop - 1} of {job.pictures.path} are not those"
            " that the driver sees; leave them alone until the report is there, where all machines see the same ones"
        )
    with open_folder(job.work).writing(stretch.file) as path:
        save_part(path, arrays)


@functools.lru_cache(maxsize=2)
def _pictures(job: PartJob) -> ImageSource:
    """Return the set, once a process.

    Raises:
        BuildStopped: when it is not here, or is another one.
    """
    words, threads = job.pictures, get_worker().state.nthreads
    torch.set_num_threads(threads)
    try:
        if words.is_generator:
            with open_folder(job.work).reading(words.path) as file:
                pictures = open_set(words, drawing(file, device=job.device))
        else:
            pictures = open_set(words, None, num_threads=threads if job.device == "cpu" else default_threads())
    except (OSError, ValueError) as error:
        raise BuildStopped(
            f"{machine_name()[0]}: {error}; the pictures must lie where every machine sees them"
        ) from error
    if pictures.count != job.count:
        raise BuildStopped(
            f"{machine_name()[0]}: {words.path} has {pictures.count} pictures there and {job.count} on the driver's"
            " machine; give a folder that all machines share"
        )
    return pictures


@functools.lru_cache(maxsize=2)
def _network(name: str, words: NetworkWords, device: str, command: str) -> FeatureExtractor:
    if name != words.extractor:
        return extractor(name, device=device)
    return extractor(name, weights=words.weights, precision=words.precision, protocol=words.protocol, device=device)
