"""What the driver does in a build, measured in processes of its own: each function is one process."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from distributed import Client
from driver_sections import fake
from driver_sections.meter import MIB, Meter, count_tasks, cpu_seconds, resident_bytes

import pipelines.build_dataset  # noqa: F401 -- a driver has all this in memory
from pipelines import score_phase
from pipelines.clusters.defaults import environment
from pipelines.face_rows import ChosenFaces
from pipelines.job import photos_key
from pipelines.knowledge import Knowledge
from pipelines.pack_phase import plan_shards
from pipelines.stats import Stats
from pipelines.tables import write_rated, write_selected

EVERY_S = 1.0
START_WITHIN_S = 120


def whole_build(photos: int, count: int, run: Path) -> list[dict]:
    """Everything that the driver does in a build, in one process; only Dask and the pixels are missing."""
    meter = Meter()
    with meter.step("start (all modules)", 0):
        pass
    with meter.step("list photos (PhotoTable)", photos):
        listed = fake.source(photos)
    config = fake.settings(count, chunk_photos=32)
    job = fake.job_in(run, config, listed)
    with meter.step("index them (Knowledge)", photos):
        known = Knowledge.load(listed.photos, job)
    with meter.step("fingerprint of the list", photos):
        photos_key(listed.photos)
    stats = Stats()
    with meter.step("score phase, chunks of 32", photos), fake.WorkerBeside(fake.score_and_write) as worker:
        score_beside(worker, known, job, config, stats)
    meter.note({"crops cached": stats.cached_crops})
    steps_after_scoring(meter, known, job, listed, count)
    return meter.rows


def resume(photos: int, count: int, run: Path) -> list[dict]:
    """A driver that starts again where all photos are done."""
    meter = Meter()
    with meter.step("list photos (PhotoTable)", photos):
        listed = fake.source(photos)
    config = fake.settings(count, chunk_photos=32)
    job = fake.job_in(run, config, listed)
    with meter.step("resume: read the ledger", photos):
        known = Knowledge.load(listed.photos, job)
    if len(known.to_do()):
        raise SystemExit("the ledger does not know all photos")
    with meter.step("best faces", photos):
        known.best(count)
    return meter.rows


def steps_after_scoring(meter: Meter, known: Knowledge, job, listed, count: int) -> None:
    faces = known.num_scored()
    with meter.step("scores.parquet, dropped.parquet", faces):
        write_rated(job.run_folder, known, job, {})
    with meter.step("best faces", faces):
        chosen = known.best(count)
    with meter.step("selected.parquet", len(chosen)):
        write_selected(job.run_folder, known, chosen)
    with meter.step("contact sheet's faces", faces):
        known.runners_up(chosen, 10)
        known.worst(20)
        known.rank_of(int(chosen[-1]))
    with meter.step("chosen faces' rows", len(chosen)):
        rows = ChosenFaces(known, job, chosen)
    with rows, meter.step("plan of the shards", len(chosen)):
        plan_shards(rows, job, listed, 1024)


def score_beside(worker: fake.WorkerBeside, known: Knowledge, job, config, stats: Stats) -> None:
    score_phase.map_bounded, dask_map = worker.map_bounded, score_phase.map_bounded
    try:
        score_phase.score_photos(worker, known, job, config, stats)  # pyright: ignore[reportArgumentType]
    finally:
        score_phase.map_bounded = dask_map


def bookkeeping(photos: int, count: int, run: Path) -> list[dict]:
    """The driver's work in the score phase at several chunk sizes, without Dask and without a ledger."""
    meter = Meter()
    listed = fake.source(photos)
    for chunk_photos in (1, 8, 32, 64):
        config = fake.settings(count, chunk_photos)
        job = fake.job_in(run, config, listed)
        known = Knowledge(listed.photos, job.landmarks)
        with (
            fake.WorkerBeside(fake.score_only) as worker,
            meter.step(f"bookkeeping, chunks of {chunk_photos}", photos),
        ):
            score_beside(worker, known, job, config, Stats())
    return meter.rows


def with_dask(photos: int, count: int, run: Path) -> list[dict]:
    """The same through a real scheduler and two workers, each a process of its own."""
    meter = Meter()
    listed = fake.source(photos)
    for chunk_photos, stage in ((8, fake.score_only), (32, fake.score_only), (32, fake.score_and_write)):
        folder = Path(tempfile.mkdtemp(dir=run))
        config = fake.settings(count, chunk_photos)
        job = fake.job_in(folder, config, listed)
        known = Knowledge(listed.photos, job.landmarks)
        ledger = "with ledger" if stage is fake.score_and_write else "no ledger"
        with cluster(folder) as (client, scheduler), SchedulerWatch(client, scheduler) as watch:
            with meter.step(f"Dask, chunks of {chunk_photos}, {ledger}", photos):
                score_on(client, stage, known, job, config)
            meter.note(watch.notes(photos))
    return meter.rows


def score_on(client: Client, stage: Callable, known: Knowledge, job, config) -> None:
    score_phase.score_chunk, real = stage, score_phase.score_chunk
    try:
        score_phase.score_photos(client, known, job, config, Stats())
    finally:
        score_phase.score_chunk = real


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[Client, int]]:
    """Yield a client and the process id of its scheduler; set up as `hqdata build` sets up its own."""
    file = folder / "scheduler.json"
    here = str(Path(__file__).resolve().parents[1])
    variables = {**os.environ, **environment(), "PYTHONPATH": here}
    start = [sys.executable, "-m", "distributed.cli"]
    programs = [[f"{start[2]}.dask_scheduler", "--port", "0", "--no-dashboard", "--host", "127.0.0.1"]]
    programs += [[f"{start[2]}.dask_worker", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder)]] * 2
    processes = [
        subprocess.Popen(
            [*start[:2], *program, "--scheduler-file", str(file)], env=variables, stderr=subprocess.DEVNULL
        )
        for program in programs
    ]
    try:
        with Client(scheduler_file=str(file), timeout=START_WITHIN_S) as client:
            client.wait_for_workers(2, timeout=START_WITHIN_S)
            yield client, processes[0].pid
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


class SchedulerWatch:
    """Looks at a scheduler every second, from a thread; as a context."""

    def __init__(self, client: Client, pid: int) -> None:
        self._client, self._pid = client, pid
        self._resident: list[int] = []
        self._tasks: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "SchedulerWatch":
        self._used = cpu_seconds(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            self._resident.append(resident_bytes(self._pid))
            self._tasks.append(cast("int", self._client.run_on_scheduler(count_tasks)))

    def notes(self, photos: int) -> dict[str, str]:
        """What was seen."""
        spent = cpu_seconds(self._pid) - self._used
        quarters = [self._resident[position * (len(self._resident) - 1) // 4] / MIB for position in range(5)]
        return {
            "scheduler us a photo": f"{1e6 * spent / photos:.0f}",
            "its MiB over time": " ".join(f"{value:.0f}" for value in quarters),
            "its tasks at most": str(max(self._tasks)),
        }
