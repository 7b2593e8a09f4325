"""`hqdata score` is `python -m metrics` under the one command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from gan.checkpoint import save_generator
from gan.zoo import Shape
from gan.zoo.progan import ProGanGenerator
from pipelines.cli import cli


def hqdata_score(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["score", *map(str, words)])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    np.savez(path, np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8))
    return path


def test_help_is_that_of_metrics():
    answer = hqdata_score("--help")
    assert answer.exit_code == 0
    assert "hqdata score" in answer.stdout
    assert "--metrics" in answer.stdout
    assert "CKPT --reference RUN" in answer.stdout


def test_two_sets_are_compared(pictures: Path):
    answer = hqdata_score(pictures, pictures, "-m", "swd", "--cache", "none")
    assert answer.exit_code == 0
    assert "SWD" in answer.stdout


def test_the_other_commands_are_there(tmp_path: Path):
    answer = hqdata_score("cache", "--folder", tmp_path / "none")
    assert answer.exit_code == 0
    assert "0 entries" in answer.stdout


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["{pictures}"], 2, "GENERATED"),
        (["{pictures}", "{pictures}", "--frobnicate"], 2, "--frobnicate"),
        (["{pictures}", "{pictures}", "-m", "fod"], 2, "did you mean 'fid'"),
        (["{pictures}", "{pictures}", "-m", "cmmd"], 3, "clip"),
    ],
    ids=["a set missing", "a strange option", "a strange metric", "weights missing"],
)
def test_exit_codes_are_those_of_metrics(pictures: Path, words: list[str], code: int, sentence: str):
    answer = hqdata_score(*(word.format(pictures=pictures) for word in words))
    assert answer.exit_code == code
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_installed_command_exits_with_the_same_code(pictures: Path):
    command = [sys.executable, "-m", "pipelines.cli", "score", str(pictures), str(pictures), "-m", "cmmd"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 3
    assert "Traceback" not in answer.stderr


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint's folder, of a generator for 16 px that never learned."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("training")
    generator = ProGanGenerator(Shape(resolution=16, latent=8, most_maps=8, map_budget=64, channels=1))
    save_generator(folder / "average.safetensors", generator, level=4, fade=1.0, images=0)
    return folder


def test_a_generator_is_measured_at_its_own_size(training: Path, tmp_path: Path):
    large = tmp_path / "large.npz"
    np.savez(large, np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8))
    words = ("-m", "swd", "--limit", "12", "--cache", "none", "--json", "-")
    by_option, by_place = hqdata_score(training, "--reference", large, *words), hqdata_score(large, training, *words)
    assert by_option.exit_code == 0, by_option.stderr
    figures = [json.loads(answer.stdout)["figures"] for answer in (by_option, by_place)]
    assert figures[0] == figures[1]
    assert [figure["name"] for figure in figures[0]] == ["SWD x1e3", "SWD x1e3, 16 px"]


def test_a_size_that_is_given_holds_however_it_is_written(training: Path, pictures: Path):
    words = ("-m", "swd", "--limit", "12", "--cache", "none", "--json", "-")
    answers = [
        hqdata_score(training, *size, *reference, *words)
        for size, reference in (
            (("--size=32",), (f"--reference={pictures}",)),
            (("--size", "32"), ("--reference", pictures)),
        )
    ]
    assert answers[0].exit_code == 0, answers[0].stderr
    figures = [json.loads(answer.stdout)["figures"] for answer in answers]
    assert figures[0] == figures[1]
    assert [figure["name"] for figure in figures[0]][1:] == ["SWD x1e3, 32 px", "SWD x1e3, 16 px"]


def test_a_damaged_generator_is_named(training: Path, pictures: Path, tmp_path: Path):
    damaged = tmp_path / "average.safetensors"
    damaged.write_bytes((training / "average.safetensors").read_bytes()[:-40])
    answer = hqdata_score(damaged, "--reference", pictures)
    assert answer.exit_code == 2
    assert str(damaged) in answer.stderr


def test_a_reference_that_is_not_said_is_asked_for(training: Path):
    assert "--reference wants the real pictures" in hqdata_score(training, "--reference").stderr
    assert "add --reference RUN" in hqdata_score(training).stderr
