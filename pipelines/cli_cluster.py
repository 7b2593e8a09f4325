"""Options that say where the work runs, for every command that computes, and `hqdata cluster`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

__all__ = ["cluster_group", "cluster_options"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FILE = click.Path(path_type=Path, dir_okay=False)
TLS_OPTIONS = (
    click.option("--tls-ca-file", type=FILE, metavar="FILE", help="Certificate authority of the cluster, PEM."),
    click.option("--tls-cert", type=FILE, metavar="FILE", help="This side's certificate, PEM."),
    click.option("--tls-key", type=FILE, metavar="FILE", help="Its key, if it is in another file."),
)
OPTIONS = (
    click.option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler, such as tcp://10.0.0.1:8786."),
    click.option("--scheduler-file", type=FILE, metavar="FILE", help="The file that a running Dask scheduler wrote."),
    click.option("--local", metavar="N[xT]", help="N processes of T threads on this machine.  [default: one a core]"),
    click.option("--cluster", metavar="NAME|FILE", help="Start slurm, pbs, lsf, sge, ssh, cuda, kubernetes or FILE's."),
    click.option("--jobs", type=int, metavar="N", help="Jobs, workers or pods of --cluster to keep running."),
    *TLS_OPTIONS,
    click.option("--wait-workers", type=int, metavar="N", help="Workers to wait for.  [default: all local, one else]"),
    click.option("--wait-timeout", "wait_s", default=600.0, show_default=True, metavar="S", help="Wait so long."),
)
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

    return _with_options(OPTIONS)(wrapped)


def _with_options(options: Iterable[Decorator]) -> Decorator:
    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(list(options)):
            command = option(command)
        return command

    return decorated


@click.group("cluster")
def cluster_group() -> None:
    """Help to run on a cluster."""


@cluster_group.command("slurm-script")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.argument("command", nargs=-1, metavar="[-- build ...]")
@click.option("--jobs", default=1, show_default=True, help="Jobs of workers in the array.")
@click.option("--walltime", default="04:00:00", show_default=True, help="Of each job, as sbatch --time.")
@click.option("--processes", default=1, show_default=True, help="Worker processes a job; with GPUs one a GPU.")
@click.option("--cores", default=1, show_default=True, help="Cores a process.")
@click.option("--memory", default="8G", show_default=True, help="Of each job, as sbatch --mem.")
@click.option("--gpus", default=0, show_default=True, help="GPUs a job.")
@click.option("--sbatch", "directives", multiple=True, help="Further option of sbatch, --partition=gpu; repeatable.")
@click.option("--prologue", multiple=True, help="Line of shell before the workers, module load cuda; repeatable.")
@click.option("--interface", help="Network interface, such as ib0.")
@click.option("--patience", "patience_s", default=600, show_default=True, help="Seconds without a scheduler.")
@_with_options(TLS_OPTIONS)
def slurm_script(folder: Path, command: tuple[str, ...], **options: Any) -> None:
    """Write FOLDER/workers.sbatch, a pool of workers that outlives its walltime, and with a command after -- the
    driver.sbatch that builds with them. FOLDER lies where all nodes see it.
    """
    from pipelines.clusters.choice import ClusterChoice
    from pipelines.clusters.slurm_script import SlurmPool, driver_script, worker_script

    files = {name: _absolute(options.pop(name)) for name in ("tls_ca_file", "tls_cert", "tls_key")}
    tls = ClusterChoice(tls_ca_file=files["tls_ca_file"], tls_cert=files["tls_cert"], tls_key=files["tls_key"])
    pool = SlurmPool(folder=folder.resolve(), tls=tls, **options)
    if command:
        _require_runnable(command)
    scripts = {"driver.sbatch": driver_script(pool, command, start_in=Path.cwd())} if command else {}
    scripts["workers.sbatch"] = worker_script(pool)
    folder.mkdir(parents=True, exist_ok=True)
    if not command:
        click.echo(f"dask scheduler --scheduler-file {pool.scheduler_file}")
    for name, script in scripts.items():
        (folder / name).write_text(script)
        click.echo(f"sbatch {pool.folder / name}")


def _require_runnable(command: tuple[str, ...]) -> None:
    """Refuse words that the driver's job would refuse, before it waits in a queue.

    Raises:
        click.UsageError: naming the word.
    """
    from pipelines.cli import cli

    words = list(command[1:] if command[0] == "hqdata" else command)
    with click.Context(cli, info_name="hqdata") as context:
        name, found, rest = cli.resolve_command(context, words)
        if found is not None:
            found.make_context(name, [*rest, "--scheduler-file", "scheduler.json"], parent=context).close()


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()
