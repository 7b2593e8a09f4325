"""The commands that train a generator and use it: pictures, films, files for other programs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from torch import Tensor

    from gan.checkpoint import Snapshot
    from gan.zoo.networks import Generator
    from pipelines.train_generator import TrainSettings

__all__ = ["export", "interpolate", "sample", "timelapse", "train"]

EXIT_DIVERGED = 4
EXIT_RESUMABLE = 75

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
ANY = click.Path(path_type=Path)
CHECKPOINT = click.Path(path_type=Path, exists=True)
COUNT = click.IntRange(min=1)
MOST_SEEDS = 100_000
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


class _Number(click.FloatRange):
    """A finite number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number to count with", param, ctx)
        return number


POSITIVE = _Number(min=0, min_open=True)
NOT_NEGATIVE = _Number(min=0)

_device_option = click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
_threads_option = click.option("--threads", type=COUNT, help="Threads of the processor.  [as torch chooses]")
_label_option = click.option(
    "--label", type=click.IntRange(min=0), metavar="N", help="Class to draw, for networks with labels.  [in turn]"
)
_truncation_option = click.option(
    "--truncation",
    type=NOT_NEGATIVE,
    default=1.0,
    show_default=True,
    metavar="PSI",
    help="Below 1, for style: more alike, fewer failures.",
)
_height_option = click.option(
    "--height", type=COUNT, help="Pixels that each picture is enlarged to, a multiple of its own."
)
_frames_option = click.option("--fps", type=POSITIVE, default=30.0, show_default=True, help="Frames a second.")


class _GaveUp(click.ClickException):
    """A training that diverges again and again."""

    exit_code = EXIT_DIVERGED


