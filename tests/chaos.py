"""Disasters for builds in real processes: a scheduler and workers on loopback, and photos that kill."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client

LONG_S = 300.0
"""Each process imports torch first, and on a machine with other work that alone may take half a minute."""
PHOTO_S = 0.04
"""What a photo takes to open on a worker here, so that there is a middle of a build to strike in."""

SITE = """
import ctypes, os, sys, time
from pathlib import Path

DEADLY = Path(os.environ["CHAOS_DEADLY"])

def on_event(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".jpg"):
        time.sleep(float(os.environ["CHAOS_PHOTO_S"]))
        death = dict(line.split() for line in DEADLY.read_text().splitlines()).get(Path(arguments[0]).name)
        if death == "exit":
            os._exit(11)
        if death == "segfault":
            ctypes.string_at(0)

sys.addaudithook(on_event)
"""
"""What Python runs first on these workers: opening a photo takes time, and opening a deadly one ends the process."""


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = LONG_S) -> Any:
    """Return the condition's first true value."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not happen within {timeout_s:g} s")


@dataclass
class Loopback:
    """A scheduler and its workers, as processes of their own."""

    folder: Path
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    address: str = ""

    def start(self, workers: int) -> None:
        """Start them all and return when the workers are there."""
        (self.folder / "site").mkdir(parents=True)
        (self.folder / "site" / "sitecustomize.py").write_text(SITE)
        self.set_deadly({})
        file = self.folder / "scheduler.json"
        words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        self.scheduler = self._start("dask_scheduler", *words)
        self.address = wait_until(lambda: _address_in(file), "the scheduler's start")
        for _ in range(workers):
            self.add_worker()
        with self.client() as client:
            client.wait_for_workers(workers, timeout=LONG_S)

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker, with a nanny that restarts it."""
        scratch = self.folder / "scratch"
        words = [self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(scratch)]
        worker = self._start("dask_worker", *words)
        self.workers.append(worker)
        return worker

    def client(self) -> Client:
        """Return a client to look around with."""
        return Client(self.address, set_as_default=False)

    def worker_pids(self) -> list[int]:
        """Return the processes that compute, not their nannies."""
        with self.client() as client:
            return list(client.run(os.getpid).values())

    def set_deadly(self, deaths: dict[str, str]) -> None:
        """Let workers die of opening these photos: by "exit" or "segfault"."""
        lines = "".join(f"{name} {death}\n" for name, death in deaths.items())
        (self.folder / "new").write_text(lines)
        (self.folder / "new").replace(self.folder / "deadly")

    def stop(self) -> None:
        """End everything that is still there."""
        for process in (*self.workers, self.scheduler):
            if process is not None and process.poll() is None:
                process.terminate()
        for process in (*self.workers, self.scheduler):
            if process is not None:
                _wait_or_kill(process)

    def _start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(self.folder / "site"), *_python_path()]),
            "CHAOS_DEADLY": str(self.folder / "deadly"),
            "CHAOS_PHOTO_S": str(PHOTO_S),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            "DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "False",
            "OMP_NUM_THREADS": "1",
        }
        with (self.folder / "log.txt").open("ab") as log:
            command = [sys.executable, "-m", f"distributed.cli.{program}", *words]
            return subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log)


@contextmanager
def loopback(folder: Path, *, workers: int) -> Iterator[Loopback]:
    """Yield a cluster on this machine; its processes are gone when the block ends."""
    cluster = Loopback(folder)
    try:
        cluster.start(workers)
        yield cluster
    finally:
        cluster.stop()


@dataclass
class Build:
    """A build by the command line."""

    source: Path
    run: Path
    settings: list[str]
    address: str

    def start(self, **patience: float) -> subprocess.Popen[str]:
        """Start it; `patience` is what the driver's own settings are changed to."""
        command = [sys.executable, "-m", "pipelines.cli", "build", "--source", str(self.source), "--out", str(self.run)]
        command += [word for setting in self.settings for word in ("--set", setting)]
        command += ["--scheduler", self.address]
        environment = os.environ | {f"DASK_HQDATA__{name.upper()}": str(value) for name, value in patience.items()}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

    def scored(self) -> int:
        """Return how many photos are in the ledger."""
        rows = self.run / "work" / "scored"
        return sum(len(path.read_text().splitlines()) - 1 for path in rows.rglob("*.jsonl"))

    def wait_until_scored(self, photos: int) -> None:
        """Return when so many photos are in the ledger, while others are not."""
        wait_until(lambda: self.scored() >= photos, f"scoring {photos} photos")

    def end(self, process: subprocess.Popen[str], timeout_s: float = LONG_S) -> tuple[int, str]:
        """Return the exit code and what was said on the way."""
        try:
            _, errors = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return process.returncode, errors


def shard_bytes(run: Path) -> dict[str, str]:
    """Return the sha256 of every file of the data set."""
    files = [path for folder in ("data", "tensors") for path in (run / folder).rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _address_in(file: Path) -> str:
    try:
        return json.loads(file.read_text())["address"]
    except (OSError, ValueError):
        return ""


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
