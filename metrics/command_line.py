"""`python -m metrics REFERENCE GENERATED` and its companions `stats`, `doctor` and `cache`; `hqdata score` is the same.

Results go to stdout, progress to stderr. Exit codes: 0 done; 1 the doctor found something broken; 2 wrong use or
pictures that cannot be measured; 3 weights or an optional package are missing. Nothing here touches the network.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    from metrics.set_reading import PassMaker
    from metrics.sources.source import ImageSource

__all__ = ["Host", "main", "score_group"]

USUAL = "inception-fid"
EXIT_BROKEN = 1
EXIT_WRONG_USE = 2
EXIT_MISSING = 3


class Host(Protocol):
    """Whoever embeds this command, as the object of click's context: can do more than it does alone."""

    def passes(self, options: dict[str, Any]) -> PassMaker | None:
        """Return what makes the passes over both sets, which is asked first; None for this process."""
        ...

    def open(self, path: str, options: dict[str, Any]) -> ImageSource | None:
        """Return the pictures that a word stands for; None for the usual way."""
        ...


def main() -> None:
    """Run the command line and exit with its code."""
    score_group.main(prog_name="python -m metrics")


class _ScoreByDefault(click.Group):
    """A group whose first word may be a set of pictures: it is then the command `score`, which need not be said."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names or args[0] == "--version")
        return super().parse_args(ctx, args if named or not args else ["score", *args])

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["REFERENCE GENERATED [OPTIONS]..."]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show what `score` takes, since its name is seldom written."""
        score = self.commands["score"]
        score.format_options(click.Context(score, parent=ctx, info_name="score"), formatter)
        self.format_commands(ctx, formatter)


@click.group(
    cls=_ScoreByDefault,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="progan-hq")
def score_group() -> None:
    """Measure how far generated pictures are from reference pictures.

    REFERENCE and GENERATED are folders, globs, .zip or .npz archives, or finished run folders; REFERENCE may be a file
    of statistics (mu and sigma). A folder called like a command below is written ./stats.

    Exit codes: 0 done, 1 the doctor found something broken, 2 wrong use or unusable pictures, 3 missing weights.
    """


