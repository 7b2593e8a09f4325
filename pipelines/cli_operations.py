"""`hqdata status`, `retry`, `explain`, `select` and `pack`: a run while it goes on, and after it. For `cli`."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import click

from pipelines.cli_cluster import cluster_options

__all__ = ["EXIT_QUARANTINED", "OPERATIONS", "tell_summary"]

EXIT_QUARANTINED = 3
REASONS_SHOWN = 50


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def status(run: str, as_json: bool) -> None:
    """Say how RUN fares: phase, speed, time to go, driver, counts, reasons for drops. Cheap, and writes nothing."""
    from pipelines.status import run_status

    answer = run_status(run)
    if as_json:
        click.echo(json.dumps(answer.to_json(), indent=2, sort_keys=True))
        return
    for line in answer.lines():
        click.echo(line)


@click.command()
@click.argument("run")
@click.option("--reason", default="", metavar="TEXT|GLOB", help="Part of the reason, or a pattern such as '*died*'.")
@click.option("--stage", default="", metavar="STAGE", help="read, landmarks, align, worker or a network's.")
@click.option("--dry-run", is_flag=True, help="Count, and forget nothing.")
def retry(run: str, reason: str, stage: str, dry_run: bool) -> None:
    """Forget why photos and faces of RUN were refused, so that the next build does them again.

    Without --reason and --stage it lists the reasons and does nothing.
    """
    from pipelines.retry import Refusals, forget_refusals, list_refusals

    if not (reason or stage):
        _tell_reasons(list_refusals(run))
        click.echo("nothing was forgotten; choose with --reason or --stage")
        return
    forgotten = forget_refusals(run, Refusals(reason, stage), dry_run=dry_run)
    _tell_reasons(forgotten)
    count = forgotten.total()
    if not count:
        click.echo("nothing was forgotten: no refusal fits; `hqdata retry RUN` alone lists them")
        return
    click.echo(f"would be forgotten: {count}" if dry_run else f"forgotten: {count}; the next build does them again")


@click.command()
@click.argument("run")
@click.option("--id", "names", multiple=True, required=True, metavar="ID", help="Face, photo or path; repeatable.")
@click.option("--ledger", is_flag=True, help="Also name the files of the ledger; reads all of it.")
@click.option("--json", "as_json", is_flag=True, help="For a program to read.")
def explain(run: str, names: tuple[str, ...], ledger: bool, as_json: bool) -> None:
    """Say why a face of RUN was chosen or not: score, rank, cut, shard, or the reason for its drop."""
    import dataclasses

    from pipelines.explain import explain as explained

    answers = explained(run, names, ledger=ledger)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(answer) for answer in answers], indent=2))
        return
    for answer in answers:
        for line in answer.lines():
            click.echo(line)


@click.command("select")
@click.argument("run")
@click.option("--count", type=int, help="Faces to keep.  [default: as in the last build]")
@click.option("--where", metavar="EXPR", help="Only faces with this, such as 'score > 20 and Male == 1'; '' is all.")
@cluster_options
def select_again(run: str, cluster: Any, count: int | None, where: str | None) -> int:
    """Choose faces of a scored RUN anew and pack them, with the settings of its last build. Scores nothing again."""
    from pipelines.reselect import reselect

    return tell_summary(reselect(run, cluster, count=count, where=where), run)


@click.command("pack")
@click.argument("run")
@click.option("--rows-per-shard", type=int, help="Faces a shard.  [default: as in the last build]")
@cluster_options
def pack_again(run: str, cluster: Any, rows_per_shard: int | None) -> int:
    """Pack the chosen faces of RUN anew where shards are missing, damaged or of another size. Scores nothing again."""
    from pipelines.reselect import repack

    return tell_summary(repack(run, cluster, rows_per_shard=rows_per_shard), run)


def tell_summary(summary: Any, run: str) -> int:
    """Print what a build did; return the exit code."""
    click.echo(
        f"{summary.selected} of {summary.faces} faces from {summary.photos} photos chosen, {summary.dropped} dropped,"
        f" in {summary.seconds:.1f} s"
    )
    if summary.quarantined:
        click.echo(f"quarantined    {summary.quarantined} photos that their workers did not survive; see hqdata retry")
    if summary.failed:
        click.echo(f"failed         {summary.failed} photos by no fault of theirs; the same command tries them again")
    click.echo(f"data set       {run}")
    click.echo(f"contact sheet  {run.rstrip('/')}/report/contact_sheet.png")
    return 0 if summary.is_tolerable else EXIT_QUARANTINED


def _tell_reasons(counts: Counter[tuple[str, str]]) -> None:
    for (stage, reason), count in counts.most_common(REASONS_SHOWN):
        click.echo(f"{count:>8}  {stage}: {reason}")
    if len(counts) > REASONS_SHOWN:
        click.echo(f"{'':>8}  and {len(counts) - REASONS_SHOWN} more reasons")


OPERATIONS = (status, retry, explain, select_again, pack_again)
