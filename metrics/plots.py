"""Reports as pictures: one panel for each figure, one point with its interval for each report. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metrics.report import Figure, Report

__all__ = ["check_plot_path", "plot_reports"]

COLUMNS = 3
PANEL_INCHES = (4.0, 0.9)
"""Width of a panel and height of its frame."""
ROW_INCHES = 0.3
"""Height of one report's line in a panel."""


def plot_reports(reports: Mapping[str, Report], path: Path | str | None = None) -> Any:
    """Return a matplotlib figure that compares reports, number by number; opens no window.

    Args:
        reports: each under the label that its points get; the first one names the panels.
        path: where to write the picture; its ending chooses the format, such as .png or .svg.

    Raises:
        ModuleNotFoundError: when matplotlib is not installed.
        ValueError: when there is no report, or none has a figure.
    """
    names = [figure.name for report in list(reports.values())[:1] for figure in report.figures]
    if not names:
        raise ValueError("there is no figure to draw; give at least one report with figures")
    drawing = _figure_class()(figsize=_inches(len(names), len(reports)), layout="constrained")
    rows = -(-len(names) // COLUMNS)
    panels = drawing.subplots(rows, min(COLUMNS, len(names)), squeeze=False).flatten()
    for panel, name in zip(panels, names, strict=False):
        _draw(panel, name, reports)
    for panel in panels[len(names) :]:
        panel.axis("off")
    if path is not None:
        drawing.savefig(Path(path))
    return drawing


def check_plot_path(path: Path | str) -> None:
    """Refuse a file that could not be drawn, before pictures are measured for it.

    Raises:
        ModuleNotFoundError: when matplotlib is not installed.
        ValueError: when it does not write files of that ending.
    """
    known = _figure_class()().canvas.get_supported_filetypes()
    if Path(path).suffix.lower().lstrip(".") not in known:
        raise ValueError(f"{path}: a plot's name must end in one of {', '.join('.' + name for name in sorted(known))}")


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure as Drawing
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('matplotlib is not installed; run `pip install "progan-hq[plots]"`') from error
    return Drawing


def _inches(num_panels: int, num_reports: int) -> tuple[float, float]:
    rows = -(-num_panels // COLUMNS)
    width, frame = PANEL_INCHES
    return width * min(COLUMNS, num_panels), rows * (frame + ROW_INCHES * num_reports)


def _draw(panel: Any, name: str, reports: Mapping[str, Report]) -> None:
    """Draw one number of every report that has it, the first report on top."""
    labels = list(reports)
    for place, report in enumerate(reports.values()):
        figure = next((figure for figure in report.figures if figure.name == name), None)
        if figure is not None:
            _point(panel, place, figure)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.set_title(_title(name, reports), fontsize="medium")
    panel.grid(axis="x", alpha=0.3)


def _point(panel: Any, place: int, figure: Figure) -> None:
    panel.plot([figure.value], [place], "o", color="C0")
    if figure.interval is not None:
        panel.plot([figure.interval.low, figure.interval.high], [place, place], "-", color="C0")


def _title(name: str, reports: Mapping[str, Report]) -> str:
    direction = next(figure.better for figure in next(iter(reports.values())).figures if figure.name == name)
    return name if direction == "neither" else f"{name} ({direction} is better)"
