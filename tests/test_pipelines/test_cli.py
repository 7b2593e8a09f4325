"""The command line as a user meets it: exit codes and one-sentence errors."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from shard_runs import write_run
from small_source import write_small_celeba

from pipelines.cli import _open_closed_streams

HQDATA = [sys.executable, "-m", "pipelines.cli"]


def hqdata(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HQDATA, *map(str, words)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("celeba")
    write_small_celeba(folder, num_photos=12)
    return folder


@pytest.mark.parametrize("command", ["build", "plan", "verify", "inspect", "demo-source"])
def test_every_command_explains_itself(command: str):
    answer = hqdata(command, "--help")
    assert answer.returncode == 0
    assert command in answer.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["build", "--out", "{tmp}/run"], "source.root is empty"),
        (["build", "--out", "{tmp}/run", "--source", "{tmp}/none"], "{tmp}/none"),
        (["build", "--out", "{tmp}/run", "--source", "{source}", "--set", "align.sixe=3"], "did you mean 'size'"),
        (["build", "--out", "{tmp}/run", "--source", "{source}", "--size", "100"], "power of two"),
        (["build", "--out", "{source}", "--source", "{source}"], "neither empty nor a run folder"),
        (["build", "--out", "{tmp}/run", "--source", "{source}", "--set", "restore.weights=best"], "best"),
        (["build", "--source", "{source}"], "--out"),
        (["build", "--out", "{source}/run", "--source", "{source}", "--kind", "photos"], "beside the source"),
        (["plan", "--out", "{tmp}/run", "--source", "{source}", "--set", "landmarks.min_face_px=inf"], "finite"),
        (
            ["plan", "--out", "{tmp}/run", "--source", "{source}", "--kind", "photos", "--landmarks", "annotations"],
            "has no annotations",
        ),
        (["plan", "--out", "{tmp}/run", "--source", "{source}", "--count", "many"], "many"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_use_is_answered_by_a_sentence_and_exit_code_2(
    tmp_path: Path, source: Path, words: list[str], sentence: str
):
    answer = hqdata(*(word.format(tmp=tmp_path, source=source) for word in words))
    assert answer.returncode == 2
    assert sentence.format(tmp=tmp_path) in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "run").exists()


def test_plan_counts_the_work_and_writes_nothing(tmp_path: Path, source: Path):
    answer = hqdata("plan", "--source", source, "--out", tmp_path / "run", "--size", "64", "--count", "10")
    assert answer.returncode == 0
    assert "celeba: 12 photos" in answer.stdout
    assert "12 to find and render" in answer.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_command_that_ends_at_once_on_busy_cores_still_gives_its_exit_code(tmp_path: Path):
    """Eight at a time: threads of libraries were torn down while they started, which aborted one in four."""
    write_run(tmp_path / "run")
    (tmp_path / "run" / "data" / "train-00000-of-00002.parquet").write_bytes(b"")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: hqdata("verify", tmp_path / "run"), range(16)))
    assert {answer.returncode for answer in answers} == {1}
    assert all("1 problems in" in answer.stderr for answer in answers)


def test_verify_says_what_is_wrong(tmp_path: Path):
    run = tmp_path / "run"
    write_run(run)
    assert hqdata("verify", run).returncode == 0
    (run / "data" / "train-00000-of-00002.parquet").write_bytes(b"")
    answer = hqdata("verify", run)
    assert answer.returncode == 1
    assert "data/train-00000" in answer.stderr


def test_a_run_folder_that_is_not_finished_cannot_be_inspected(tmp_path: Path):
    (tmp_path / "run").mkdir()
    answer = hqdata("inspect", tmp_path / "run")
    assert answer.returncode == 1
    assert "manifest.json: missing" in answer.stderr


@pytest.mark.dask
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_build_says_that_it_can_go_on(tmp_path: Path, source: Path, number: signal.Signals):
    run = tmp_path / "run"
    command = [*HQDATA, "build", "--source", str(source), "--out", str(run), "--size", "32", "--workers", "1"]
    # a shell starts background jobs with SIGINT ignored, and children inherit that
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as build:
        deadline = time.monotonic() + 60
        while not list(run.glob("work/dask/*/worker-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        build.send_signal(number)
        _, errors = build.communicate(timeout=60)
    assert build.returncode == 75
    assert "run the same command to go on" in errors
    assert "Traceback" not in errors
    assert not (run / "manifest.json").exists()


def test_streams_that_were_closed_at_the_start_take_output_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", None)
    _open_closed_streams()
    with sys.stderr:
        assert not sys.stderr.isatty()
