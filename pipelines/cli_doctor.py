"""`hqdata doctor`: a set-up examined before a build is started on it. Registered by `pipelines.cli`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from pipelines.cli_cluster import cluster_options

__all__ = ["doctor"]


@click.command()
@cluster_options
@click.option("--run", default="", metavar="RUN", help="A run folder that every worker tries; its settings are used.")
@click.option("--restore-weights", metavar="FILE", help="Other restorer: a file or a name of `hqdata weights`.")
@click.option("--upscale-weights", metavar="FILE", help="Other upscaler: a file or a name of `hqdata weights`.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="What a build would compute on.")
@click.option("--config", "files", type=click.Path(path_type=Path), multiple=True, help="As of `build`; repeatable.")
@click.option("--set", "assignments", metavar="SECTION.KEY=VALUE", multiple=True, help="Any setting; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Everything that was found out, for a program to read.")
def doctor(cluster: Any, run: str, as_json: bool, **options: Any) -> None:
    """Examine driver, scheduler and every worker; exit with 1 where a build would not run.

    Versions, imported code, weights, GPUs, scratch, the run folder as every worker sees it, and whether all machines
    make the same pixels of a test picture.
    """
    from pipelines.doctor import diagnose

    diagnosis = diagnose(_config(options), cluster, run)
    if as_json:
        click.echo(json.dumps(diagnosis.to_json(), indent=2, sort_keys=True))
    else:
        for line in diagnosis.lines():
            click.echo(line)
    if diagnosis.faults:
        raise click.exceptions.Exit(1)


def _config(options: dict[str, Any]) -> Any:
    """Return the settings that were asked for; None where none were."""
    from pipelines.config import load_config

    if not any(options.values()):
        return None
    return load_config(
        options["files"],
        options["assignments"],
        restore={"weights": options["restore_weights"]},
        upscale={"weights": options["upscale_weights"]},
        run={"device": options["device"]},
    )
