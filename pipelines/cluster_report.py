"""What a cluster's machines add up to: whether a build can run on them, and what is to be known of one that does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hqdata.storage import open_folder
from pipelines.ask_workers import Answers
from pipelines.canary import Canary
from pipelines.fitness import Fitness
from pipelines.machine_report import MachineReport
from pipelines.naming import by_fault, some
from pipelines.scheduler_report import SchedulerReport
from pipelines.scratch import free_bytes
from pipelines.stopping import BuildStopped

__all__ = ["ClusterReport", "Room", "report_on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much of it a build wants, and where."""

    run: str = ""
    """Path or URL of the run folder; empty where there is none."""
    run_bytes: int = 0
    """What the build still writes to the run folder."""
    scratch_bytes: int = 0
    """What one task needs in scratch."""


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


def report_on(
    expected: Fitness,
    driver: MachineReport,
    scheduler: SchedulerReport,
    answers: Answers[MachineReport],
    *,
    storage_faults: Sequence[str] = (),
    room: Room | None = None,
) -> ClusterReport:
    """Return what the reports of all machines add up to.

    Args:
        expected: what all must have in common, from the driver.
        driver: its report.
        scheduler: its report.
        answers: of the workers.
        storage_faults: what is wrong with the run folder, naming machines.
        room: what the build wants, for warnings.
    """
    workers = tuple(answers.given.values())
    return ClusterReport(
        driver=driver,
        scheduler=scheduler,
        workers=workers,
        device=expected.needs.device,
        faults=(*_faults(driver, scheduler, answers), *storage_faults, *_disagreements((driver, *workers))),
        warnings=(
            *by_fault((machine.name, text) for machine in (driver, scheduler, *workers) for text in machine.warnings),
            *by_fault((f"worker {address}", why) for address, why in answers.silent.items()),
            *_other_dask(driver, workers),
            *_mixture(workers),
            *_too_little_room(workers, room or Room()),
        ),
        hardware=_by_group(workers),
        expected=replace(expected, canaries=tuple(_canaries((driver, *workers)).items())),
    )


def _faults(driver: MachineReport, scheduler: SchedulerReport, answers: Answers[MachineReport]) -> Iterator[str]:
    machines = (driver, scheduler, *answers.given.values())
    yield from by_fault((machine.name, fault) for machine in machines for fault in machine.faults)
    yield from by_fault((f"worker {address}", fault) for address, fault in answers.failed.items())
    if not answers.given and not answers.failed and not scheduler.faults:
        yield f"no worker answers ({some(answers.silent)})" if answers.silent else "there are no workers"


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


def _other_dask(driver: MachineReport, workers: Iterable[MachineReport]) -> list[str]:
    return by_fault(
        (worker.name, f"distributed is {worker.distributed}, the driver has {driver.distributed}")
        for worker in workers
        if worker.distributed != driver.distributed
    )


def _mixture(workers: Sequence[MachineReport]) -> Iterator[str]:
    groups = _by_group(workers)
    if len(groups) < 2:
        return
    kinds = "; ".join(f"{group}: {some(addresses)}" for group, addresses in groups.items())
    pixels = {worker.canary.pixels for worker in workers if worker.canary}
    what = "the test picture differs" if len(pixels) > 1 else "though the test picture does not differ"
    yield f"the workers have different hardware ({kinds}), and other hardware may change bits of pixels; {what}"


def _too_little_room(workers: Iterable[MachineReport], room: Room) -> Iterator[str]:
    if room.run and open_folder(room.run).is_local:
        free = free_bytes(open_folder(room.run).path)
        if free < room.run_bytes:
            yield f"{room.run}: {_gigabytes(free)} are free, and this build wants about {_gigabytes(room.run_bytes)}"
    yield from by_fault(
        (worker.name, f"scratch {folder.path} has {_gigabytes(folder.free_bytes)} free and wants {_gigabytes(wanted)}")
        for worker in workers
        for folder in worker.scratch
        if not folder.fault and folder.free_bytes < (wanted := room.scratch_bytes * worker.threads)
    )


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB"
