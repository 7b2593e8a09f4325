"""Options that say where the work runs, for every command that computes, and `hqdata cluster`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["cluster_options"]

FILE = click.Path(path_type=Path, dir_okay=False)
OPTIONS = [
    click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler, such as tcp://10.0.0.1:8786."),
    click.option("--scheduler-file", type=FILE, metavar="FILE", help="The file that a running Dask scheduler wrote."),
    click.option("--local", metavar="N[xT]", help="N processes of T threads on this machine.  [default: one a core]"),
    click.option("--cluster", metavar="NAME|FILE", help="Start slurm, pbs, lsf, sge, ssh, cuda, kubernetes or FILE's."),
    click.option("--jobs", type=int, metavar="N", help="Jobs, workers or pods of --cluster to keep running."),
    click.option("--tls-ca-file", type=FILE, metavar="FILE", help="Certificate authority of the cluster, PEM."),
    click.option("--tls-cert", type=FILE, metavar="FILE", help="This side's certificate, PEM."),
    click.option("--tls-key", type=FILE, metavar="FILE", help="Its key, if it is in another file."),
    click.option("--wait-workers", type=int, metavar="N", help="Workers to wait for.  [default: all local, one else]"),
    click.option(
        "--wait-timeout", "wait_s", type=float, default=600.0, show_default=True, metavar="S", help="Wait that long."
    ),
]
NAMES = (
    "scheduler",
    "scheduler_file",
    "local",
    "cluster",
    "jobs",
    "tls_ca_file",
    "tls_cert",
    "tls_key",
    "wait_workers",
    "wait_s",
)
"""The options as the fields of a `ClusterChoice`."""


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a cluster to a click command, which gets them as one argument `cluster: ClusterChoice`."""

    @functools.wraps(command)
    def wrapped(**options: Any) -> Any:
        from pipelines.clusters.choice import ClusterChoice

        given = {name: options.pop(name) for name in NAMES}
        return command(cluster=ClusterChoice(**given), **options)

    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped
