"""The batch scripts: what SLURM reads, what the shell reads, and what is refused."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hqdata.settings import ConfigError
from pipelines.cli_cluster import cluster_group
from pipelines.clusters.choice import ClusterChoice
from pipelines.clusters.slurm_script import SlurmPool, driver_script, worker_script
from pipelines.clusters.walltime import lifetime_within, walltime_seconds

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = Path("/shared/pool")
POOL = SlurmPool(folder=FOLDER, jobs=16, processes=8, memory="32G", python="/opt/venv/bin/python")
GPU_POOL = SlurmPool(
    folder=FOLDER,
    jobs=4,
    gpus=2,
    cores=8,
    memory="64G",
    walltime="1-00:00:00",
    directives=("--partition=gpu", "--account=faces"),
    prologue=("module load cuda",),
    interface="ib0",
    python="/opt/venv/bin/python",
)
COMMAND = ["hqdata", "build", "--source", "/data/it's here", "--out", "/data/run"]


def run_bash(script: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "script.sh"
    file.write_text(script)
    return subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("slurm_workers.sbatch", worker_script(POOL)),
        ("slurm_gpu_workers.sbatch", worker_script(GPU_POOL)),
        ("slurm_driver.sbatch", driver_script(POOL, COMMAND, start_in=Path("/home/ann o"))),
    ],
)
def test_a_script_is_the_golden_one_and_the_shell_can_read_it(tmp_path: Path, name: str, script: str):
    assert script == (GOLDEN / name).read_text()
    answer = run_bash(script, tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_every_line_for_slurm_stands_before_the_first_command():
    lines = worker_script(GPU_POOL).splitlines()
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert [line for line in lines[first_command:] if line.startswith("#SBATCH")] == []


def test_the_shell_gets_the_command_word_for_word():
    script = driver_script(POOL, COMMAND, start_in=Path("/"))
    (line,) = re.findall(r"^command=\((.*)\)$", script, flags=re.MULTILINE)
    assert shlex.split(line) == [*COMMAND[1:], "--wait-timeout", "14160"]


def test_a_driver_waits_for_its_workers_as_long_as_it_was_told():
    script = driver_script(POOL, [*COMMAND, "--wait-timeout=9"], start_in=Path("/"))
    assert "--wait-timeout=9)\n" in script


def test_tls_files_reach_scheduler_workers_and_driver(tmp_path: Path):
    for name in ("ca.pem", "cert.pem"):
        (tmp_path / name).touch()
    tls = ClusterChoice(tls_ca_file=tmp_path / "ca.pem", tls_cert=tmp_path / "cert.pem")
    pool = SlurmPool(folder=FOLDER, tls=tls)
    words = f"--tls-ca-file {tmp_path}/ca.pem --tls-cert {tmp_path}/cert.pem --tls-key {tmp_path}/cert.pem"
    assert f"network=({words})" in worker_script(pool)
    assert f"network=({words})\n" in driver_script(pool, ["build"], start_in=Path("/"))
    assert f"tls=({words})\n" in driver_script(pool, ["build"], start_in=Path("/"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"jobs": 0}, "--jobs must be at least 1, got 0"),
        ({"gpus": -1}, "--gpus must be at least 0"),
        ({"memory": "8 GB"}, "--memory wants a number with K, M, G or T"),
        ({"walltime": "soon"}, "a walltime is H:M:S or D-H:M:S, got 'soon'"),
        ({"walltime": "0:30"}, "at least a minute"),
        ({"folder": Path("/shared/my pool")}, "letters, digits"),
        ({"folder": Path("/shared/%j")}, "letters, digits"),
        ({"directives": ("-p gpu",)}, "--sbatch wants one option of sbatch"),
        ({"directives": ("--comment=a\n#SBATCH --uid=0",)}, "--sbatch wants one option of sbatch"),
        ({"directives": ("--mem=1G",)}, "that is set by --memory"),
        ({"prologue": ("module load cuda\nrm x",)}, "--prologue is one line of shell"),
    ],
)
def test_what_sbatch_would_misread_is_refused(given: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        SlurmPool(**{"folder": FOLDER, **given})


@pytest.mark.parametrize("word", ["--scheduler-file=x", "--local", "--cluster", "--scheduler"])
def test_a_command_that_says_itself_where_it_runs_is_refused(word: str):
    with pytest.raises(ConfigError, match="leave out --"):
        driver_script(POOL, ["build", word], start_in=Path("/"))


@pytest.mark.parametrize("walltime_s", [60, 600, 3600, 86_400])
def test_a_worker_ends_before_its_walltime_and_not_at_once(walltime_s: int):
    lifetime = lifetime_within(walltime_s)
    assert walltime_s - (lifetime.seconds + lifetime.stagger_s) >= min(600, walltime_s / 10)
    assert lifetime.seconds - lifetime.stagger_s >= min(0.7 * walltime_s, walltime_s - 45)


@pytest.mark.parametrize(("text", "seconds"), [("2", 120), ("2:30", 150), ("1:00:00", 3600), ("2-3", 183_600)])
def test_walltimes_are_read_as_sbatch_reads_them(text: str, seconds: int):
    assert walltime_seconds(text) == seconds


def test_the_command_writes_the_scripts_and_says_how_to_submit_them(tmp_path: Path):
    words = ["slurm-script", str(tmp_path / "pool"), "--jobs", "2", "--", "build", "--source", "a", "--out", "b"]
    answer = CliRunner().invoke(cluster_group, words)
    assert answer.exit_code == 0, answer.output
    assert answer.output.splitlines() == [
        f"sbatch {tmp_path}/pool/driver.sbatch",
        f"sbatch {tmp_path}/pool/workers.sbatch",
    ]
    assert "#SBATCH --array=0-1\n" in (tmp_path / "pool" / "workers.sbatch").read_text()
    assert f"start_in={Path.cwd()}\n" in (tmp_path / "pool" / "driver.sbatch").read_text()


def test_without_a_command_only_the_workers_are_written(tmp_path: Path):
    answer = CliRunner().invoke(cluster_group, ["slurm-script", str(tmp_path / "pool")])
    assert f"dask scheduler --scheduler-file {tmp_path}/pool/scheduler.json" in answer.output
    assert [file.name for file in (tmp_path / "pool").iterdir()] == ["workers.sbatch"]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["bild", "--out", "b"], "No such command 'bild'"),
        (["build", "--source", "a"], "--out"),
        (["build", "--source", "a", "--out", "b", "--cuont", "3"], "--cuont"),
        (["status", "b"], "--scheduler-file"),
    ],
)
def test_a_command_that_the_job_would_refuse_is_refused_before_it_queues(
    tmp_path: Path, command: list[str], sentence: str
):
    answer = CliRunner().invoke(cluster_group, ["slurm-script", str(tmp_path / "pool"), "--", *command])
    assert answer.exit_code == 2
    assert sentence in answer.output
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize("command", [["hqdata", "build", "--out", "b"], ["score", "a", "b", "-m", "swd"]])
def test_commands_that_compute_are_taken(tmp_path: Path, command: list[str]):
    answer = CliRunner().invoke(cluster_group, ["slurm-script", str(tmp_path / "pool"), "--", *command])
    assert answer.exit_code == 0, answer.output
