"""`hqdata import`: generators trained with other people's code, as files of ours."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["import_generator"]


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.safetensors",
    help="The file to write; `hqdata sample` and the other commands take it.",
)
def import_generator(file: Path, out: Path) -> None:
    """Turn a generator of other ProGAN code into a safetensors file.

    FILE is a network pickle of the authors' TensorFlow code, or a .pth checkpoint of pytorch_GAN_zoo; the running
    average is taken where there is one. Nothing that the file holds is run: it is read as data or refused.
    """
    if out.suffix != ".safetensors":
        raise click.BadParameter(f"must end in .safetensors, got {out.name}", param_hint="--out")
    from gan.checkpoint import save_generator
    from gan.importing import import_file

    imported = import_file(file)
    save_generator(out, imported.generator, level=imported.level, fade=imported.fade, images=0)
    shape = imported.generator.shape
    fading = f", {imported.fade:.0%} faded in" if imported.fade < 1 else ""
    click.echo(f"generator  {shape.resolution} px, {shape.channels} channels, of {imported.origin}")
    click.echo(f"stood at   {1 << imported.level} px{fading}")
    click.echo(f"written    {out}")
