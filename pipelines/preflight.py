"""Before any work: is every machine fit for it? What is wrong is named with its machine, and stops the run at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from distributed import Client

from hqdata.storage import open_folder
from pipelines.ask_workers import Answers, ask_workers
from pipelines.canary import Canary
from pipelines.device_report import DeviceReport, examine_devices
from pipelines.fitness import Fitness, UnfitWorker, fitness_of, require_fit
from pipelines.machine_report import MachineReport, examine_driver, examine_worker, file_name
from pipelines.naming import by_fault, some
from pipelines.scheduler_report import SchedulerReport, examine_scheduler
from pipelines.scratch import free_bytes
from pipelines.shared_folder import meeting_in
from pipelines.stopping import BuildStopped

if TYPE_CHECKING:
    from pipelines.job import Job

__all__ = [
    "ClusterReport",
    "DeviceReport",
    "Fitness",
    "UnfitWorker",
    "examine",
    "examine_cluster",
    "examine_devices",
    "fitness_of",
    "require_fit",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReport:
    """What the driver, the scheduler and every worker are, and whether a build can run on them."""

    driver: MachineReport
    scheduler: SchedulerReport
    workers: tuple[MachineReport, ...]
    device: str
    """What the build computes on: "cpu" or "cuda"."""
    faults: tuple[str, ...]
    """Each stops a build, and names its machines."""
    warnings: tuple[str, ...]
    """What works, but badly or not as elsewhere; for the build's report."""
    hardware: dict[str, list[str]]
    """The workers' addresses by what they compute with: in one group pixels must agree, in two they may differ."""
    expected: Fitness
    """What a worker that comes later must match, the test picture's pixels included."""

    def stop_if_unfit(self) -> None:
        """Return if a build can run.

        Raises:
            BuildStopped: naming every fault with its machines.
        """
        if self.faults:
            listed = "\n".join(f"  {fault}" for fault in self.faults)
            raise BuildStopped(f"the cluster is not fit for this build, and nothing was computed:\n{listed}")


def examine_cluster(client: Client, job: Job, *, run_bytes: int = 0, scratch_bytes: int = 0) -> ClusterReport:
    """Return whether the cluster can run `job`; every worker tries the run folder and a test picture.

    Args:
        client: of the cluster.
        job: the build's.
        run_bytes: room that the build still needs in the run folder, for a warning.
        scratch_bytes: room that one task needs in scratch, for a warning.
    """
    return examine(client, fitness_of(job), run=job.run, run_bytes=run_bytes, scratch_bytes=scratch_bytes)


def examine(
    client: Client, expected: Fitness, *, run: str = "", run_bytes: int = 0, scratch_bytes: int = 0
) -> ClusterReport:
    """As `examine_cluster`, for what the driver has; no run folder is tried where `run` is empty."""
    scheduler = examine_scheduler(client)
    faults = [f"{scheduler.name}: {fault}" for fault in scheduler.faults]
    answers: Answers[MachineReport] = Answers()
    if not faults:
        answers, storage_faults = _ask(client, expected, run)
        faults += storage_faults
    workers = tuple(answers.given.values())
    driver = examine_driver(expected, {worker.group for worker in workers})
    faults += by_fault((machine.name, fault) for machine in (driver, *workers) for fault in machine.faults)
    faults += by_fault((f"worker {address}", fault) for address, fault in answers.failed.items())
    faults += _disagreements((driver, *workers))
    if not workers and not faults:
        faults.append(f"no worker answers ({some(answers.silent)})" if answers.silent else "there are no workers")
    return ClusterReport(
        driver=driver,
        scheduler=scheduler,
        workers=workers,
        device=expected.needs.device,
        faults=tuple(faults),
        warnings=(
            *by_fault(
                (machine.name, warning) for machine in (driver, scheduler, *workers) for warning in machine.warnings
            ),
            *by_fault((f"worker {address}", why) for address, why in answers.silent.items()),
            *_mixture(workers),
            *_too_little_room(workers, run, run_bytes, scratch_bytes),
        ),
        hardware=_by_group(workers),
        expected=replace(expected, canaries=tuple(_canaries((driver, *workers)).items())),
    )


def _ask(client: Client, expected: Fitness, run: str) -> tuple[Answers[MachineReport], list[str]]:
    """Let every worker examine itself; return the answers, and what is wrong with the run folder for all."""
    if not run:
        return ask_workers(client, examine_worker, expected), []
    try:
        with meeting_in(run) as meeting:
            answers = ask_workers(client, examine_worker, expected, meeting)
            wrote = {file_name(worker.address): worker.name for worker in answers.given.values() if worker.wrote}
            unseen = [wrote[name] for name in meeting.unseen_by_driver(wrote)]
    except Exception as error:  # each store has errors of its own
        return Answers(), [f"the driver cannot use the run folder {run}: {type(error).__name__}: {error}"]
    what = f"the driver does not see what it wrote to the run folder {run}; use a folder that all machines share"
    return answers, by_fault((name, what) for name in unseen)


def _by_group(workers: Iterable[MachineReport]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for worker in workers:
        groups.setdefault(worker.group, []).append(worker.address)
    return groups


def _canaries(machines: Sequence[MachineReport]) -> dict[str, Canary]:
    """Return by hardware what the test picture should give: the driver's where it has that hardware, else the usual."""
    votes: dict[str, Counter[Canary]] = {}
    for machine in machines:
        if machine.canary is not None:
            is_driver = not machine.address
            votes.setdefault(machine.group, Counter())[machine.canary] += len(machines) if is_driver else 1
    return {group: found.most_common(1)[0][0] for group, found in votes.items()}


def _disagreements(machines: Sequence[MachineReport]) -> list[str]:
    """Name the machines whose pixels are not those of other machines with the same hardware."""
    expected = _canaries(machines)
    return by_fault(
        (machine.name, f"the test picture gives other pixels there than on other machines with {machine.group}")
        for machine in machines
        if machine.canary is not None and machine.canary != expected[machine.group]
    )


def _mixture(workers: Sequence[MachineReport]) -> Iterator[str]:
    groups = _by_group(workers)
    if len(groups) < 2:
        return
    kinds = "; ".join(f"{group}: {some(addresses)}" for group, addresses in groups.items())
    pixels = {worker.canary.pixels for worker in workers if worker.canary}
    what = "the test picture differs" if len(pixels) > 1 else "though the test picture does not differ"
    yield f"the workers have different hardware ({kinds}), and other hardware may change bits of pixels; {what}"


def _too_little_room(workers: Iterable[MachineReport], run: str, run_bytes: int, scratch_bytes: int) -> Iterator[str]:
    if run and open_folder(run).is_local and (free := free_bytes(open_folder(run).path)) < run_bytes:
        yield f"{run}: {free / 1e9:.1f} GB are free, and this build wants about {run_bytes / 1e9:.1f} GB"
    yield from by_fault(
        (
            worker.name,
            f"scratch {folder.path} has {folder.free_bytes / 1e9:.1f} GB free; {wanted / 1e9:.1f} GB are needed",
        )
        for worker in workers
        for folder in worker.scratch
        if not folder.fault and folder.free_bytes < (wanted := scratch_bytes * worker.threads)
    )
