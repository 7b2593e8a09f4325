"""The commands around a run as a user meets them: what they print, and the codes they exit with."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hqdata.record import PhotoRef
from hqdata.settings import ConfigError
from pipelines.cli import cli
from pipelines.cli_operations import EXIT_QUARANTINED, tell_summary
from pipelines.config import LandmarksConfig
from pipelines.knowledge import Knowledge
from pipelines.stats import BuildSummary, Stats, tally


def hqdata(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("command", ["status", "retry", "explain", "select", "pack", "plan"])
def test_every_command_explains_itself(command: str):
    answer = hqdata(command, "--help")
    assert answer.exit_code == 0
    assert command in answer.output


def summary_of(photos: int, *, quarantined: int, failed: int, limit: float) -> BuildSummary:
    known = Knowledge([PhotoRef(id=str(n), path=str(n), size_bytes=1, version="1") for n in range(photos)], FACES)
    for number in range(quarantined):
        known.quarantine(str(number), "1", "the worker process died")
    stats = Stats(quarantine_limit=limit, failed_photos=failed)
    return stats.summary(known, np.zeros(0, np.int64))


FACES = LandmarksConfig()


@pytest.mark.parametrize(
    ("quarantined", "failed", "limit", "code"),
    [
        (0, 0, 0.0, 0),
        (1, 0, 0.0, EXIT_QUARANTINED),
        (0, 1, 0.0, EXIT_QUARANTINED),
        (1, 0, 0.1, 0),
        (1, 1, 0.1, EXIT_QUARANTINED),
    ],
)
def test_more_lost_photos_than_allowed_are_exit_code_3(
    quarantined: int, failed: int, limit: float, code: int, capsys: pytest.CaptureFixture[str]
):
    assert tell_summary(summary_of(10, quarantined=quarantined, failed=failed, limit=limit), "run") == code
    text = capsys.readouterr().out
    assert ("quarantined" in text) == bool(quarantined)
    assert ("tries them again" in text) == bool(failed)


def test_a_line_of_progress_tells_the_counts_and_only_the_most_frequent_reasons():
    known = Knowledge([PhotoRef(id=str(n), path=str(n), size_bytes=1, version="1") for n in range(60)], FACES)
    for number in range(60):
        known.quarantine(str(number), "1", "often" if number < 30 else f"only {number}")
    counts = tally(known)["counts"]
    assert (counts["photos"], counts["dropped"], counts["quarantined"]) == (60, 60, 60)
    assert next(iter(counts["dropped_by_reason"].items())) == ("worker: often", 30)
    assert len(counts["dropped_by_reason"]) == 20


@pytest.mark.parametrize("command", [["status"], ["retry"], ["explain", "--id", "a"], ["select"], ["pack"]])
def test_a_folder_without_a_run_is_refused_and_stays_empty(tmp_path: Path, command: list[str]):
    with pytest.raises(ConfigError, match=r"run\.json"):
        hqdata(command[0], tmp_path, *command[1:])
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_for_a_plan_that_computes_nothing_is_refused(tmp_path: Path):
    answer = hqdata("plan", "--out", tmp_path / "run", "--source", tmp_path, "--local", "2")
    assert answer.exit_code == 2
    assert "give --pilot N too" in answer.output


@pytest.mark.dask
@pytest.mark.slow
def test_status_and_explain_are_there_for_programs(scored_run: Path):
    status = json.loads(hqdata("status", scored_run, "--json").output)
    assert (status["state"], status["counts"]["selected"], status["counts"]["dropped"]) == ("finished", 6, 1)
    (face,) = json.loads(hqdata("explain", scored_run, "--id", "000001-0", "--json").output)
    assert face["of"] == 11


@pytest.mark.dask
@pytest.mark.slow
def test_retry_lists_first_and_forgets_when_told_what(copied: Path):
    assert "1  read: " in hqdata("retry", copied).output
    assert "nothing was forgotten" in hqdata("retry", copied).output
    assert "would be forgotten: 1" in hqdata("retry", copied, "--stage", "read", "--dry-run").output
    assert "\nforgotten: 1; the next build" in hqdata("retry", copied, "--stage", "read").output
    assert "no refusal fits" in hqdata("retry", copied, "--reason", "anything").output


@pytest.mark.dask
@pytest.mark.slow
def test_a_pilot_scores_some_photos_that_the_build_is_then_spared(scored_source: Path, tmp_path: Path):
    words = ["plan", "--source", scored_source, "--out", tmp_path / "run", "--size", "16", "--count", "6"]
    before = hqdata(*words).output
    assert "12 to find and render" in before
    assert "not measured" in before
    assert not (tmp_path / "run").exists()
    after = hqdata(*words, "--pilot", "5", "--local", "1").output
    assert "5 done, 7 to find and render" in after
    assert "judged by 5 photos" in after
    assert not (tmp_path / "run" / "run.json").exists()
