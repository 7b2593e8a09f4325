"""A real SLURM on this machine: whatever it does to the jobs, the data set has the bytes of a serial build."""

import functools
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from loopback_slurm import LoopbackSlurm, loopback_slurm, wait_until, what_is_missing
from small_source import write_small_celeba

from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.clusters import named as named_module

MISSING = what_is_missing()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

DESCRIPTION = """\
class = "slurm"
[kwargs]
cores = 1
memory = "3GB"
walltime = "00:10:00"
interface = "lo"
log_directory = "{folder}"
[scale]
jobs = 2
"""


@pytest.fixture(scope="module")
def running_slurm() -> Iterator[LoopbackSlurm]:
    with loopback_slurm() as running:
        yield running


@pytest.fixture
def slurm(running_slurm: LoopbackSlurm) -> Iterator[LoopbackSlurm]:
    """A SLURM without a job, afterwards too."""
    yield running_slurm
    running_slurm.cancel_all()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slurm") / "source"
    write_small_celeba(folder, num_photos=48)
    return folder


@pytest.fixture(scope="module")
def serial(source: Path) -> dict[str, str]:
    run = source.parent / "serial"
    hqdata(*build_words(source, run), "--local", "1")
    return digest(run)


@pytest.fixture
def description(tmp_path: Path) -> Path:
    file = tmp_path / "slurm.toml"
    file.write_text(DESCRIPTION.format(folder=tmp_path))
    return file


def hqdata(*words: str, environment: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pipelines.cli", *words]
    answer = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr


def build_words(source: Path, run: Path) -> list[str]:
    return ["build", "--source", str(source), "--out", str(run), "--size", "64", "--set", "run.chunk_photos=1"]


def digest(run: Path) -> dict[str, str]:
    files = sorted(path for name in ("data", "tensors") for path in (run / name).rglob("*") if path.is_file())
    assert files
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def submit(slurm: LoopbackSlurm, script: Path) -> str:
    (number,) = re.findall(r"\d+", slurm.ask("sbatch", str(script)))
    return number


def restarts(slurm: LoopbackSlurm, job: str) -> int:
    return int(re.findall(r"Restarts=(\d+)", slurm.ask("scontrol", "show", "job", job))[0])


def write_pool(folder: Path, *words: str) -> None:
    hqdata("cluster", "slurm-script", str(folder), "--interface", "lo", *words)


def finished_chunks(run: Path) -> int:
    return len(list(run.glob("work/scored/**/*.jsonl")))


def test_a_build_on_slurm_has_the_bytes_of_a_serial_one(
    slurm: LoopbackSlurm, source: Path, serial: dict[str, str], description: Path, tmp_path: Path
):
    hqdata(*build_words(source, tmp_path / "run"), "--cluster", str(description), environment=slurm.environment)
    assert digest(tmp_path / "run") == serial
    wait_until(lambda: not slurm.jobs("PENDING", "RUNNING"), "no job is left")


def test_an_interrupted_build_takes_its_jobs_with_it(
    slurm: LoopbackSlurm, source: Path, description: Path, tmp_path: Path
):
    command = [
        sys.executable,
        "-m",
        "pipelines.cli",
        *build_words(source, tmp_path / "run"),
        "--cluster",
        str(description),
    ]
    environment = {**os.environ, **slurm.environment}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as build:
        wait_until(lambda: len(slurm.jobs("RUNNING")) == 2, "its jobs run", limit_s=120)
        build.terminate()
        _, errors = build.communicate(timeout=60)
    assert (build.returncode, "run the same command to go on" in errors) == (75, True)
    wait_until(lambda: not slurm.jobs("PENDING", "RUNNING"), "no job is left")


def test_an_array_and_a_driver_that_are_requeued_give_the_bytes_of_a_serial_build(
    slurm: LoopbackSlurm, source: Path, serial: dict[str, str], tmp_path: Path
):
    pool, run = tmp_path / "pool", tmp_path / "run"
    write_pool(pool, "--jobs", "2", "--memory", "3G", "--", *build_words(source, run))
    driver, workers = submit(slurm, pool / "driver.sbatch"), submit(slurm, pool / "workers.sbatch")
    wait_until(lambda: finished_chunks(run) > 2, "some chunks are done", limit_s=180, log=pool / f"driver-{driver}.log")
    slurm.ask("scontrol", "requeue", workers)
    wait_until(lambda: len(slurm.jobs("RUNNING")) == 3, "the workers are back", limit_s=60)
    slurm.ask("scontrol", "requeue", driver)
    wait_until((pool / "finished").exists, "it is built", limit_s=300, log=pool / f"driver-{driver}.log")
    assert digest(run) == serial
    assert [restarts(slurm, job) for job in (driver, f"{workers}_0", f"{workers}_1")] == [1, 1, 1]
    wait_until(lambda: not slurm.jobs("PENDING", "RUNNING"), "the workers see that it is built", limit_s=120)


def test_a_job_that_is_killed_is_replaced(
    slurm: LoopbackSlurm, description: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    watchful = functools.partial(named_module.supervised, interval_s=1)
    monkeypatch.setattr(named_module, "supervised", watchful)
    choice = ClusterChoice(cluster=str(description), wait_workers=2, wait_s=120)
    with open_cluster(choice, scratch=tmp_path) as client:
        first, second = slurm.jobs("RUNNING")
        slurm.ask("scancel", "--signal=KILL", first)
        wait_until(lambda: len(set(slurm.jobs("RUNNING")) - {first}) == 2, "another job runs", limit_s=60)
        client.wait_for_workers(2, timeout=60)
        assert second in slurm.jobs("RUNNING")
    wait_until(lambda: not slurm.jobs("PENDING", "RUNNING"), "no job is left")


def test_a_pool_outlives_its_walltime(slurm: LoopbackSlurm, tmp_path: Path):
    pool = tmp_path / "pool"
    write_pool(pool, "--walltime", "1", "--memory", "1G")
    scheduler_words = ["--scheduler-file", str(pool / "scheduler.json"), "--interface", "lo", "--port", "0"]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *scheduler_words, "--no-dashboard"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as scheduler:
        try:
            job = submit(slurm, pool / "workers.sbatch")
            choice = ClusterChoice(scheduler_file=pool / "scheduler.json", wait_s=120)
            with open_cluster(choice, scratch=tmp_path) as client:
                wait_until(lambda: restarts(slurm, f"{job}_0") == 1, "it has put itself back", limit_s=120)
                client.wait_for_workers(1, timeout=60)
                (worker,) = client.scheduler_info()["workers"].values()
                assert re.fullmatch(r"slurm-\d+-1-0", worker["name"])
            (pool / "finished").touch()
        finally:
            scheduler.terminate()
    wait_until(lambda: not slurm.jobs("PENDING", "RUNNING"), "the worker ends without its scheduler", limit_s=60)
