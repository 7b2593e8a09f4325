"""The command `hqdata`. Sub-commands import what they need when they run, so that `--help` answers at once.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 finished but a larger share of the photos than `run.quarantine_limit` was
quarantined or failed by no fault of theirs, 4 a training diverged, 75 interrupted and resumable.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from pipelines.cli_cluster import cluster_group, cluster_options
from pipelines.cli_doctor import doctor
from pipelines.cli_gan import export, interpolate, sample, timelapse, train
from pipelines.cli_gan_import import import_generator
from pipelines.cli_judge import bench_restoration
from pipelines.cli_operations import OPERATIONS, tell_summary
from pipelines.cli_score import score
from pipelines.cli_train import blend_weights, train_restorer, train_upscaler

__all__ = ["main"]

EXIT_FAILED = 1
EXIT_WRONG_USE = 2
EXIT_RESUMABLE = 75


def main() -> NoReturn:
    """Run the command line and end the process with its code. Inside another program, call `run`."""
    try:
        run()
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else EXIT_FAILED if end.code else 0)


def _leave(code: int) -> NoReturn:
    """End the process as Python does, but without the last step, in which libraries' own threads are torn down.

    Where a command ends at once, as `verify` of a damaged run does, some of them were still starting then, and one time
    in four on busy cores the process was aborted instead of exiting with its code.
    """
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or EXIT_FAILED  # a closed pipe or a full disk: what was printed is lost
    os._exit(code)


def run() -> NoReturn:
    """Run the command line of `sys.argv`; raise SystemExit with its code (an interrupt ends the process itself)."""
    _open_closed_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    for room in ("gan", "hqdata", "metrics", "pipelines"):
        logging.getLogger(room).setLevel(logging.INFO)
    try:
        sys.exit(cli.main(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("hqdata: interrupted; finished work is kept, run the same command to go on", err=True)
        os._exit(EXIT_RESUMABLE)  # a cluster interrupted while it starts would print tracebacks at a normal exit
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        _fail(_sentence(error), _exit_code(error), error)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="progan-hq")
def cli() -> None:
    """Build high-quality face data sets the CelebA-HQ way, train GANs on them, and measure what these learned."""


def _build_options(command: Any) -> Any:
    """Options that `build` and `plan` share; every one of them is also a key of the config."""
    options = [
        click.option("--source", "root", metavar="DIR", help="Folder or URL of photos."),
        click.option(
            "--out", "run", required=True, metavar="RUN", help="The run: a folder, or URL as s3://bucket/run."
        ),
        click.option("--kind", type=click.Choice(["auto", "celeba", "photos"]), help="Layout of the source."),
        click.option("--count", type=int, help="Faces to keep.  [default: 30000]"),
        click.option("--where", metavar="EXPR", help="Only faces with this, such as 'score > 20 and Male == 1'."),
        click.option("--size", type=int, help="Side of the crops in pixels, a power of two.  [default: 1024]"),
        click.option("--landmarks", type=click.Choice(["auto", "annotations", "mtcnn"]), help="How faces are found."),
        click.option("--faces", type=click.Choice(["all", "largest"]), help="Which faces of a photo.  [default: all]"),
        click.option("--min-face", type=float, help="Smallest crop side in photo pixels.  [default: 40]"),
        click.option("--restore", type=click.Choice(["needed", "always", "never"]), help="When to clean up JPEG."),
        click.option("--upscale", type=click.Choice(["needed", "always", "never"]), help="When to enlarge four times."),
        click.option("--restore-weights", metavar="FILE", help="Other restorer: a file or a name of `hqdata weights`."),
        click.option("--upscale-weights", metavar="FILE", help="Other upscaler: a file or a name of `hqdata weights`."),
        click.option("--mode", type=click.Choice(["accurate", "fast", "exact"]), help="How crops are resampled."),
        click.option("--allow-subset", is_flag=True, default=None, help="Accept an incomplete CelebA folder."),
        click.option("--workers", type=int, help="As --local N; 0 is one a core."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="What all workers compute on."),
        click.option(
            "--config",
            "files",
            type=click.Path(path_type=Path),
            multiple=True,
            help="TOML file, or demo or celebahq; repeatable.",
        ),
        click.option(
            "--set", "assignments", metavar="SECTION.KEY=VALUE", multiple=True, help="Any setting; repeatable."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


cli.add_command(bench_restoration)
cli.add_command(cluster_group)
cli.add_command(train_restorer)
cli.add_command(train_upscaler)
cli.add_command(blend_weights)
cli.add_command(score)
cli.add_command(doctor)
cli.add_command(import_generator)
for command in (train, sample, interpolate, timelapse, export, *OPERATIONS):
    cli.add_command(command)


def _existing_run(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuse a folder that is not there; a URL is asked when it is read."""
    if "://" not in value:
        click.Path(exists=True, file_okay=False).convert(value, parameter, context)
    return value


