"""Ctrl-C in a terminal reaches every process of a build; its end is clean, and the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_source import write_small_celeba

pytestmark = [pytest.mark.dask, pytest.mark.slow]

NUM_PHOTOS = 24
WITHIN_S = 300.0


def command(folder: Path) -> list[str]:
    words = [sys.executable, "-m", "pipelines.cli", "build", "--source", str(folder / "source"), "--local", "2"]
    return [*words, "--out", str(folder / "run"), "--size", "64", "--set", "run.chunk_photos=1"]


def num_chunks(run: Path) -> int:
    return len(list((run / "work" / "scored").rglob("*.jsonl")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_all_processes_loses_no_running_task_and_says_one_sentence(tmp_path: Path, number: int):
    write_small_celeba(tmp_path / "source", num_photos=NUM_PHOTOS)
    build = subprocess.Popen(command(tmp_path), stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + WITHIN_S
    while num_chunks(tmp_path / "run") < 2 and build.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(build.pid, number) if number == signal.SIGINT else os.kill(build.pid, number)
    _, said = build.communicate(timeout=WITHIN_S)
    assert build.returncode == 75, said
    assert "interrupted; finished work is kept, run the same command to go on" in said
    assert "Traceback" not in said
    assert "died" not in said
    assert num_chunks(tmp_path / "run") < NUM_PHOTOS
    assert not (tmp_path / "run" / "manifest.json").exists()
    again = subprocess.run(command(tmp_path), capture_output=True, text=True, check=True)
    assert "24 of 24 faces" in again.stdout
