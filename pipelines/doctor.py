"""Is this set-up fit for a build? Driver, scheduler and every worker, what each has, what is wrong and what to do."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from hqdata.settings import ConfigError
from hqdata.storage import open_folder
from pipelines.build_dataset import settled_device
from pipelines.cluster_report import ClusterReport, Room
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.config import BuildConfig, config_from_dict
from pipelines.fitness import fitness_for
from pipelines.machine_report import MachineReport
from pipelines.needs import Needs
from pipelines.preflight import examine, examine_devices
from pipelines.run_folder import previous_run
from pipelines.stopping import BuildStopped

__all__ = ["Diagnosis", "diagnose"]

LIBRARIES = ("torch", "numpy", "scipy", "cv2", "PIL", "pyarrow")
SHOWN_DIGITS = 12
"""Of a sha256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found out about a set-up."""

    report: ClusterReport
    run: str
    """The run folder that was tried; empty where none was."""
    device_fault: str
    """Why no device could be chosen for all workers; empty where one could."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What stops a build."""
        return (*([self.device_fault] if self.device_fault else []), *self.report.faults)

    def lines(self) -> Iterator[str]:
        """Yield the diagnosis as text: the machines, what they share, and at the end what is wrong."""
        yield from _machine_lines(self.report)
        yield from _shared_lines(self.report)
        yield f"run folder  {f'{self.run}: tried by every worker' if self.run else 'not tried; give --run'}"
        for warning in self.report.warnings:
            yield f"warning     {warning}"
        for fault in self.faults:
            yield f"wrong       {fault}"
        things = "1 thing" if len(self.faults) == 1 else f"{len(self.faults)} things"
        yield f"unfit: {things} to mend, see above" if self.faults else "fit: a build can run here"

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        values = {"fit": not self.faults, "run": self.run, **dataclasses.asdict(self.report)}
        return values | {"faults": list(self.faults)}


def diagnose(config: BuildConfig | None, cluster: ClusterChoice, run: str = "") -> Diagnosis:
    """Return what a build with these settings would find on this cluster.

    Args:
        config: the settings; None is those of `run`, else the defaults.
        cluster: where the work would run.
        run: path or URL of a run folder that every worker tries; it need not exist, and is left as it was.

    Raises:
        ConfigError: for settings that cannot be used, or a damaged run.json.
        ClusterError: if the cluster cannot be reached or started.
    """
    before = _description(run)
    config = config or (config_from_dict(before["config"]) if before else BuildConfig())
    place = open_folder(run).url if run else ""
    with (
        tempfile.TemporaryDirectory(prefix="hqdata-") as scratch,
        open_cluster(cluster.with_workers(config.run.workers), scratch=Path(scratch)) as client,
    ):
        device, device_fault = _device(client, config, before)
        needs = _needs(config, before, device)
        return Diagnosis(
            report=examine(client, fitness_for(needs), Room(run=place)), run=place, device_fault=device_fault
        )


def _description(run: str) -> Mapping[str, Any] | None:
    try:
        return previous_run(open_folder(run)) if run else None
    except (OSError, ImportError):  # out of reach, or of a store whose library is missing: the examination says so
        return None


def _device(client: Client, config: BuildConfig, before: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the device for all workers, and why there is none; what else is wrong, the examination will name."""
    wanted = settled_device(config, before) or "auto"
    try:
        return examine_devices(client).choose(wanted), ""
    except ConfigError as error:
        return "cpu", str(error)
    except BuildStopped:
        return "cpu", ""


def _needs(config: BuildConfig, before: Mapping[str, Any] | None, device: str) -> Needs:
    resolved = before["resolved"]["landmarks"] if before else config.landmarks.provider
    return Needs(
        provider="mtcnn" if resolved == "auto" else resolved,
        restore=config.restore,
        upscale=config.upscale,
        size=config.align.size,
        mode=config.align.mode,
        device=device,
    )


def _machine_lines(report: ClusterReport) -> Iterator[str]:
    driver, scheduler = report.driver, report.scheduler
    yield f"driver      {driver.host}: Python {driver.python}, dask {driver.distributed}, {_installed(driver.package)}"
    facts = f"Python {scheduler.python}, dask {scheduler.distributed}, {_installed(scheduler.package)}"
    state = "cannot hand out tasks" if scheduler.faults else facts
    yield f"scheduler   {scheduler.address} on {scheduler.host}: {state}"
    yield f"workers     {len(report.workers)} answered"
    for worker in sorted(report.workers, key=lambda worker: (worker.host, worker.address)):
        verdict = "unfit" if worker.faults else "fit"
        yield f"  {verdict:<8}  {worker.address} on {worker.host}: {'; '.join(_facts(worker))}"


def _installed(package: str) -> str:
    return f"progan-hq {package}" if package else "progan-hq from a folder that is not installed"


def _facts(worker: MachineReport) -> Iterator[str]:
    yield worker.hardware.described
    memory = f"{worker.memory_bytes / 1e9:.1f} GB" if worker.memory_bytes else "no limit of memory"
    yield f"{worker.threads} thread{'s' if worker.threads > 1 else ''}, {memory}"
    for folder in worker.scratch:
        state = "cannot be written to" if folder.fault else f"{folder.free_bytes / 1e9:.1f} GB free"
        yield f"scratch {folder.path} ({folder.file_system or 'unknown kind'}, {state})"


def _shared_lines(report: ClusterReport) -> Iterator[str]:
    versions = dict(report.driver.versions)
    yield f"libraries   {', '.join(f'{name} {versions[name]}' for name in LIBRARIES)}"
    for purpose, name, digest in report.expected.weights:
        yield f"weights     {purpose}: {name} {digest[:SHOWN_DIGITS]}"
    for group, addresses in report.hardware.items():
        yield f"hardware    {group}: {len(addresses)} worker{'s' if len(addresses) > 1 else ''}, on {report.device}"
