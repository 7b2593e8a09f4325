"""Before any work: is every machine fit for it? What is wrong is named with its machine, and stops the run at once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from distributed import Client

from pipelines.ask_workers import Answers, ask_workers
from pipelines.cluster_report import ClusterReport, Room, report_on
from pipelines.device_report import DeviceReport, examine_devices
from pipelines.fitness import Fitness, UnfitWorker, fitness_of, require_fit
from pipelines.machine_report import MachineReport, examine_driver, examine_worker, file_name
from pipelines.naming import by_fault
from pipelines.scheduler_report import examine_scheduler
from pipelines.shared_folder import meeting_in

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


def examine_cluster(client: Client, job: Job, *, run_bytes: int = 0, scratch_bytes: int = 0) -> ClusterReport:
    """Return whether the cluster can run `job`; every worker tries the run folder and a test picture.

    Args:
        client: of the cluster.
        job: the build's.
        run_bytes: room that the build still needs in the run folder, for a warning.
        scratch_bytes: room that one task needs in scratch, for a warning.
    """
    room = Room(run=job.run, run_bytes=run_bytes, scratch_bytes=scratch_bytes)
    return examine(client, fitness_of(job), room)


def examine(client: Client, expected: Fitness, room: Room | None = None) -> ClusterReport:
    """As `examine_cluster`, for what the driver has; without a run folder in `room`, none is tried."""
    scheduler = examine_scheduler(client)
    answers: Answers[MachineReport] = Answers()
    storage_faults: list[str] = []
    if not scheduler.faults:
        answers, storage_faults = _ask(client, expected, room.run if room else "")
    driver = examine_driver(expected, {worker.group for worker in answers.given.values()})
    return report_on(expected, driver, scheduler, answers, storage_faults=storage_faults, room=room)


def _ask(client: Client, expected: Fitness, run: str) -> tuple[Answers[MachineReport], list[str]]:
    """Let every worker examine itself; return the answers, and what only the driver knows of the run folder."""
    if not run:
        return ask_workers(client, examine_worker, expected), []
    with ExitStack() as stack:
        try:
            meeting = stack.enter_context(meeting_in(run))
        except Exception as error:  # each store has errors of its own
            fault = f"the driver cannot write to the run folder {run}: {type(error).__name__}: {error}"
            return ask_workers(client, examine_worker, expected), [fault]
        answers = ask_workers(client, examine_worker, expected, meeting)
        names = {file_name(worker.address): worker.name for worker in answers.given.values() if worker.wrote}
        unseen = [names[name] for name in meeting.unseen_by_driver(names)]
    what = f"the driver does not see what it wrote to the run folder {run}; use a folder that all machines share"
    return answers, by_fault((name, what) for name in unseen)
