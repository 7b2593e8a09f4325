"""What an evaluation found: every figure with its interval, and all that one needs to read and repeat it.

`str(report)` is a table, `report.to_json()` strict JSON (no NaN tokens), `report.plot()` a picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from metrics.intervals import Interval

__all__ = ["FORMAT", "VERSION", "Figure", "NetworkSummary", "Report", "SetSummary"]

FORMAT = "metrics-report"
VERSION = 1
"""Of the JSON; raised when a key changes its meaning."""

SHOWN_S = 0.05
"""Seconds below which a part's time is not printed."""

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of a report."""

    metric: str
    """What was asked for, such as "fid"; several figures can come of one."""
    name: str
    """What the number is to be called, such as "FID" or "FD-efflite0"."""
    value: float
    """In natural units; NaN where it is not defined for these pictures."""
    better: Better
    """Which direction is good for the generator."""
    spread: float | None = None
    """Standard deviation over splits or subsets, as published beside the metric; no confidence interval."""
    interval: Interval | None = None
    """Where the figure lies for other draws of as many pictures; see `metrics.intervals`."""
    about: str = ""
    """The variant, such as "unbiased, 100 subsets of 1,000"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSummary:
    """One of the two sets of pictures."""

    name: str
    """Where they came from."""
    pictures: int | None
    """None where a file of statistics does not say."""
    size: str
    """Height x width in pixels; empty for a file of statistics."""
    fingerprint: str
    """Identity of the content."""
    from_cache: tuple[str, ...] = ()
    """Parts that an earlier run had computed, such as "features"; empty when all was computed in this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSummary:
    """A network that figures rest on."""

    name: str
    sha256: str
    """Of its weights."""
    protocol: str
    """Resize, normalisation, layer and precision, in words; belongs beside every published figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of `metrics.evaluate`."""

    figures: tuple[Figure, ...]
    reference: SetSummary
    generated: SetSummary
    networks: tuple[NetworkSummary, ...]
    """Empty when no figure needed one."""
    device: str
    seed: int
    ci: float | None
    """Level of the intervals, such as 0.95."""
    warnings: tuple[str, ...] = ()
    """What makes a figure doubtful, with its numbers."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, such as a metric left out."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Where the time went, part by part."""
    images_per_s: float = math.nan
    """Pictures of both sets over the seconds in which they were read; NaN when none was."""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """All networks' protocols."""
        return "; ".join(network.protocol for network in self.networks)

    def __getitem__(self, key: str) -> Figure:
        """Return the figure of that name, or the first one that a metric of that name gave.

        Raises:
            KeyError: when there is none; the message lists what there is.
        """
        for figure in self.figures:
            if figure.name == key:
                return figure
        for figure in self.figures:
            if figure.metric == key:
                return figure
        raise KeyError(f"no figure or metric {key!r}; there are {', '.join(figure.name for figure in self.figures)}")

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dictionaries, strings and finite numbers; what is not finite becomes None."""
        return _plain({"format": FORMAT, "version": VERSION, **asdict(self)})

    def to_json(self) -> str:
        """Return `to_dict` as indented JSON that every parser takes."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Return the report that `to_json` wrote.

        Raises:
            ValueError: when the text is no report of this version.
        """
        return _report_of(_parsed(text))

    def plot(self, path: Path | str | None = None) -> Any:
        """Return a matplotlib figure with a panel for each number, and write it to `path` when one is given.

        Raises:
            ModuleNotFoundError: when matplotlib is not installed.
        """
        from metrics.plots import plot_reports

        return plot_reports({self.generated.name: self}, path)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _parsed(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ValueError(f"this is no report: {error}; give what Report.to_json wrote") from error
    found = (content.get("format"), content.get("version")) if isinstance(content, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise ValueError(
            f"this is no report of version {VERSION}: format {found[0]!r}, version {found[1]!r};"
            " give what Report.to_json of this package wrote"
        )
    return {key: value for key, value in content.items() if key not in {"format", "version"}}


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON")


def _report_of(content: dict[str, Any]) -> Report:
    try:
        return Report(
            **{
                **content,
                "figures": tuple(_figure_of(figure) for figure in content["figures"]),
                "reference": _set_of(content["reference"]),
                "generated": _set_of(content["generated"]),
                "networks": tuple(NetworkSummary(**network) for network in content["networks"]),
                "warnings": tuple(content["warnings"]),
                "notes": tuple(content["notes"]),
                "images_per_s": _number_of(content["images_per_s"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the report lacks a part or has one too many: {error}; was it edited?") from error


def _figure_of(content: dict[str, Any]) -> Figure:
    interval = content["interval"]
    ends = None if interval is None else Interval(**{key: _number_of(value) for key, value in interval.items()})
    return Figure(**{**content, "value": _number_of(content["value"]), "interval": ends})


def _set_of(content: dict[str, Any]) -> SetSummary:
    return SetSummary(**{**content, "from_cache": tuple(content["from_cache"])})


def _number_of(value: float | None) -> float:
    return math.nan if value is None else value


def _lines(report: Report) -> list[str]:
    lines = [*_heading(report), "", *_table(report)]
    for title, sentences in (("warnings", report.warnings), ("notes", report.notes)):
        if sentences:
            lines += ["", title, *(f"  - {sentence}" for sentence in sentences)]
    return [*lines, "", _times(report)]


def _heading(report: Report) -> list[str]:
    sets = {"reference": report.reference, "generated": report.generated}
    lines = [f"{role:<11}{_set_line(part)}" for role, part in sets.items()]
    return lines + [f"{'protocol':<11}{network.protocol}, weights {network.sha256[:12]}" for network in report.networks]


def _set_line(part: SetSummary) -> str:
    size = f" of {part.size} px" if part.size else ""
    cached = f"; {', '.join(part.from_cache)} taken from the cache" if part.from_cache else ""
    count = "an unknown number of" if part.pictures is None else f"{part.pictures:,}"
    return f"{part.name}: {count} pictures{size}{cached}"


def _table(report: Report) -> list[str]:
    """Return aligned columns; the interval's only where there are intervals."""
    level = "" if report.ci is None else f"{100 * report.ci:g} % interval"
    rows = [("figure", "value", level, "spread", "better", "")]
    rows += [_row(figure) for figure in report.figures]
    filled = [column for column in range(6) if column < 2 or any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in filled}
    aligned = [
        "  ".join(row[c].rjust(widths[c]) if c in {1, 3} else row[c].ljust(widths[c]) for c in filled).rstrip()
        for row in rows
    ]
    return [aligned[0], "-" * max(map(len, aligned)), *aligned[1:]]


def _row(figure: Figure) -> tuple[str, str, str, str, str, str]:
    interval = figure.interval
    return (
        figure.name,
        _number(figure.value),
        f"[{_number(interval.low)}, {_number(interval.high)}]" if interval else "",
        "" if figure.spread is None else f"± {_number(figure.spread)}",
        "" if figure.better == "neither" else figure.better,
        figure.about,
    )


def _number(value: float) -> str:
    return f"{value:.5g}"


def _times(report: Report) -> str:
    rate = f"{report.images_per_s:.1f} pictures/s, " if math.isfinite(report.images_per_s) else ""
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in report.seconds.items() if seconds >= SHOWN_S)
    shown = f" ({parts})" if parts else ""
    return f"{rate}{sum(report.seconds.values()):.1f} s on {report.device}{shown}, seed {report.seed}"