def _network_options(command: Any) -> Any:
    """Options of every command that runs a network over pictures."""
    options = [
        click.option("--extractor", metavar="NAME", help="The network.  [default: inception-fid]"),
        click.option("--weights", type=click.Path(path_type=Path), metavar="FILE", help="Its file; else $HQ_WEIGHTS."),
        click.option("--protocol", default="tf1", show_default=True, metavar="NAME", help="How Inception is fed."),
        click.option(
            "--precision",
            type=click.Choice(["float32", "bfloat16"]),
            default="float32",
            show_default=True,
            help="What the network computes in; bfloat16 moves the figures.",
        ),
        click.option("--device", default="auto", show_default=True, help="As torch names it."),
        click.option("--batch-size", default="auto", show_default=True, metavar="N", help="Pictures at a time."),
        click.option("--size", type=click.IntRange(min=1), metavar="PX", help="Bring all pictures to this side first."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Draw so many pictures of each set."),
        click.option("--seed", default=0, show_default=True, help="Equal seeds give equal figures."),
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@score_group.command()
@click.argument("reference", metavar="REFERENCE")
@click.argument("generated", metavar="GENERATED")
@click.option("-m", "--metrics", metavar="LIST", help="Comma-separated, such as fid,swd.  [default: all that can be]")
@_network_options
@click.option("--ci", type=float, metavar="LEVEL", help="Give intervals of this level, such as 0.95.")
@click.option("--cache", default="auto", show_default=True, metavar="auto|none|DIR", help="Of reference statistics.")
@click.option("--json", "json_file", metavar="FILE", help="Write the report here; - is stdout, instead of the table.")
@click.option("--plot", metavar="FILE", help="Draw the report here (matplotlib).")
def score(
    reference: str,
    generated: str,
    metrics: str | None,
    ci: float | None,
    cache: str,
    json_file: str | None,
    plot: str | None,
    **network: Any,
) -> None:
    """Compare two sets of pictures; the command when none is named."""
    with _sentences():
        _check_outputs(json_file, plot)
        if plot:
            from metrics.plots import check_plot_path

            check_plot_path(plot)
        from metrics.evaluation import evaluate
        from metrics.whole_files import whole_file

        host: Host | None = click.get_current_context().obj
        passes = host.passes(network) if host else None
        with _progress(network["quiet"]) as progress:
            report = evaluate(
                reference=_pictures(reference, network),
                generated=_pictures(generated, network),
                metrics=None if metrics is None else _words(metrics),
                **_network(network if passes is None else {**network, "device": _device_here(network["device"])}),
                seed=network["seed"],
                ci=ci,
                cache=None if cache == "none" else cache,
                progress=progress,
                passes=passes,
            )
        if json_file and json_file != "-":
            with whole_file(Path(json_file)) as file:
                file.write(report.to_json().encode())
        if plot:
            report.plot(plot)
        click.echo(report.to_json() if json_file == "-" else str(report), nl=json_file != "-")


@score_group.command()
@click.argument("source", metavar="SOURCE")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="An .npz file.")
@_network_options
def stats(source: str, output: Path, **network: Any) -> None:
    """Write mean and covariance of a set's features, as pytorch-fid and clean-fid read them too."""
    with _sentences():
        _check_outputs(str(output))
        from metrics.reference_statistics import write_statistics

        with _progress(network["quiet"]) as progress:
            count = write_statistics(
                _pictures(source, network),
                output,
                **_network({**network, "extractor": network["extractor"] or USUAL}),
                progress=progress,
            )
        click.echo(f"{output}: mean and covariance of {count:,} pictures")


@score_group.command()
def doctor() -> None:
    """Say what is installed and found, and check sums whose results are known; takes two seconds."""
    from metrics.doctor import examine

    broken = 0
    for finding in examine():
        broken += finding.broken
        click.echo(f"{'BROKEN' if finding.broken else '      '} {finding.what:<32} {finding.found}")
    if broken:
        click.echo(f"{broken} broken", err=True)
        sys.exit(EXIT_BROKEN)


@score_group.command()
@click.option("--clear", is_flag=True, help="Delete every entry.")
@click.option("--folder", default="auto", metavar="auto|DIR", help="Another folder than the usual.")
def cache(clear: bool, folder: str) -> None:
    """Show the cache of reference statistics; $HQ_CACHE moves it, $HQ_CACHE_LIMIT (bytes) bounds it."""
    with _sentences():
        from metrics.reference_cache import open_cache

        opened = open_cache(folder)
        assert opened is not None
        if clear:
            click.echo(f"{opened.folder}: {opened.clear()} entries deleted")
            return
        click.echo(
            f"{opened.folder}: {len(opened.entries())} entries, {opened.size_bytes() / 2**20:.1f} MiB of at most"
            f" {opened.limit_bytes / 2**20:.0f} MiB"
        )


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what callers can set right into one sentence and its exit code; anything else is a bug and shows itself."""
    try:
        yield
    except click.ClickException:
        raise
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        raise _Failure(str(error) or type(error).__name__, code) from error


class _Failure(click.ClickException):
    """A sentence with its own exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # pyright: ignore[reportAttributeAccessIssue]


def _exit_code(error: Exception) -> int | None:
    from metrics.features import MissingWeights

    if isinstance(error, MissingWeights | ModuleNotFoundError):
        return EXIT_MISSING
    return EXIT_WRONG_USE if isinstance(error, ValueError | TypeError | OSError) else None


def _check_outputs(*files: str | None) -> None:
    """Refuse before hours of work what could not be written after them."""
    for file in files:
        if file and file != "-" and not Path(file).absolute().parent.is_dir():
            raise click.UsageError(f"{file}: there is no folder {Path(file).parent} to write to; make it first")


def _pictures(path: str, options: dict[str, Any]) -> Any:
    """Return the path, or the source that its host, or --size and --limit, make of it."""
    host: Host | None = click.get_current_context().obj
    opened = host.open(path, options) if host else None
    if opened is not None:
        return opened
    if options["size"] is None and options["limit"] is None:
        return path
    from metrics.sources.opening import open_source

    return open_source(path, size=options["size"], limit=options["limit"], seed=options["seed"])


def _network(options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments extractor, protocol, device and batch_size.

    The network is opened here where more is asked of it than its name can say; by its name it may not be needed at all.
    """
    asked = {"extractor": options["extractor"], "protocol": options["protocol"], "device": options["device"]}
    if options["weights"] is not None or options["precision"] != "float32":
        from metrics.features import extractor

        names = ("weights", "precision", "protocol", "device")
        opened = extractor(options["extractor"] or USUAL, **{name: options[name] for name in names})
        asked = {"extractor": opened, "device": options["device"]}
    return {**asked, "batch_size": _batch_size(options["batch_size"])}


def _device_here(device: str) -> str:
    """Return where this process computes figures, when others run the networks on a device that it may not have."""
    return "cpu" if device == "cpu" else "auto"


def _batch_size(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdigit() or int(text) == 0:
        raise click.BadParameter(f"must be auto or a positive number, got {text!r}", param_hint="--batch-size")
    return int(text)


def _words(text: str) -> list[str]:
    return [word.strip().lower().replace("-", "_") for word in text.split(",") if word.strip()]


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield what prints "reference 320/2000" over itself on a terminal; nothing where stderr is a file."""
    if quiet or not _on_terminal():
        yield None
        return
    yield _show
    click.echo(f"\r{'':<40}\r", nl=False, err=True)


def _on_terminal() -> bool:
    return sys.stderr.isatty()


def _show(part: str, done: int, total: int | None) -> None:
    of = f"/{total:,}" if total is not None else ""
    click.echo(f"\r{part} {done:,}{of}".ljust(40), nl=False, err=True)