@cli.command()
@_build_options
@cluster_options
@click.option("--unlock", is_flag=True, help="Take the run from a driver that is gone but could not let go of it.")
def build(run: str, cluster: Any, unlock: bool, **options: Any) -> int:
    """Build a data set: photos in, the best face crops out. The same command resumes."""
    from pipelines.build_dataset import build_dataset

    return tell_summary(build_dataset(_config(options), run, cluster, steal_lock=unlock), run)


@cli.command()
@_build_options
@cluster_options
@click.option("--pilot", type=click.IntRange(min=1), metavar="N", help="Score N photos first, to measure their cost.")
def plan(run: str, cluster: Any, pilot: int | None, **options: Any) -> None:
    """Say what `build` would do: counts, chunks, storage, time, what is redone and why. Writes nothing.

    With --pilot it scores N photos where the options of a cluster say, and keeps their rows for the build.
    """
    from pipelines.plan import plan_build

    config = _config(options)
    if pilot is not None:
        from pipelines.pilot import score_pilot

        config = score_pilot(config, run, cluster, photos=pilot)
    elif cluster.is_made:
        raise click.UsageError("a plan computes nothing; give --pilot N too, to measure photos on that cluster")
    for line in plan_build(config, run).lines():
        click.echo(line)


def _problems_with(run: str, cluster: Any, *, deep: bool) -> Any:
    if cluster.is_made:
        from pipelines.verify_on_cluster import verify_on_cluster

        return verify_on_cluster(run, cluster, deep=deep)
    from hqdata.shards import verify_run

    return verify_run(run, deep=deep)


@cli.command()
@click.argument("run", callback=_existing_run)
@click.option("--deep", is_flag=True, help="Decode every picture too.")
@cluster_options
def verify(run: str, deep: bool, cluster: Any) -> None:
    """Check a finished run: checksums, counts, readable files; in this process, unless an option says where."""
    problems = _problems_with(run, cluster, deep=deep)
    for problem in problems:
        click.echo(f"{problem.path}: {problem.what}", err=True)
    if problems:
        raise click.ClickException(f"{len(problems)} problems in {run}")
    click.echo(f"{run} is whole")


@cli.command()
@click.argument("run", callback=_existing_run)
@click.option(
    "--truth", type=click.Path(path_type=Path, exists=True), help="The demo source's truth file to compare with."
)
def inspect(run: str, truth: Path | None) -> None:
    """Summarise a run: settings, counts, scores, reasons for drops."""
    from pipelines.inspect_run import inspect_run

    for line in inspect_run(run):
        click.echo(line)
    if truth is not None:
        from pipelines.demo_truth import compare_with_truth

        for line in compare_with_truth(run, truth).lines():
            click.echo(line)


@cli.command()
def weights() -> None:
    """List the networks that --restore-weights and --upscale-weights can name."""
    from pipelines.list_weights import list_weights

    for line in list_weights():
        click.echo(line)


@cli.command("demo-source")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--photos", "num_photos", default=200, show_default=True, help="Photos to make.")
@click.option("--seed", default=0, show_default=True, help="Equal seeds give equal photos.")
def demo_source(folder: Path, num_photos: int, seed: int) -> None:
    """Write a small CelebA-like folder made from one public-domain portrait, with a truth file."""
    from hqdata.sources.demo import write_demo_source

    truth = write_demo_source(folder, num_photos=num_photos, seed=seed)
    click.echo(f"photos  {folder}\ntruth   {truth}")


def _config(options: dict[str, Any]) -> Any:
    from pipelines.config import load_config

    return load_config(
        options["files"],
        options["assignments"],
        source={"root": options["root"], "kind": options["kind"], "allow_subset": options["allow_subset"]},
        landmarks={
            "provider": options["landmarks"],
            "faces": options["faces"],
            "min_face_px": options["min_face"],
        },
        restore={"when": options["restore"], "weights": options["restore_weights"]},
        upscale={"when": options["upscale"], "weights": options["upscale_weights"]},
        align={"size": options["size"], "mode": options["mode"]},
        select={"count": options["count"], "where": options["where"]},
        run={"workers": options["workers"], "device": options["device"]},
    )


def _open_closed_streams() -> None:
    """Give a command that was started without output (`2>&-`) one that keeps nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _exit_code(error: Exception) -> int:
    from hqdata.settings import ConfigError
    from hqdata.sources import SourceError
    from pipelines.stopping import SchedulerLost

    if isinstance(error, SchedulerLost):
        return EXIT_RESUMABLE
    return EXIT_WRONG_USE if isinstance(error, (ConfigError, SourceError)) else EXIT_FAILED


def _sentence(error: Exception) -> str:
    return str(error) or type(error).__name__


def _fail(message: str, code: int, error: Exception | None = None) -> NoReturn:
    logging.getLogger(__name__).debug("traceback", exc_info=error)
    click.echo(f"hqdata: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
