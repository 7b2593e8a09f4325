"""Which cluster a command is to use: plain values, checked before anything starts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from hqdata.settings import ConfigError

__all__ = ["ClusterChoice", "ClusterError", "first_line"]


KINDS = ("scheduler", "scheduler_file", "local", "cluster")
"""The fields of which at most one is given."""


class ClusterError(RuntimeError):
    """A cluster could not be reached or started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChoice:
    """Where the work runs. At most one of `scheduler`, `scheduler_file`, `local` and `cluster` is given.

    With none of them it is the scheduler that dask's own configuration names (DASK_SCHEDULER_ADDRESS), else one process
    a core on this machine.
    """

    scheduler: str | None = None
    """Address of a running scheduler, such as tcp://10.0.0.1:8786."""
    scheduler_file: Path | None = None
    """JSON file that `dask scheduler --scheduler-file` writes, on a folder that all machines share."""
    local: str | None = None
    """`N` or `NxT`: processes on this machine, and threads in each; 0 processes are one a core."""
    cluster: str | None = None
    """Name of a kind of cluster to start, or a TOML or YAML file that describes one."""
    jobs: int | None = None
    """How many jobs, workers or pods of `cluster` to keep running; None is what its file says, else 1."""
    tls_ca_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    """Left out where the certificate's file holds the key too."""
    wait_workers: int | None = None
    """Workers to wait for before work begins; None is all of a local cluster, one of any other."""
    wait_s: float = 600.0
    """How long to wait for them; a queue can be slow."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigError: if two kinds of cluster are given, or a value is not usable.
        """
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) > 1:
            options = " and ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigError(f"{options} both say where the work runs; give one of them")
        if self.local is not None:
            _local_size(self.local)
        if self.scheduler is not None and not re.fullmatch(r"[a-z]+://\S+|[^\s:/]+:\d+", self.scheduler):
            raise ConfigError(f"--scheduler wants an address such as tcp://10.0.0.1:8786, got {self.scheduler!r}")
        if self.jobs is not None and self.cluster is None:
            raise ConfigError("--jobs says how large --cluster is; give --cluster too, or --local N for this machine")
        for option, value in (("--jobs", self.jobs), ("--wait-workers", self.wait_workers)):
            if value is not None and value < 1:
                raise ConfigError(f"{option} must be at least 1, got {value}")
        if not self.wait_s > 0:
            raise ConfigError(f"--wait-timeout must be more than 0 seconds, got {self.wait_s}")
        self._require_whole_tls()

    def with_workers(self, workers: int) -> ClusterChoice:
        """Return this choice, or `workers` local processes where none was made; 0 workers say nothing."""
        return replace(self, local=str(workers)) if workers and not self.is_made else self

    @property
    def is_made(self) -> bool:
        """Whether a cluster was named at all."""
        return any(getattr(self, name) is not None for name in KINDS)

    @property
    def local_size(self) -> tuple[int, int]:
        """Processes on this machine and threads in each."""
        processes, threads = _local_size(self.local or "0")
        return processes or max(1, len(os.sched_getaffinity(0)) // threads), threads

    def _require_whole_tls(self) -> None:
        files = {"--tls-ca-file": self.tls_ca_file, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        given = {option: path for option, path in files.items() if path is not None}
        if given and (self.tls_ca_file is None or self.tls_cert is None):
            raise ConfigError(f"TLS needs both --tls-ca-file and --tls-cert, got only {', '.join(given)}")
        for option, path in given.items():
            if not path.is_file():
                raise ConfigError(f"{option} {path}: no such file")


def _local_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x([1-9]\d*))?", text)
    if match is None:
        raise ConfigError(f"--local wants N or NxT, such as 8 or 4x2, got {text!r}")
    return int(match[1]), int(match[2] or 1)


def first_line(error: BaseException) -> str:
    """Return what an error says first; the rest of it is often a job's whole script."""
    return (str(error).splitlines() or [type(error).__name__])[0]
