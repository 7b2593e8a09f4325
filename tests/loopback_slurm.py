"""A real SLURM on this machine: its own configuration, key, ports and folders, gone without a trace afterwards.

Needs Debian's packages slurm-wlm and munge, and nothing else running: neither systemd nor a system-wide slurm.conf.
"""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=1,bf_interval=1
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def what_is_missing() -> str | None:
    """Return why no SLURM can be started here; None where it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    return f"{', '.join(missing)} not found; apt-get install slurm-wlm munge" if missing else None


@dataclass(frozen=True)
class LoopbackSlurm:
    folder: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """Return what a SLURM command prints."""
        return subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def jobs(self, *states: str) -> list[str]:
        """Return the ids of jobs, an array's tasks one by one, in any of the states or in all."""
        chosen = [f"--states={','.join(states)}"] if states else []
        return self.ask("squeue", "--noheader", "--array", "--format=%A", *chosen).split()

    def cancel_all(self) -> None:
        """Cancel every job and return when none is left."""
        for number in self.jobs():
            self.ask("scancel", number)
        wait_until(lambda: not self.jobs(), "all jobs are cancelled")


@contextmanager
def loopback_slurm(*, cpus: int = 4) -> Iterator[LoopbackSlurm]:
    """Yield a running SLURM of one node; all its daemons and jobs are gone when the block ends, however it ends."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path has at most 107 characters
    configuration = folder / "slurm.conf"
    slurm = LoopbackSlurm(folder, {"SLURM_CONF": str(configuration), "TMPDIR": str(folder)})
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(_kill_jobs, configuration)
        _write_configuration(folder, cpus)
        _start(stack, slurm, "munged", *_munge_words(folder))
        wait_until(lambda: (folder / "munge.socket").exists(), "munged opens its socket")
        _start(stack, slurm, "slurmctld", "-D", "-f", str(configuration))
        _start(stack, slurm, "slurmd", "-D", "-f", str(configuration), "-N", _host())
        wait_until(lambda: "idle" in _state(slurm), "the node is idle", log=folder / "slurmctld.log")
        stack.callback(slurm.cancel_all)
        yield slurm


def wait_until(condition: Callable[[], object], what: str, *, limit_s: float = 60, log: Path | None = None) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            tail = log.read_text()[-2000:] if log and log.exists() else ""
            raise TimeoutError(f"waited {limit_s:g} s until {what}\n{tail}")
        time.sleep(0.1)


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _host() -> str:
    return socket.gethostname().split(".")[0]


def _write_configuration(folder: Path, cpus: int) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    memory_mb = psutil.virtual_memory().total // 2**20
    ports = {"controller_port": _free_port(), "daemon_port": _free_port()}
    values = {"folder": folder, "host": _host(), "user": getpass.getuser(), "cpus": cpus, "memory_mb": memory_mb}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values, **ports))


def _munge_words(folder: Path) -> list[str]:
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return ["--foreground", "--force", *(f"--{option}={folder}/munge.{name}" for option, name in files.items())]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start(stack: ExitStack, slurm: LoopbackSlurm, name: str, *words: str) -> None:
    log = stack.enter_context((slurm.folder / f"{name}.out").open("wb"))
    program = _program(name)
    assert program is not None
    process = subprocess.Popen([program, *words], stdout=log, stderr=log, env={**os.environ, **slurm.environment})
    stack.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def _state(slurm: LoopbackSlurm) -> str:
    try:
        return slurm.ask("sinfo", "--noheader", "--format=%T")
    except subprocess.CalledProcessError:
        return ""


def _kill_jobs(configuration: Path) -> None:
    """Kill what a job of ours left behind, known by the configuration in its environment."""
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_CONF") == str(configuration) and process.pid != os.getpid():
                process.kill()
        except psutil.Error:
            continue  # ended meanwhile, or not ours to look at
