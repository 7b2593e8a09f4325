"""The batch scripts as the shell runs them, with a python and a scontrol that only write down how they were called."""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from loopback_slurm import wait_until

from pipelines.clusters.slurm_script import SlurmPool, driver_script, worker_script

FAKE_PYTHON = """\
#!/bin/bash
echo "${CUDA_VISIBLE_DEVICES:-none} $*" >>"$CALLS/python"
case $2 in
    distributed.cli.dask_scheduler) trap 'exit 0' TERM; while :; do sleep 0.05; done ;;
    distributed.cli.dask_worker)
        while [[ -e $CALLS/busy ]]; do sleep 0.05; done
        touch "$CALLS/pool/finished"
        ;;
    pipelines.cli) trap 'exit 75' TERM; while [[ -e $CALLS/busy ]]; do sleep 0.05; done; exit "$CODE" ;;
esac
"""
FAKE_SCONTROL = """\
#!/bin/bash
echo "$*" >>"$CALLS/scontrol"
"""


@pytest.fixture
def pool(tmp_path: Path) -> SlurmPool:
    for name, text in (("python", FAKE_PYTHON), ("scontrol", FAKE_SCONTROL)):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    (tmp_path / "pool").mkdir()
    return SlurmPool(folder=tmp_path / "pool", python=str(tmp_path / "bin" / "python"))


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return {"PATH": path, "CALLS": str(tmp_path), "TMPDIR": str(tmp_path), "SLURM_JOB_ID": "7", **more}


def run(script: str, tmp_path: Path, **more: str) -> int:
    return subprocess.run(
        ["bash", "-c", script], env=environment(tmp_path, **more), capture_output=True, check=False, timeout=30
    ).returncode


def calls(tmp_path: Path, name: str) -> list[str]:
    file = tmp_path / name
    return file.read_text().splitlines() if file.exists() else []


def option(call: str, name: str) -> str:
    words = call.split()
    return words[words.index(name) + 1]


def test_each_gpu_has_a_process_that_sees_only_it(pool: SlurmPool, tmp_path: Path):
    assert run(worker_script(replace(pool, gpus=2)), tmp_path, CUDA_VISIBLE_DEVICES="0,3") == 0
    started = sorted(calls(tmp_path, "python"))
    assert [call.split()[0] for call in started] == ["0", "3"]
    assert [option(call, "--name") for call in started] == ["slurm-7-0-0-0", "slurm-7-0-0-3"]
    assert {option(call, "--nworkers") for call in started} == {"1"}


def test_without_gpus_one_command_starts_all_processes(pool: SlurmPool, tmp_path: Path):
    assert run(worker_script(replace(pool, processes=4)), tmp_path) == 0
    (started,) = calls(tmp_path, "python")
    assert option(started, "--nworkers") == "4"
    assert option(started, "--memory-limit") == str(2 * 2**30)
    assert option(started, "--local-directory") == f"{tmp_path}/hqdata-7"


def test_scratch_is_gone_afterwards(pool: SlurmPool, tmp_path: Path):
    run(worker_script(pool), tmp_path)
    assert not (tmp_path / "hqdata-7").exists()


def test_a_job_whose_time_is_nearly_over_puts_itself_back(pool: SlurmPool, tmp_path: Path):
    script = worker_script(pool).replace("lifetime=13200\n", "lifetime=0\n")
    assert run(script, tmp_path) == 0
    assert (calls(tmp_path, "scontrol"), calls(tmp_path, "python")) == (["requeue 7"], [])


def test_a_job_whose_worker_does_not_end_in_time_puts_itself_back(pool: SlurmPool, tmp_path: Path):
    (tmp_path / "busy").touch()
    with subprocess.Popen(["bash", "-c", worker_script(pool)], env=environment(tmp_path)) as job:
        wait_until(started(tmp_path, "dask_worker"), "the worker runs", limit_s=20)
        job.send_signal(signal.SIGUSR1)
        job.wait(20)
    (tmp_path / "busy").unlink()
    assert calls(tmp_path, "scontrol") == ["requeue 7"]


def test_a_pool_without_a_scheduler_ends(pool: SlurmPool, tmp_path: Path):
    silent = worker_script(replace(pool, patience_s=1)).replace("/pool/finished", "/pool/never")
    assert run(silent, tmp_path) == 0
    assert calls(tmp_path, "scontrol") == []


@pytest.mark.parametrize(("code", "requeued", "finished"), [(0, [], True), (1, [], True), (75, ["requeue 7"], False)])
def test_a_driver_goes_on_only_while_the_build_can(
    pool: SlurmPool, tmp_path: Path, code: int, requeued: list[str], finished: bool
):
    (tmp_path / "pool" / "finished").touch()  # of the build before
    assert run(driver_script(pool, ["build"], start_in=tmp_path), tmp_path, CODE=str(code)) == code
    assert calls(tmp_path, "scontrol") == requeued
    assert (tmp_path / "pool" / "finished").exists() == finished


@pytest.mark.parametrize(("almost_over", "requeued"), [(14_160, []), (0, ["requeue 7"])])
def test_a_driver_that_is_told_to_stop_goes_on_later_only_if_its_time_was_over(
    pool: SlurmPool, tmp_path: Path, almost_over: int, requeued: list[str]
):
    (tmp_path / "busy").touch()
    script = driver_script(pool, ["build"], start_in=tmp_path).replace(
        "almost_over=14160", f"almost_over={almost_over}"
    )
    with subprocess.Popen(["bash", "-c", script], env=environment(tmp_path, CODE="0")) as job:
        wait_until(started(tmp_path, "pipelines.cli build"), "the build runs", limit_s=20)
        job.send_signal(signal.SIGTERM)
        assert job.wait(20) == 75
    assert calls(tmp_path, "scontrol") == requeued


def started(tmp_path: Path, words: str) -> Callable[[], bool]:
    return lambda: any(words in call for call in calls(tmp_path, "python"))


def test_the_build_gets_the_scheduler_s_file_and_starts_in_its_folder(pool: SlurmPool, tmp_path: Path):
    assert run(driver_script(pool, ["build", "--out", "a b"], start_in=tmp_path), tmp_path, CODE="0") == 0
    (built,) = [call for call in calls(tmp_path, "python") if "pipelines.cli" in call]
    assert built.endswith(
        f"-m pipelines.cli build --out a b --wait-timeout 14160 --scheduler-file {tmp_path}/pool/scheduler.json"
    )
