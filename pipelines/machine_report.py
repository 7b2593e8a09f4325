"""What one process of a cluster is and has, as it found out itself; never raises, a fault is part of the report."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from distributed import Worker, get_worker

from hqdata.storage import scratch_folder
from pipelines.canary import Canary, canary_of
from pipelines.fitness import Fitness, driver_shortcomings, paths_here, shortcomings, versions_here
from pipelines.hardware import Hardware, hardware_here
from pipelines.scheduler_report import package_version
from pipelines.scratch import ScratchFolder, examine_scratch
from pipelines.shared_folder import MeetingPoint

__all__ = ["MachineReport", "examine_driver", "examine_worker", "file_name"]

MEMORY_BYTES = 2 * 10**9
"""A thread's: libraries and the shipped networks take 0.43 GB (measured), a photo of 200 megapixels 0.6 GB a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """One process: the driver, or a worker."""

    address: str
    """The worker's; empty for the driver."""
    host: str
    pid: int
    python: str
    distributed: str
    """Version of dask.distributed, which both ends of a connection should share."""
    package: str
    """Version of progan-hq; empty where it runs without being installed."""
    versions: tuple[tuple[str, str], ...]
    """Of what decides bytes, as imported."""
    paths: tuple[tuple[str, str], ...]
    """The file that each of our packages is imported from."""
    hardware: Hardware
    group: str
    """What it shares with machines that give equal pixels."""
    threads: int
    memory_bytes: int | None
    """The worker's limit; None where there is none."""
    has_nanny: bool
    scratch: tuple[ScratchFolder, ...]
    canary: Canary | None
    """What it made of the test picture; None where that failed or was not tried."""
    wrote: bool = False
    """Whether it left a file in the run folder for the driver to see."""
    faults: tuple[str, ...]
    """Why it must not take part."""
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The process, for messages."""
        return f"worker {self.address} on {self.host}" if self.address else f"the driver on {self.host}"


def examine_worker(expected: Fitness, meeting: MeetingPoint | None = None) -> MachineReport:
    """Return the report of the worker that runs this; half a second with the shipped networks, and torch's import.

    Args:
        expected: the driver's fitness.
        meeting: where the run folder is tried; None leaves that out.
    """
    worker = get_worker()
    wrong = list(shortcomings(expected))
    # where something else is wrong, the test picture could only fail for the same reason in other words
    canary, failed = (None, wrong) if wrong else _canary(expected)
    fault = meeting.fault_seen_by_worker(file_name(worker.address)) if meeting else ""
    report = _report(expected, (scratch_folder(), Path(worker.local_directory)))
    return replace(
        report,
        address=worker.address,
        threads=worker.state.nthreads,
        memory_bytes=worker.memory_manager.memory_limit,
        has_nanny=worker.nanny is not None,
        canary=canary,
        wrote=meeting is not None and not fault,
        faults=(*failed, *report.faults, *([fault] if fault else [])),
        warnings=tuple(_warnings(worker, report, expected.needs.device)),
    )


def examine_driver(expected: Fitness, groups: Collection[str]) -> MachineReport:
    """Return the report of the process that runs this, without a worker.

    Args:
        expected: its fitness.
        groups: of the workers' hardware; the test picture is tried where this machine is of one of them.
    """
    report = _report(expected, (scratch_folder(),))
    wrong = list(driver_shortcomings(expected))
    canary, failed = (None, wrong) if wrong or report.group not in groups else _canary(expected)
    return replace(report, canary=canary, faults=(*failed, *report.faults))


def _report(expected: Fitness, folders: Iterable[Path]) -> MachineReport:
    hardware = hardware_here()
    scratch = tuple(examine_scratch(folder) for folder in dict.fromkeys(folders))
    return MachineReport(
        address="",
        host=socket.gethostname(),
        pid=os.getpid(),
        python=platform.python_version(),
        distributed=metadata.version("distributed"),
        package=package_version(),
        versions=versions_here(),
        paths=paths_here(),
        hardware=hardware,
        group=hardware.group(expected.needs.device),
        threads=1,
        memory_bytes=None,
        has_nanny=False,
        scratch=scratch,
        canary=None,
        faults=tuple(f"scratch cannot be written to: {folder.fault}" for folder in scratch if folder.fault),
        warnings=(),
    )


def file_name(address: str) -> str:
    """Return a worker's address as a file name.

    >>> file_name("tcp://10.0.0.1:4711")
    'tcp-10.0.0.1-4711'
    """
    return "-".join(part for part in address.replace("/", ":").split(":") if part)


def _canary(expected: Fitness) -> tuple[Canary | None, list[str]]:
    try:
        return canary_of(expected.needs), []
    except (ValueError, OSError, RuntimeError) as error:
        return None, [f"the test picture fails: {type(error).__name__}: {error}"]


def _warnings(worker: Worker, report: MachineReport, device: str) -> Iterator[str]:
    for folder in report.scratch:
        yield from folder.warnings()
    if report.hardware.gpus and device == "cpu":
        yield f"a GPU ({report.hardware.gpus[0]}) is there, and this build computes without"
    threads, limit = worker.state.nthreads, worker.memory_manager.memory_limit
    if threads > 1 and device == "cuda":
        yield f"{threads} threads share one GPU: slower than one, and its memory may run out; start with --nthreads 1"
    if worker.nanny is None:
        yield "no nanny: a photo that kills the process takes the worker away for good; start without --no-nanny"
    if limit and limit < threads * MEMORY_BYTES:
        needed = threads * MEMORY_BYTES / 1e9
        yield f"{limit / 1e9:.1f} GB of memory for {threads} threads, and large photos want {needed:.0f} GB"
