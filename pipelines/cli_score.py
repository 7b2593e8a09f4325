"""`hqdata score`: the command line of `metrics`, which here also takes generators and clusters."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from pipelines.cli_cluster import cluster_options

__all__ = ["score"]

COUNT = 10_000
"""Pictures that a generator draws where --limit does not say."""
USUAL = "inception-fid"
"""The network of `metrics` where none is named."""
GENERATORS = """\
Generators:
  GENERATED may also be a training's folder, a checkpoint's, or a generator's
  .safetensors file: --limit pictures that it draws [10,000], at its own size.
  `CKPT --reference RUN` is the same as `RUN CKPT`."""
"""What the help says beyond that of `python -m metrics`."""
CLUSTERS = """\
Clusters (both sets are cut into parts, and the report is the same):"""
JOINED = ("--reference=", "--size=")
"""Options that are looked for here, as one word with their value."""
COMPANIONS = ("stats", "doctor", "cache")
"""Commands of `metrics` beside the comparison."""


@click.command(
    "score",
    add_help_option=False,  # the command line behind it has its own
    context_settings={"ignore_unknown_options": True},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="CKPT --reference RUN [OPTIONS]...")
@click.option("--work", metavar="DIR|URL", help="Of finished parts, seen by all workers.  [default: in the cache]")
@click.option("--part-pictures", type=click.IntRange(min=1), metavar="N", help="Pictures a part.  [default: 256]")
@cluster_options
@click.pass_context
def score(
    context: click.Context, words: tuple[str, ...], work: str | None, part_pictures: int | None, cluster: Any
) -> None:
    """Measure how far generated pictures, or a generator's, are from reference pictures.

    As `python -m metrics`. A training's folder, a checkpoint's, or a generator's .safetensors file counts as --limit
    pictures that it draws [10,000], and is compared at its own size. `CKPT --reference RUN` is the same as `RUN CKPT`.
    With one of the options of a cluster the networks run there.
    """
    from metrics.command_line import score_group

    if (work or part_pictures) and not cluster.is_made:
        raise click.UsageError("--work and --part-pictures are for clusters; give --local N, --cluster or --scheduler")
    if cluster.is_made and words[:1] and words[0] in COMPANIONS:
        raise click.UsageError(f"{words[0]} runs in this process alone; leave the cluster's options out")
    given = _reference_first(list(words))
    with ExitStack() as stack:
        host = _Cluster(stack, cluster, work, part_pictures) if cluster.is_made else _Alone()
        score_group.main(given, prog_name="hqdata score", standalone_mode=False, obj=host)
    if given[:1] in (["-h"], ["--help"]):
        click.echo(f"\n{GENERATORS}\n\n{CLUSTERS}\n{_cluster_help(context)}")


def _cluster_help(context: click.Context) -> str:
    formatter = click.HelpFormatter(width=110)
    options = (parameter.get_help_record(context) for parameter in context.command.params)
    with formatter.indentation():
        formatter.write_dl([record for record in options if record])
    return formatter.getvalue().rstrip()


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


class _Alone:
    """What `metrics.command_line` may ask of us where everything is done in this process."""

    def passes(self, options: dict[str, Any]) -> None:
        """Make passes here."""

    def open(self, path: str, options: dict[str, Any]) -> Any:
        """Return a generator's pictures, or None for the usual way."""
        if not _is_generator(path):
            return None
        from gan.drawn_pictures import drawing
        from metrics.features.network_extractor import chosen_device
        from metrics.sources import open_source

        draw = _told(lambda: drawing(Path(path), device=chosen_device(options["device"])))
        limit = options["limit"] or COUNT
        return open_source(draw, limit=limit, size=options["size"], seed=options["seed"], name=path)


class _Cluster:
    """What `metrics.command_line` may ask of us where a cluster runs the networks."""

    def __init__(self, stack: ExitStack, choice: Any, work: str | None, part_pictures: int | None) -> None:
        self._stack = stack
        self._choice = choice
        self._work = work
        self._part_pictures = part_pictures
        self._passes: Any = None

    def passes(self, options: dict[str, Any]) -> Any:
        """Return what makes passes on the cluster."""
        from hqdata.storage import open_folder
        from metrics.reference_cache import default_folder
        from pipelines.score_generator import PART_PICTURES, ClusterPasses
        from pipelines.score_parts import NetworkWords

        weights = options["weights"]
        network = NetworkWords(
            extractor=options["extractor"] or USUAL,
            weights=None if weights is None else str(weights.absolute()),
            precision=options["precision"],
            protocol=options["protocol"],
        )
        self._passes = self._stack.enter_context(
            ClusterPasses(
                self._choice,
                open_folder(self._work or default_folder() / "work"),
                network=network,
                device=options["device"].split(":")[0],
                part_pictures=self._part_pictures or PART_PICTURES,
            )
        )
        return self._passes

    def open(self, path: str, options: dict[str, Any]) -> Any:
        """Return the pictures that a word stands for; None for a file of statistics, which needs no pass."""
        from metrics.evaluation_plan import statistics_of

        size, limit, seed = options["size"], options["limit"], options["seed"]
        if _is_generator(path):
            return _told(lambda: self._passes.open_generator(Path(path), size=size, limit=limit or COUNT, seed=seed))
        if statistics_of(path) is not None:
            return None
        return self._passes.open_stored(path, size=size, limit=limit, seed=seed)


def _told(call: Any) -> Any:
    from gan.checkpoint import CheckpointError

    try:
        return call()
    except CheckpointError as error:
        raise click.UsageError(str(error)) from error
