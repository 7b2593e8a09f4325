"""What `hqdata bench-restoration` found, as a table to read and as JSON to keep."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import PIL
import torch

from pipelines.bench_restoration import BORDER, CEILING_DB, SHIFT, Case, Contestants, Scores
from pipelines.judge_pictures import LARGEST, PictureSet

__all__ = ["JudgeReport", "SetFigures"]

PERCEPTUAL = "perceptual distance"
PROTOCOL = {
    "psnr_y": "dB on MATLAB's luma (16..235) with a peak of 255; grey pictures: on their plane",
    "ssim_y": "Wang et al. 2004 on the same plane: 11x11 Gaussian of 1.5, windows inside the picture, range 255",
    "psnr_rgb": "dB over red, green and blue; colour pictures only",
    "ceiling": f"PSNR counts up to {CEILING_DB:g} dB, so that equal pictures can be averaged",
    "restoration": f"Pillow's JPEG with halved colour planes; the second grid of jpeg10+50 is moved by {SHIFT} pixels",
    "enlargement": f"made 4 times smaller by Pillow's bicubic filter; {BORDER} edge pixels are left out",
    "size": f"pictures are cut to their middle {LARGEST} x {LARGEST} pixels where they are larger",
}
Means = dict[str, float | None]
Tree = dict[str, dict[str, dict[str, Means]]]
"""By task, damage and method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One picture, damage and method; images are not kept."""

    task: str
    damage: str
    picture: str
    method: str
    grey: bool
    jpeg_original: bool
    scores: Scores
    gain: float | None
    """Luma PSNR above the baseline's in dB; None for the baseline itself."""


@dataclass(slots=True, kw_only=True)
class SetFigures:
    """All rows of one set."""

    pictures: PictureSet
    rows: list[Row] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Keep a case's numbers."""
        baseline = case.scores[case.baseline].psnr_y
        for method, scores in case.scores.items():
            gain = None if method == case.baseline else scores.psnr_y - baseline
            self.rows.append(
                Row(
                    task=case.task,
                    damage=case.damage,
                    picture=case.picture,
                    method=method,
                    grey=case.grey,
                    jpeg_original=case.jpeg_original,
                    scores=scores,
                    gain=gain,
                )
            )

    def num_pictures(self, *, grey: bool | None = None) -> int:
        """Return how many pictures were measured, all or those that are (not) grey."""
        return len({row.picture for row in self.rows if grey in (None, row.grey)})

    def jpeg_originals(self) -> list[str]:
        """Return the pictures that were JPEGs before they were taken as truth."""
        return sorted({row.picture for row in self.rows if row.jpeg_original})

    def means(self, *, without_jpeg_originals: bool = False) -> Tree:
        """Return mean scores by task, damage and method, in the order of measuring."""
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            if not (without_jpeg_originals and row.jpeg_original):
                groups.setdefault((row.task, row.damage, row.method), []).append(row)
        tree: Tree = {}
        for (task, damage, method), rows in groups.items():
            tree.setdefault(task, {}).setdefault(damage, {})[method] = _means(rows)
        return tree


@dataclass(slots=True, kw_only=True)
class JudgeReport:
    """The figures of all sets, with who was judged and how."""

    contestants: Contestants
    sets: list[SetFigures] = field(default_factory=list)
    without_perceptual: str | None = None
    """Why there is no perceptual distance."""

    def to_json(self) -> dict[str, Any]:
        """Return everything: protocol, networks, versions, means and every picture's scores."""
        perceptual = self.without_perceptual or f"{PERCEPTUAL} ({_extractor(self.contestants)})"
        return {
            "protocol": {**PROTOCOL, "perceptual": perceptual},
            "networks": _networks(self.contestants),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "pillow": PIL.__version__,
            },
            "sets": {figures.pictures.name: _set_json(figures) for figures in self.sets},
        }

    def lines(self) -> Iterator[str]:
        """Yield the table."""
        for figures in self.sets:
            yield from _set_lines(figures)
        yield ""
        yield f"PSNR Y: {PROTOCOL['psnr_y']}; it {PROTOCOL['ceiling'][5:]}."
        if self.without_perceptual:
            yield f"No perceptual distance: {self.without_perceptual}."
        else:
            yield f"Distance: {PERCEPTUAL} ({_extractor(self.contestants)}), lower is nearer."


def _means(rows: Sequence[Row]) -> Means:
    gains = [row.gain for row in rows if row.gain is not None]
    worst = min((row for row in rows if row.gain is not None), key=lambda row: row.gain or 0.0, default=None)
    figures = {
        key: _mean([value for row in rows if (value := getattr(row.scores, key)) is not None])
        for key in ("psnr_y", "ssim_y", "psnr_rgb", "perceptual")
    }
    return {**figures, "gain": _mean(gains), "worst_gain": None if worst is None else worst.gain}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _extractor(contestants: Contestants) -> str:
    return "none" if contestants.extractor is None else contestants.extractor.name


def _networks(contestants: Contestants) -> dict[str, dict[str, str]]:
    networks = {contestants.restorer_label: contestants.restorer, **contestants.generators}
    return {label: {"name": network.name, "sha256": network.sha256} for label, network in networks.items()}


def _set_json(figures: SetFigures) -> dict[str, Any]:
    return {
        "pictures": figures.num_pictures(),
        "grey": figures.num_pictures(grey=True),
        "skipped": {dropped.id: dropped.reason for dropped in figures.pictures.skipped},
        "jpeg_originals": figures.jpeg_originals(),
        "means": figures.means(),
        "means_without_jpeg_originals": figures.means(without_jpeg_originals=True),
        "rows": [asdict(row) for row in figures.rows],
    }


def _set_lines(figures: SetFigures) -> Iterator[str]:
    name, grey, skipped = figures.pictures.name, figures.num_pictures(grey=True), figures.pictures.skipped
    yield ""
    yield f"{name}: {figures.num_pictures()} pictures, {grey} of them grey, {len(skipped)} skipped"
    yield from (f"  skipped {dropped.id}: {dropped.reason}" for dropped in skipped)
    yield from _table(figures.means())
    if figures.jpeg_originals():
        names = ", ".join(figures.jpeg_originals())
        yield f"  Without originals that are decoded JPEGs, whose own artefacts count as truth ({names}):"
        yield from _table(figures.means(without_jpeg_originals=True))


def _table(means: Tree) -> Iterator[str]:
    for task, damages in means.items():
        width = max(len(method) for methods in damages.values() for method in methods)
        yield f"  {task:<{width + 12}} PSNR Y    gain   worst   SSIM Y  PSNR RGB  distance"
        for damage, methods in damages.items():
            for position, (method, figures) in enumerate(methods.items()):
                yield f"  {'' if position else damage:<10}  {method:<{width}} {_numbers(figures)}"


def _numbers(means: Means) -> str:
    formats = {
        "psnr_y": "7.2f",
        "gain": "+8.2f",
        "worst_gain": "+8.2f",
        "ssim_y": "9.4f",
        "psnr_rgb": "10.2f",
        "perceptual": "10.4f",
    }
    return "".join(_number(means[key], style) for key, style in formats.items())


def _number(value: float | None, style: str) -> str:
    width = int(style.lstrip("+").split(".")[0])
    return " " * (width - 1) + "-" if value is None else format(value, style)
