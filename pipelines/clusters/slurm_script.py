"""Batch scripts for a pool of workers that outlives walltimes, preemption and the scheduler, and for the build itself.

Two scripts share a folder, in which the scheduler writes its address. `workers.sbatch` is an array of jobs; each runs
`dask worker` for a little less than its walltime and puts itself back into the queue. `driver.sbatch` runs a scheduler
and a command of ours, and puts itself back while that says that it can go on (exit code 75).
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hqdata.settings import ConfigError
from pipelines.clusters.choice import ClusterChoice
from pipelines.clusters.defaults import environment
from pipelines.clusters.walltime import lifetime_within, walltime_seconds

__all__ = ["SlurmPool", "driver_script", "worker_script"]

WARNING_S = 120
"""How long before its walltime the driver is told to stop: enough to end what runs and to say what is done."""
OWN_DIRECTIVES = {
    "array": "--jobs",
    "cpus-per-task": "--processes and --cores",
    "gres": "--gpus",
    "mem": "--memory",
    "output": "the folder",
    "signal": "--walltime",
    "time": "--walltime",
}
"""What the scripts set by themselves, and where."""

WORKER_BODY = """
set -u
scratch=${TMPDIR:-/tmp}/hqdata-$SLURM_JOB_ID
mkdir -p "$scratch"
export HQDATA_SCRATCH=$scratch
trap 'rm -rf "$scratch"' EXIT

put_back() {
    scontrol requeue "$SLURM_JOB_ID"
    exit
}
trap put_back USR1  # the walltime is nearly over, and a worker has not ended as it should

# a process a GPU, each of which sees only its own; one entry, which says nothing, without GPUs
devices=("")
if ((gpus)); then IFS=, read -ra devices <<<"${CUDA_VISIBLE_DEVICES:?SLURM has set no GPUs}"; fi

run_workers() {  # SECONDS: until they end by themselves, or their scheduler does
    local device name=slurm-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}-$SECONDS
    for device in "${devices[@]}"; do
        if [[ $device ]]; then export CUDA_VISIBLE_DEVICES=$device; fi
        "$python" -m distributed.cli.dask_worker --scheduler-file "$scheduler_file" --name "$name${device:+-$device}" \\
            --nworkers "$processes" --nthreads 1 --memory-limit "$memory_limit" --local-directory "$scratch" \\
            --death-timeout 60 --no-dashboard --lifetime "$1s" --lifetime-stagger "${stagger}s" "${network[@]}" &
    done
    wait
}

last_seen=0  # when a scheduler was there
while [[ ! -e $finished ]] && ((SECONDS - last_seen < patience)); do
    if ((SECONDS >= lifetime - stagger)); then put_back; fi
    began=$SECONDS
    run_workers $((lifetime - SECONDS))
    # a worker without a scheduler gives up after a minute
    if ((SECONDS - began > 90)); then last_seen=$SECONDS; fi
    [[ -e $finished ]] || sleep 5
done
"""

DRIVER_BODY = """
set -u
rm -f "$scheduler_file" "$finished"
"$python" -m distributed.cli.dask_scheduler --scheduler-file "$scheduler_file" --port 0 --no-dashboard \\
    "${network[@]}" &
scheduler=$!
cd "$start_in" || exit
"$python" -m pipelines.cli "${command[@]}" --scheduler-file "$scheduler_file" "${tls[@]}" &
driver=$!
told_at=
trap 'told_at=$SECONDS; kill -TERM "$driver"' TERM
wait "$driver"
code=$?
while kill -0 "$driver" 2>/dev/null; do  # a trapped signal ends `wait` early
    wait "$driver"
    code=$?
done
kill "$scheduler"
wait "$scheduler"
# told to stop long before the walltime: somebody cancelled it, or SLURM itself will put it back
if ((code == 75)) && [[ -z $told_at || $told_at -ge $almost_over ]]; then
    scontrol requeue "$SLURM_JOB_ID"
elif ((code != 75)); then
    touch "$finished"
fi
exit "$code"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmPool:
    """A pool of workers as a SLURM array, and the folder that it shares with its scheduler."""

    folder: Path
    """On storage that all nodes share; for the scripts, their logs and the scheduler's address."""
    jobs: int = 1
    walltime: str = "04:00:00"
    """Of each job, as `sbatch --time` takes it."""
    processes: int = 1
    """Worker processes a job, of one thread each; with GPUs it is one a GPU."""
    cores: int = 1
    """Cores a process."""
    memory: str = "8G"
    """Of each job, as `sbatch --mem` takes it."""
    gpus: int = 0
    """GPUs a job."""
    directives: tuple[str, ...] = ()
    """Further options of sbatch, such as "--partition=gpu"."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the workers start, such as "module load cuda"."""
    interface: str | None = None
    """Network interface of scheduler and workers, such as ib0."""
    tls: ClusterChoice | None = None
    """Whose TLS files scheduler, workers and driver use."""
    patience_s: int = 600
    """How long a job waits for a scheduler before it ends."""
    python: str = sys.executable

    def __post_init__(self) -> None:
        """Refuse what sbatch or the shell would read otherwise than it was meant.

        Raises:
            ConfigError: naming the option.
        """
        walltime_seconds(self.walltime)
        for option, value, least in (
            ("--jobs", self.jobs, 1),
            ("--processes", self.processes, 1),
            ("--cores", self.cores, 1),
            ("--gpus", self.gpus, 0),
            ("--patience", self.patience_s, 1),
        ):
            if value < least:
                raise ConfigError(f"{option} must be at least {least}, got {value}")
        if not re.fullmatch(r"[1-9]\d*[KMGT]", self.memory):
            raise ConfigError(f"--memory wants a number with K, M, G or T, such as 32G, got {self.memory!r}")
        if not re.fullmatch(r"[\w./@+=:,-]+", str(self.folder)):
            raise ConfigError(f"sbatch cannot be given the folder {str(self.folder)!r}; use letters, digits and ._-/")
        for directive in self.directives:
            _require_directive(directive)
        for line in self.prologue:
            if "\n" in line:
                raise ConfigError(f"--prologue is one line of shell, got {line!r}")

    @property
    def scheduler_file(self) -> Path:
        """Where the scheduler writes its address."""
        return self.folder / "scheduler.json"


