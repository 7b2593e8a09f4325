"""`hqdata bench-restoration`: judge the networks on clean pictures. Registered by `pipelines.cli`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.bench_restoration import Contestants
    from pipelines.judge_pictures import PictureSet
    from pipelines.judge_report import JudgeReport

__all__ = ["bench_restoration"]

REALESRGAN = "realesrgan-x4plus"

_folder = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("bench-restoration")
@click.option("--sets", type=_folder, metavar="DIR", help="Folder of folders of clean pictures, each one a set.")
@click.option("--photos", type=_folder, multiple=True, metavar="FOLDER", help="One set of clean pictures; repeatable.")
@click.option("--restorer", metavar="NAME|FILE", help="Stage 1.  [default: dejpeg-small]")
@click.option("--generator", multiple=True, metavar="NAME|FILE", help="Stage 2; repeatable.  [default: sr4-small]")
@click.option("--with-realesrgan", is_flag=True, help="Also measure RealESRGAN_x4plus; slow without a GPU.")
@click.option("--only", type=click.Choice(["restoration", "enlargement"]), help="Measure half of it.")
@click.option("--limit", type=click.IntRange(min=1), help="Pictures a set, the first by name.  [default: all]")
@click.option("--device", default="cpu", show_default=True, help="Where the networks run, as torch names it.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write every figure here.")
@click.option("--sheet", type=click.Path(path_type=Path, file_okay=False), help="Folder for pictures to look at.")
def bench_restoration(
    sets: Path | None,
    photos: tuple[Path, ...],
    only: str | None,
    limit: int | None,
    json_file: Path | None,
    sheet: Path | None,
    **networks: Any,
) -> None:
    """Measure restoration and enlargement on clean pictures, each beside its baseline.

    Without --sets and --photos, scikit-image's photos are measured. Pictures that cannot be used are named and skipped.
    """
    from hqdata.atomic import write_json
    from pipelines.judge_sheets import JudgeSheets

    chosen = _sets(sets, photos)
    report = _open_report(networks)
    sheets = JudgeSheets() if sheet else None
    tasks = ("restoration", "enlargement") if only is None else (only,)
    for pictures in chosen:
        _measure(pictures, report, sheets, tasks=tasks, limit=limit)
    if json_file:
        write_json(json_file, report.to_json())
    written = sheets.write(sheet) if sheets and sheet else []
    for line in (*report.lines(), *(f"sheet  {path}" for path in written)):
        click.echo(line)
    unusable = [figures.pictures.name for figures in report.sets if not figures.rows]
    if unusable:
        raise click.ClickException(f"no picture of {', '.join(unusable)} could be measured; the reasons are above")


def _sets(sets: Path | None, photos: tuple[Path, ...]) -> list[PictureSet]:
    from pipelines.judge_pictures import bundled_photos, folder_set, sets_under

    if sets is None and not photos:
        return [bundled_photos()]
    under = _asked("--sets", lambda: sets_under(sets)) if sets else []
    chosen = [*under, *(_asked("--photos", lambda folder=folder: folder_set(folder)) for folder in photos)]
    names = [pictures.name for pictures in chosen]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise click.UsageError(f"several sets are called {', '.join(sorted(twice))}; rename the folders")
    return chosen


def _open_report(networks: dict[str, Any]) -> JudgeReport:
    from metrics import features
    from pipelines.judge_report import JudgeReport

    extractor, without = None, None
    try:
        extractor = features.extractor("squeezenet1.1", device=networks["device"])
    except features.MissingWeights as error:
        without = str(error)
    return JudgeReport(contestants=_contestants(networks, extractor), without_perceptual=without)


def _contestants(networks: dict[str, Any], extractor: Any) -> Contestants:
    from hqdata import restore, upscale
    from pipelines.bench_restoration import FACTOR, Contestants

    device = networks["device"]
    restorer = networks["restorer"] or restore.DEFAULT
    wanted = networks["generator"] or (upscale.DEFAULT,)
    generators = {}
    for name in (*wanted, REALESRGAN) if networks["with_realesrgan"] else wanted:
        option = "--with-realesrgan" if name == REALESRGAN else "--generator"
        generator = _asked(option, lambda name=name: upscale.load(name, device))
        if generator.scale != FACTOR:
            raise click.UsageError(f"--generator: {name} enlarges {generator.scale} times, but {FACTOR} are measured")
        if _label(name) in generators:
            raise click.UsageError(f"--generator: two are called {_label(name)}; rename a file")
        generators[_label(name)] = generator
    return Contestants(
        restorer=_asked("--restorer", lambda: restore.load(restorer, device)),
        restorer_label=_label(restorer),
        generators=generators,
        extractor=extractor,
    )


def _measure(
    pictures: PictureSet, report: JudgeReport, sheets: Any, *, tasks: tuple[str, ...], limit: int | None
) -> None:
    """Run one set, picture by picture; one that a network refuses is named like one that cannot be read."""
    from hqdata.record import Dropped, Refused
    from pipelines.bench_restoration import enlarged_cases, restored_cases
    from pipelines.judge_report import SetFigures

    measures = {"restoration": restored_cases, "enlargement": enlarged_cases}
    figures = SetFigures(pictures=pictures)
    report.sets.append(figures)
    for picture in pictures.pictures(limit):
        try:
            cases = [case for task in tasks for case in measures[task](picture, report.contestants)]
        except Refused as error:
            pictures.skipped.append(Dropped(id=picture.name, source=picture.name, stage=error.stage, reason=str(error)))
            continue
        for case in cases:
            figures.add(case)
            if sheets is not None:
                sheets.add(pictures.name, case)


def _asked(option: str, load: Callable[[], Any]) -> Any:
    """Return what `load` gives; what is wrong with an option's value is wrong use."""
    try:
        return load()
    except ValueError as error:
        raise click.UsageError(f"{option}: {error}") from error


def _label(name_or_path: str) -> str:
    return Path(name_or_path).name.removesuffix(".safetensors").removesuffix(".pth")
