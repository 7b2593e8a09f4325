"""A training on disk: stopped, killed, failed and gone on with, it ends as one that nothing happened to."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_gan import CPU, checkpoint_folders, small_config, small_pictures

from gan.checkpoint import CheckpointError, latest_checkpoint
from gan.config import GanConfig
from gan.trainer import Trainer
from gan.training_run import MOST_ROLLBACKS, Diverged, _duration, run_training

CONFIG = small_config()
LAST = "000000000104"
TIMES = {"seconds", "images_per_second"}

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import gan.checkpoint as checkpoints
from gan.training_run import run_training
from small_gan import CPU, small_config, small_pictures

def kill_at(number, function):
    calls = iter(range(1, number))
    def deadly(*given, **named):
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)
    return deadly

def die(moment):
    if moment == "between-files":  # five files a checkpoint: the third of the fourth checkpoint
        checkpoints.save_file = kill_at(18, checkpoints.save_file)
    elif moment == "before-the-rename":
        Path.rename = kill_at(4, Path.rename)
    elif moment == "half-written":
        honest = checkpoints.save_file
        def cut(tensors, file, metadata=None):
            honest(tensors, file, metadata=metadata)
            os.truncate(file, 100)
            os.kill(os.getpid(), signal.SIGKILL)
        calls = iter(range(17))
        checkpoints.save_file = lambda *g, **n: (cut if next(calls, None) is None else honest)(*g, **n)
    elif moment == "removing-the-oldest":
        def half(folder):
            next(Path(folder).iterdir()).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        shutil.rmtree = half
    run_training(small_config(), small_pictures(), Path(sys.argv[1]) / moment, machine=CPU)

for moment in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        try:
            die(moment)
        finally:
            os._exit(3)
    print(moment, os.WTERMSIG(os.waitpid(child, 0)[1]))
"""
MOMENTS = ["between-files", "half-written", "before-the-rename", "removing-the-oldest"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing happened to."""
    run = tmp_path_factory.mktemp("whole")
    assert run_training(CONFIG, small_pictures(), run, machine=CPU)
    return run


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of trainings that were killed in the middle of a save, each at another moment."""
    root = tmp_path_factory.mktemp("killed")
    paths = [str(Path(__file__).parents[1]), *sys.path]
    answer = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), *MOMENTS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert answer.stdout.split() == [word for moment in MOMENTS for word in (moment, str(int(signal.SIGKILL)))]
    return root


def test_a_training_leaves_log_sheets_and_checkpoints(whole: Path):
    lines = _lines(whole)
    assert [line["images"] for line in lines] == [*range(12, 104, 12), 104]
    assert {"level", "fade", "spread", "score", "penalty", "generator", "real_score"} <= lines[0].keys()
    assert [line["level"] for line in lines] == [2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert len(list((whole / "samples").glob("*.png"))) == len(lines)
    assert checkpoint_folders(whole) == ["000000000080", "000000000100", LAST]


def test_a_training_that_has_ended_does_nothing_more(whole: Path):
    before = {path: path.stat().st_mtime_ns for path in (whole / "checkpoints").rglob("*")}
    assert run_training(CONFIG, small_pictures(), whole, machine=CPU)
    assert {path: path.stat().st_mtime_ns for path in (whole / "checkpoints").rglob("*")} == before


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_training_killed_in_the_middle_of_a_save_goes_on_to_the_bit(killed: Path, whole: Path, moment: str):
    run = killed / moment
    found = latest_checkpoint(run)
    assert found is not None
    assert found.name == ("000000000060" if moment == "removing-the-oldest" else "000000000040")
    assert run_training(CONFIG, small_pictures(), run, machine=CPU)
    _check_equal(run, whole)
    assert [name for name in checkpoint_folders(run) if name.startswith(".")] == []


@pytest.mark.parametrize("images", [8, 28, 56, 68, 92])
def test_a_signal_saves_and_the_same_call_goes_on_to_the_bit(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, images: int
):
    with monkeypatch.context() as patched:
        _before_step(patched, images, lambda trainer: os.kill(os.getpid(), signal.SIGTERM))
        assert not run_training(CONFIG, small_pictures(), tmp_path, machine=CPU)
    assert checkpoint_folders(tmp_path)[-1] == f"{images + 4:012d}"
    assert run_training(CONFIG, small_pictures(), tmp_path, machine=CPU)
    _check_equal(tmp_path, whole)


def test_a_signal_in_the_last_step_is_no_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _before_step(monkeypatch, 100, lambda trainer: os.kill(os.getpid(), signal.SIGTERM))
    assert run_training(CONFIG, small_pictures(), tmp_path, machine=CPU)


def test_a_number_that_is_none_goes_back_and_tries_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def spoil(trainer: Trainer) -> None:
        if trainer.attempt == 0:
            with torch.no_grad():
                trainer.discriminator.score.bias.fill_(float("nan"))

    _before_step(monkeypatch, 32, spoil)
    assert run_training(CONFIG, small_pictures(), tmp_path, machine=CPU)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["score became NaN or infinite at 36 images; going back to 000000000020"]
    assert _state(tmp_path)["attempt"] == 1
    assert [line["images"] for line in _lines(tmp_path)] == [*range(12, 104, 12), 104]


def test_weights_that_are_none_after_the_last_step_go_back_before_they_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    honest = Trainer.step

    def step(trainer: Trainer) -> dict[str, torch.Tensor]:
        terms = honest(trainer)
        if trainer.images == 40 and trainer.attempt == 0:
            trainer.average.conv.bias.data.fill_(float("inf"))
        return terms

    monkeypatch.setattr(Trainer, "step", step)
    assert run_training(CONFIG, small_pictures(), tmp_path, machine=CPU)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["conv.bias of the average holds NaN or infinity at 40 images; going back to 000000000020"]


def test_what_fails_again_and_again_is_given_up_with_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def spoil(trainer: Trainer) -> None:
        with torch.no_grad():
            trainer.generator.conv.bias.fill_(float("nan"))

    _before_step(monkeypatch, 24, spoil)
    with pytest.raises(Diverged, match=rf"NaN or infinite at 28 images, {MOST_ROLLBACKS + 1} times from the same"):
        run_training(CONFIG, small_pictures(), tmp_path, machine=CPU)
    assert checkpoint_folders(tmp_path)[-1] == "000000000020"
    assert [line["images"] for line in _lines(tmp_path)] == [12, 24]


def test_a_generator_that_draws_one_picture_alone_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def collapse(trainer: Trainer) -> None:
        with torch.no_grad():
            trainer.average.to_pictures["2"].get_parameter("weight").zero_()

    _before_step(monkeypatch, 8, collapse)
    config = small_config(training={"average_half_life_images": 1e9})
    with pytest.raises(Diverged, match=r"the generator collapsed: its pictures differ 0\.\d% as much as real ones"):
        run_training(config, small_pictures(), tmp_path, machine=CPU)
    assert sum("going back to 000000000000" in record.getMessage() for record in caplog.records) == MOST_ROLLBACKS


def test_looks_are_in_the_log(tmp_path: Path):
    def look(trainer: Trainer) -> Mapping[str, float]:
        return {"swd": float(trainer.images)}

    config = small_config(schedule={"total_images": 24})
    assert run_training(config, small_pictures(), tmp_path, machine=CPU, looks=(look,))
    assert [line["swd"] for line in _lines(tmp_path)] == [12.0, 24.0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (small_config(training={"seed": 6}), r"another run: config\.training\.seed was 5, now 6; give"),
        (small_config(loss={"weight": 5.0}), r"another run: config\.loss\.weight was 10\.0, now 5\.0; give"),
    ],
)
def test_a_folder_is_not_gone_on_with_as_another_training(whole: Path, config: GanConfig, message: str):
    with pytest.raises(ValueError, match=message):
        run_training(config, small_pictures(), whole, machine=CPU)


