"""`hqdata score`: the command line of `metrics`, which here also takes generators. Registered by `pipelines.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["score"]

COUNT = 10_000
"""Pictures that a generator draws where --limit does not say."""
GENERATORS = """\
Generators:
  GENERATED may also be a training's folder, a checkpoint's, or a generator's
  .safetensors file: --limit pictures that it draws [10,000], at its own size.
  `CKPT --reference RUN` is the same as `RUN CKPT`."""
"""What the help says beyond that of `python -m metrics`."""
JOINED = ("--reference=", "--size=")
"""Options that are looked for here, as one word with their value."""


@click.command(
    "score",
    add_help_option=False,  # the command line behind it has its own
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="CKPT --reference RUN [OPTIONS]...")
def score(words: tuple[str, ...]) -> None:
    """Measure how far generated pictures, or a generator's, are from reference pictures.

    As `python -m metrics`. A training's folder, a checkpoint's, or a generator's .safetensors file counts as --limit
    pictures that it draws [10,000], and is compared at its own size. `CKPT --reference RUN` is the same as `RUN CKPT`.
    """
    from metrics.command_line import score_group

    given = _reference_first(list(words))
    score_group.main(given, prog_name="hqdata score", standalone_mode=False, obj=_open)
    if given[:1] in (["-h"], ["--help"]):
        click.echo(f"\n{GENERATORS}")


def _reference_first(words: list[str]) -> list[str]:
    """Return `RUN CKPT ...` for `CKPT --reference RUN ...`, with the generator's size where none is given."""
    words = [part for word in words for part in (word.split("=", 1) if word.startswith(JOINED) else [word])]
    if "--reference" in words:
        place = words.index("--reference")
        if place + 1 == len(words):
            raise click.UsageError("--reference wants the real pictures after it")
        words = [words[place + 1], *words[:place], *words[place + 2 :]]
    elif len(words) == 1 and _is_generator(words[0]):
        raise click.UsageError(f"{words[0]} is compared with real pictures; add --reference RUN")
    if len(words) < 2 or "--size" in words or not _is_generator(words[1]):
        return words
    from gan.drawn_pictures import side_of

    return [*words, "--size", str(_told(lambda: side_of(Path(words[1]))))]


def _is_generator(word: str) -> bool:
    path = Path(word)
    if not path.exists():
        return False
    from gan.drawn_pictures import is_generator

    return is_generator(path)


def _open(path: str, options: dict[str, Any]) -> Any:
    """Return what `metrics.command_line` is to measure for a word: a generator's pictures, or None for its own way."""
    if not _is_generator(path):
        return None
    from gan.drawn_pictures import drawing
    from metrics.features.network_extractor import chosen_device
    from metrics.sources import open_source

    draw = _told(lambda: drawing(Path(path), device=chosen_device(options["device"])))
    limit = options["limit"] or COUNT
    return open_source(draw, limit=limit, size=options["size"], seed=options["seed"], name=path)


def _told(call: Any) -> Any:
    from gan.checkpoint import CheckpointError

    try:
        return call()
    except CheckpointError as error:
        raise click.UsageError(str(error)) from error
