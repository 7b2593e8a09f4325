"""A report survives JSON, reads as a table and draws itself."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from metrics.intervals import Interval
from metrics.plots import plot_reports
from metrics.report import Figure, NetworkSummary, Report, SetSummary

GOLDEN = Path(__file__).parents[1] / "golden"
INTERVAL = Interval(low=60.0, high=75.5, level=0.95, standard_error=3.7)
FIGURES = (
    Figure(metric="fid", name="FD-efflite0", value=67.7, better="lower", interval=INTERVAL),
    Figure(metric="kid", name="KD-efflite0", value=3.5e-4, better="lower", spread=1e-3, about="100 subsets of 100"),
    Figure(metric="prdc", name="precision", value=0.93, better="higher"),
)


@pytest.fixture
def report() -> Report:
    return Report(
        figures=FIGURES,
        reference=SetSummary(
            name="photos", pictures=2000, size="96 x 96", fingerprint="ab12", from_cache=("features",)
        ),
        generated=SetSummary(name="drawn", pictures=1500, size="96 x 96", fingerprint="cd34"),
        networks=(NetworkSummary(name="net", sha256="579344248a93e2", protocol="net: bicubic to 224, pool, float32"),),
        device="cpu",
        seed=3,
        ci=0.95,
        warnings=("1,500 pictures are fewer than the 1,280 columns",),
        notes=("cmmd was left out: no weights",),
        seconds={"reading": 1.5, "fid": 0.25},
        images_per_s=21.5,
        versions={"torch": "2.13"},
    )


def refused_constant(token: str) -> float:
    raise AssertionError(f"{token} is not strict JSON")


def test_json_gives_the_same_report_back(report: Report):
    assert Report.from_json(report.to_json()) == report


def test_a_report_of_version_1_can_be_read_for_ever(report: Report):
    assert Report.from_json((GOLDEN / "metrics-report-v1.json").read_text()) == report


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_tokens_that_strict_parsers_refuse(report: Report, value: float):
    broken = replace(report, figures=(replace(FIGURES[0], value=value),), images_per_s=value)
    content = json.loads(broken.to_json(), parse_constant=refused_constant)
    assert content["figures"][0]["value"] is None


def test_an_undefined_figure_comes_back_as_nan(report: Report):
    text = replace(report, figures=(replace(FIGURES[0], value=math.nan),)).to_json()
    assert math.isnan(Report.from_json(text)["fid"].value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no report"),
        ("[]", "no report of version 1"),
        ('{"format": "metrics-report", "version": 2}', "version 2"),
        ('{"format": "metrics-report", "version": 1}', "figures"),
        ('{"format": NaN}', "NaN is not JSON"),
    ],
)
def test_other_text_is_refused(text: str, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        Report.from_json(text)


def test_a_report_with_a_strange_key_is_refused(report: Report):
    content = {**report.to_dict(), "colour": "red"}
    with pytest.raises(ValueError, match="colour"):
        Report.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "name"), [("fid", "FD-efflite0"), ("FD-efflite0", "FD-efflite0"), ("prdc", "precision")]
)
def test_a_figure_is_found_by_its_metric_and_by_its_name(report: Report, key: str, name: str):
    assert report[key].name == name


def test_a_missing_figure_is_answered_by_those_there_are(report: Report):
    with pytest.raises(KeyError, match="FD-efflite0, KD-efflite0, precision"):
        report["swd"]


@pytest.mark.parametrize(
    "piece",
    [
        "photos: 2,000 pictures of 96 x 96 px; features taken from the cache",
        "drawn: 1,500 pictures",
        "FD-efflite0",
        "[60, 75.5]",
        "95 % interval",
        "0.00035",
        "± 0.001",
        "100 subsets of 100",
        "1,500 pictures are fewer",
        "cmmd was left out",
        "net: bicubic to 224, pool, float32, weights 579344248a93",
        "21.5 pictures/s",
        "seed 3",
    ],
)
def test_the_table_says_what_one_needs_to_read_it(report: Report, piece: str):
    assert piece in str(report)


def test_the_columns_stand_under_each_other(report: Report):
    lines = str(report).splitlines()
    header = next(line for line in lines if line.startswith("figure"))
    rows = [line for line in lines if line.endswith(("lower", "higher", "100 subsets of 100"))]
    assert {row.index("higher" if "higher" in row else "lower") for row in rows} == {header.index("better")}


def test_without_intervals_there_is_no_column_for_them(report: Report):
    bare = replace(report, ci=None, figures=tuple(replace(figure, interval=None) for figure in FIGURES))
    assert "interval" not in str(bare)


def test_a_plot_is_written_with_a_panel_for_each_figure(report: Report, tmp_path: Path):
    pytest.importorskip("matplotlib")
    drawing = report.plot(tmp_path / "report.png")
    assert [panel.get_title() for panel in drawing.axes] == [
        "FD-efflite0 (lower is better)",
        "KD-efflite0 (lower is better)",
        "precision (higher is better)",
    ]
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_reports_are_drawn_side_by_side_even_where_one_lacks_a_figure(report: Report):
    pytest.importorskip("matplotlib")
    drawing = plot_reports({"a": report, "b": replace(report, figures=FIGURES[:1])})
    assert [label.get_text() for label in drawing.axes[0].get_yticklabels()] == ["a", "b"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no figure to draw"):
        plot_reports({})


def test_without_matplotlib_the_message_names_the_extra(report: Report, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"progan-hq\[plots\]"):
        report.plot()