class _Seeds(click.ParamType):
    """Numbers and ranges, such as 0-63,70."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        seeds: list[int] = []
        for part in value.split(","):
            first, dash, last = part.strip().partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
                self.fail(f"{part.strip()!r} is no seed and no range of seeds; write such as 0-63,70", param, ctx)
            wanted = range(int(first), int(last or first) + 1)
            if wanted[-1] >= 2**63 or len(seeds) + len(wanted) > MOST_SEEDS:
                self.fail(f"seeds must be below 2**63 and at most {MOST_SEEDS:,} at once, got {value}", param, ctx)
            seeds += wanted
        return seeds


class _Grid(click.ParamType):
    """Columns and rows, such as 4x2."""

    name = "grid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        columns, _, rows = value.partition("x")
        if not (columns.isdecimal() and rows.isdecimal() and int(columns) and int(rows)):
            self.fail(f"{value!r} is no grid; write columns x rows, such as 4x2", param, ctx)
        return int(columns), int(rows)


def _sheet_or_folder(ctx: click.Context, param: click.Parameter, value: Path) -> Path:
    if value.suffix.lower() in PICTURE_SUFFIXES:
        raise click.BadParameter(f"{value}: a sheet is written as .png, anything else is a folder", ctx, param)
    return value


def _video_path(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    from gan.video import check_video_path

    if value is not None:
        try:
            check_video_path(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from error
    return value


@click.command()
@click.argument("source", required=False, type=ANY)
@click.option("--out", "run", type=FOLDER, metavar="DIR", help="The training's folder; it resumes there.")
@click.option("--preset", "presets", multiple=True, metavar="NAME", help="Such as celebahq-1024 or sagan-128.")
@click.option("--config", "configs", multiple=True, type=FILE, metavar="FILE", help="TOML; repeatable, the last wins.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.KEY=VALUE", help="Any setting; repeatable.")
@click.option("--labels", metavar="COLUMN", help="Of the pictures, whose values become classes.")
@click.option("--resume", is_flag=True, help="Only go on, with the settings that DIR was begun with.")
@_device_option
@_threads_option
@click.option("--measures/--no-measures", default=True, help="Log distances to the pictures at every tick.  [yes]")
@click.option("--plan", is_flag=True, help="Say what the training costs, level by level, and train nothing.")
@click.option("--on", "planned", default="h200", show_default=True, metavar="GPU", help="Planned for; or this-machine.")
@click.option("--processes", type=COUNT, default=1, show_default=True, help="Planned for, a GPU each.")
@click.pass_context
def train(
    ctx: click.Context,
    source: Path | None,
    run: Path | None,
    presets: tuple[str, ...],
    configs: tuple[Path, ...],
    assignments: tuple[str, ...],
    labels: str | None,
    resume: bool,
    plan: bool,
    planned: str,
    processes: int,
    **how: Any,
) -> None:
    """Train a Progressive GAN on the pictures of SOURCE. The same command resumes, bit for bit.

    SOURCE is a run of `hqdata build`, a folder or Parquet of pictures, a .npy or .npz file of uint8 (n, c, h, w), or a
    TOML file of settings that names one as data.source. Without --preset and --config the networks have the pictures'
    size. Works under torchrun: torchrun --nproc-per-node 8 -m pipelines.cli train ...

    Exit codes: 0 done, 4 diverged, 75 stopped by SIGINT or SIGTERM with a checkpoint.
    """
    if source is not None and source.suffix == ".toml":
        configs, source = (source, *configs), None
    given = {"files": [*presets, *configs], "assignments": assignments, "source": source, "labels": labels}
    if run is None and (resume or not plan):
        raise click.UsageError("give --out DIR, the training's folder")
    if plan or run is None:
        _plan(given, run if resume else None, planned, processes)
        return
    if not _train(given, run, resume, how):
        click.echo("stopped with a checkpoint; run the same command to go on", err=True)
        ctx.exit(EXIT_RESUMABLE)
    click.echo(f"generator      {run}\nsamples        {run / 'samples'}")


def _train(given: dict[str, Any], run: Path, resume: bool, how: dict[str, Any]) -> bool:
    """Return whether the training has ended."""
    from gan.training_run import Diverged
    from pipelines.train_generator import train_generator

    settings, fitted = _settings(given, run if resume else None)
    try:
        return train_generator(settings, run, fitted=fitted, **how)
    except Diverged as error:
        raise _GaveUp(str(error)) from error


def _settings(given: dict[str, Any], resumed: Path | None) -> tuple[TrainSettings, tuple[str, ...]]:
    """Return the settings that were given, or else noted in the resumed folder, and the sizes left to the pictures."""
    from pipelines.train_generator import load_train_settings, noted_settings

    if resumed is not None:
        noted = noted_settings(resumed)
        if not (given["files"] or given["assignments"] or given["labels"]):
            return (noted.with_source(given["source"]) if given["source"] else noted), ()
    return load_train_settings(**given), _to_fit(given)


def _to_fit(given: dict[str, Any]) -> tuple[str, ...]:
    """Return which sizes of the networks nobody gave, so that the pictures decide."""
    from pipelines.train_generator import FITTED

    told = [text.partition("=")[0].strip() for text in given["assignments"]]
    return () if given["files"] else tuple(name for name in FITTED if f"networks.{name}" not in told)


def _plan(given: dict[str, Any], resumed: Path | None, device: str, processes: int) -> None:
    from gan.devices import find_device
    from gan.plan import plan_lines
    from pipelines.train_generator import open_fitting

    settings, fitted = _settings(given, resumed)
    if given["source"]:
        settings, _ = open_fitting(settings, fitted)
    for line in plan_lines(settings.gan, find_device(device), processes=processes):
        click.echo(line)


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--seeds", type=_Seeds(), default="0-63", show_default=True, help="A picture each.")
@click.option(
    "--out", type=ANY, callback=_sheet_or_folder, metavar="DIR|FILE.png", default="samples.png", show_default=True
)
@_label_option
@_truncation_option
@click.option("--columns", type=COUNT, help="Pictures in a row of a FILE.")
@_height_option
@_device_option
@_threads_option
def sample(
    checkpoint: Path,
    seeds: list[int],
    out: Path,
    label: int | None,
    truncation: float,
    columns: int | None,
    height: int | None,
    **on: Any,
) -> None:
    """Draw pictures: all on one sheet as FILE.png, or each as a PNG of its own in DIR.

    CHECKPOINT is a training's folder, one of its checkpoints, or a .safetensors file of a generator. A seed always
    gives the same picture on the same device.
    """
    from gan.sample import generate, latents_of, picture_png, sheet
    from hqdata.atomic import write_bytes
    from hqdata.png import encode_png

    on_a_sheet = out.suffix.lower() == ".png"
    if not on_a_sheet and (columns or height):
        raise click.UsageError(f"--columns and --height are of a sheet; name it FILE.png, got the folder {out}")
    snapshot, generator = _opened(checkpoint, on, truncation)
    labels = _labels(generator, label, len(seeds))
    latents = latents_of(seeds, generator.shape.latent)
    images = generate(generator, latents, labels, level=snapshot.level, fade=snapshot.fade, truncation=truncation)
    if on_a_sheet:
        write_bytes(out, encode_png(sheet(images, columns=columns, height=height)))
    else:
        for seed, image in zip(seeds, images, strict=True):
            write_bytes(out / f"seed{seed:06d}.png", picture_png(image))
    click.echo(f"{len(seeds)} pictures of {_size(generator, snapshot.level)} px  {out}")


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--out", type=FILE, callback=_video_path, default="interpolation.mp4", show_default=True)
@click.option("--seconds", type=POSITIVE, default=20.0, show_default=True, help="Length of the loop.")
@_frames_option
@click.option("--smoothing", type=NOT_NEGATIVE, default=1.0, show_default=True, help="Of the walk, in seconds.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the walk.")
@click.option(
    "--seeds", type=_Seeds(), help="Instead of --seed, --smoothing and --grid: from each seed's picture to the next."
)
@click.option("--grid", type=_Grid(), default="4x2", show_default=True, metavar="CxR", help="Walks side by side.")
@_label_option
@_truncation_option
@_height_option
@_device_option
@_threads_option
def interpolate(
    checkpoint: Path,
    out: Path,
    seconds: float,
    fps: float,
    smoothing: float,
    seed: int,
    seeds: list[int] | None,
    grid: tuple[int, int],
    label: int | None,
    truncation: float,
    height: int | None,
    **on: Any,
) -> None:
    """Film a closed walk through the latents, as .mp4, .gif or .apng.

    CHECKPOINT is as for `hqdata sample`. Latents are smoothed in time and kept on the sphere.
    """
    from gan.sample import latents_of
    from gan.video import write_video
    from gan.walk import draw_walk, smoothed_walk, walk_between

    snapshot, generator = _opened(checkpoint, on, truncation)
    frames, columns = max(2, round(seconds * fps)), grid[0]
    if seeds:
        walk = walk_between(latents_of(seeds, generator.shape.latent), max(1, round(frames / len(seeds))))
        columns = 1
    else:
        walkers = grid[0] * grid[1]
        walk = smoothed_walk(frames, walkers, generator.shape.latent, smoothing_frames=smoothing * fps, seed=seed)
    labels = _labels(generator, label, walk.shape[1])
    pictures = draw_walk(
        generator,
        walk,
        labels,
        level=snapshot.level,
        fade=snapshot.fade,
        truncation=truncation,
        columns=columns,
        height=height,
    )
    write_video(out, pictures, frames_a_second=fps)
    click.echo(f"{len(walk)} frames  {out}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=FILE, callback=_video_path, help="Film to write.  [default: RUN/timelapse.mp4]")
@click.option("--seconds", type=POSITIVE, default=20.0, show_default=True, help="Length of the film.")
@_frames_option
@click.option("--warp", type=POSITIVE, default=1.5, show_default=True, help="Above 1 it lingers on the beginning.")
def timelapse(run: Path, out: Path | None, seconds: float, fps: float, warp: float) -> None:
    """Film a training from the sheets in RUN, as .mp4, .gif or .apng; it may still be going on."""
    from gan.timelapse import find_samples, time_lapse
    from gan.video import write_video

    samples = find_samples(run)
    out = out or run / "timelapse.mp4"
    write_video(out, time_lapse(run, seconds=seconds, frames_a_second=fps, warp=warp), frames_a_second=fps)
    click.echo(f"{len(samples)} sheets, {samples[-1].images / 1000:.1f} kimg  {out}")


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.option(
    "--to",
    "kind",
    required=True,
    type=click.Choice(["safetensors", "torch-export", "onnx"]),
    help="Weights for this package; a torch program for any batch; or ONNX (the extra [onnx]).",
)
@click.option("--out", type=FILE, help="[generator.safetensors, .pt2 or .onnx]")
def export(checkpoint: Path, kind: Any, out: Path | None) -> None:
    """Write a generator for other programs, after comparing what the file draws.

    CHECKPOINT is as for `hqdata sample`.
    """
    from gan.checkpoint import load_snapshot
    from gan.export import SUFFIXES, export_generator

    path = out or Path(f"generator{SUFFIXES[kind]}")
    if path.suffix != SUFFIXES[kind]:
        raise click.UsageError(f"--out: the name of a {kind} file must end in {SUFFIXES[kind]}, got {path}")
    parity = export_generator(load_snapshot(checkpoint), path, kind)
    click.echo(f"greatest difference {parity.greatest:.3g} with {parity.checked_with}, allowed {parity.allowed:g}")
    click.echo(f"exported       {path}")


def _opened(checkpoint: Path, on: dict[str, Any], truncation: float) -> tuple[Snapshot, Generator]:
    """Return a snapshot, and its generator on the device that was asked for, if it can draw so."""
    import torch

    from gan.checkpoint import load_snapshot
    from hqdata.training.machine import choose_machine

    if on["threads"]:
        torch.set_num_threads(on["threads"])
    snapshot = load_snapshot(checkpoint)
    if truncation != 1.0 and not snapshot.generator.truncates:
        owner = snapshot.generator.shape.architecture
        raise click.UsageError(f"--truncation {truncation:g}: {owner} has no styles to truncate; leave it out")
    return snapshot, snapshot.generator.to(choose_machine(on["device"]).device)


def _labels(generator: Generator, label: int | None, count: int) -> Tensor | None:
    """Return one-hot rows: of one class, or of all in turn; None for networks without labels."""
    import torch

    classes = generator.shape.labels
    if label is not None and label >= classes:
        known = f"there are {classes}, from 0" if classes else "the networks have none"
        raise click.UsageError(f"--label {label}: {known}")
    if not classes:
        return None
    chosen = torch.arange(count) % classes if label is None else torch.full((count,), label)
    return torch.eye(classes)[chosen]


def _size(generator: Generator, level: int) -> str:
    height, width = generator.shape.size(level)
    return f"{width} x {height}"
