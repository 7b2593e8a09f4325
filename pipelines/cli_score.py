"""`hqdata score`: the command line of `metrics`, under the one command. Registered by `pipelines.cli`."""

from __future__ import annotations

import click

__all__ = ["score"]


@click.command(
    "score",
    add_help_option=False,  # the command line behind it has its own
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def score(words: tuple[str, ...]) -> None:
    """Measure how far generated pictures are from reference pictures."""
    from metrics.command_line import score_group

    score_group.main(list(words), prog_name="hqdata score", standalone_mode=False)