def test_a_training_that_had_ended_says_so_and_shows_nothing_more(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    config = small_config(schedule={"total_images": 24})
    assert run_training(config, small_pictures(), tmp_path, machine=CPU)
    caplog.set_level(logging.INFO)
    assert run_training(config, small_pictures(), tmp_path, machine=CPU)
    assert [record.getMessage() for record in caplog.records] == ["had ended after 24 images"]


@pytest.mark.parametrize(
    ("images", "rate", "told"),
    [(0, 50.0, "0 min"), (6_000, 10.0, "10 min"), (360_000, 10.0, "10.0 h"), (9, 0.0, "inf h")],
)
def test_the_time_left_is_told_in_minutes_below_an_hour(images: int, rate: float, told: str):
    assert _duration(images, rate) == told


def test_other_pictures_are_another_training(whole: Path):
    with pytest.raises(ValueError, match="was begun as another run: pictures was"):
        run_training(CONFIG, small_pictures(17), whole, machine=CPU)


def test_a_damaged_latest_checkpoint_stops_with_its_name_before_anything_is_written(tmp_path: Path):
    config = small_config(schedule={"total_images": 24})
    assert run_training(config, small_pictures(), tmp_path, machine=CPU)
    file = tmp_path / "checkpoints" / "000000000024" / "average.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    log = (tmp_path / "runlog.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"average\.safetensors"):
        run_training(config, small_pictures(), tmp_path, machine=CPU)
    assert (tmp_path / "runlog.jsonl").read_bytes() == log


def _check_equal(run: Path, whole: Path) -> None:
    """Compare every weight, average and moment, and every log line but for how long it took."""
    for file in sorted((whole / "checkpoints" / LAST).glob("*.safetensors")):
        expected, got = load_file(file), load_file(run / "checkpoints" / LAST / file.name)
        assert expected.keys() == got.keys()
        assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert [_without_times(line) for line in _lines(run)] == [_without_times(line) for line in _lines(whole)]
    sheets = {path.name: path.read_bytes() for path in (whole / "samples").iterdir()}
    assert {path.name: path.read_bytes() for path in (run / "samples").iterdir()} == sheets


def _lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "runlog.jsonl").read_text().splitlines()]


def _without_times(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in TIMES}


def _state(run: Path) -> dict[str, Any]:
    return json.loads((run / "checkpoints" / LAST / "state.json").read_text())


def _before_step(monkeypatch: pytest.MonkeyPatch, images: int, act: Any) -> None:
    """Do something before the step that begins after so many images, each time that it comes."""
    honest = Trainer.step

    def step(trainer: Trainer) -> dict[str, torch.Tensor]:
        if trainer.images == images:
            act(trainer)
        return honest(trainer)

    monkeypatch.setattr(Trainer, "step", step)