def worker_script(pool: SlurmPool) -> str:
    """Return the batch script of an array of jobs that run workers."""
    processes = pool.gpus or pool.processes
    lifetime = lifetime_within(walltime_seconds(pool.walltime))
    values = {
        "processes": 1 if pool.gpus else pool.processes,
        "memory_limit": _bytes(pool.memory) // processes,
        "gpus": pool.gpus,
        "lifetime": lifetime.seconds,
        "stagger": lifetime.stagger_s,
        "patience": pool.patience_s,
    }
    directives = [
        f"--array=0-{pool.jobs - 1}",
        f"--cpus-per-task={processes * pool.cores}",
        f"--mem={pool.memory}",
        *([f"--gres=gpu:{pool.gpus}"] if pool.gpus else []),
        f"--signal=B:USR1@{min(WARNING_S, lifetime.stagger_s) // 2}",
        f"--output={pool.folder}/workers-%A_%a.log",
    ]
    return _script(pool, "hqdata-workers", directives, values) + WORKER_BODY


def driver_script(pool: SlurmPool, command: Sequence[str], *, start_in: Path) -> str:
    """Return the batch script of a job that runs a scheduler and `hqdata COMMAND...` with it.

    Args:
        pool: whose workers do the work; the walltime is for this job too.
        command: the words after `hqdata`, without an option for the cluster.
        start_in: folder that the command's relative paths start from.

    Raises:
        ConfigError: if the command says itself where it runs.
    """
    words = list(command[1:] if command[:1] == ["hqdata"] else command)
    own = [word for word in words if word.split("=")[0] in ("--scheduler", "--scheduler-file", "--local", "--cluster")]
    if own:
        raise ConfigError(f"the command runs on the pool of this script; leave out {own[0]}")
    directives = [
        "--cpus-per-task=2",
        "--mem=8G",
        f"--signal=B:TERM@{WARNING_S}",
        f"--output={pool.folder}/driver-%j.log",
    ]
    almost_over = max(1, walltime_seconds(pool.walltime) - 2 * WARNING_S)
    if "--wait-timeout" not in " ".join(words):
        words += ["--wait-timeout", str(almost_over)]  # the workers may queue longer than this job did
    arrays = (
        f"start_in={shlex.quote(str(start_in))}\ncommand=({shlex.join(words)})\ntls=({shlex.join(_tls_words(pool))})\n"
    )
    return _script(pool, "hqdata-driver", directives, {"almost_over": almost_over}) + arrays + DRIVER_BODY


def _script(pool: SlurmPool, name: str, directives: Iterable[str], values: dict[str, int]) -> str:
    """Return the head of a script: what SLURM reads, the settings, and the values that its body uses."""
    shared = ["--nodes=1", "--ntasks=1", f"--time={pool.walltime}", "--requeue", "--open-mode=append", *pool.directives]
    paths = {"python": pool.python, "scheduler_file": pool.scheduler_file, "finished": pool.folder / "finished"}
    network = [*(["--interface", pool.interface] if pool.interface else []), *_tls_words(pool)]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {directive}" for directive in (f"--job-name={name}", *directives, *shared)),
        "",
        *pool.prologue,
        *(f"export {variable}={shlex.quote(value)}" for variable, value in environment().items()),
        *(f"{variable}={shlex.quote(str(path))}" for variable, path in paths.items()),
        *(f"{variable}={value}" for variable, value in values.items()),
        f"network=({shlex.join(network)})",
    ]
    return "\n".join(lines) + "\n"


def _tls_words(pool: SlurmPool) -> list[str]:
    if pool.tls is None or pool.tls.tls_ca_file is None:
        return []
    files = {
        "--tls-ca-file": pool.tls.tls_ca_file,
        "--tls-cert": pool.tls.tls_cert,
        "--tls-key": pool.tls.tls_key or pool.tls.tls_cert,
    }
    return [word for option, path in files.items() for word in (option, str(path))]


def _require_directive(directive: str) -> None:
    match = re.fullmatch(r"--([a-z-]+)(=\S+)?", directive)
    if match is None:
        raise ConfigError(f"--sbatch wants one option of sbatch, such as --partition=gpu, got {directive!r}")
    if match[1] in OWN_DIRECTIVES:
        raise ConfigError(f"--sbatch {directive}: that is set by {OWN_DIRECTIVES[match[1]]}")


def _bytes(memory: str) -> int:
    return int(memory[:-1]) * 1024 ** ("KMGT".index(memory[-1]) + 1)
