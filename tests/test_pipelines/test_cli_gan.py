"""Training and using a generator as a user meets it: files that appear, exit codes, one sentence for what is wrong."""

import json
import logging
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

from gan.checkpoint import latest_checkpoint, load_snapshot
from gan.training_run import Diverged
from pipelines import cli as command_line
from pipelines.cli import cli

HQDATA = [sys.executable, "-m", "pipelines.cli"]
SETTINGS = """
[networks]
resolution = 16
latent = 8
most_maps = 8
map_budget = 32

[schedule]
total_images = {total}
stable_images = 16
fade_images = 16
minibatch = 4
tick_images = 16

[training]
precision = "float32"
checkpoint_images = 32
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    images = np.random.default_rng(0).integers(0, 256, (24, 3, 16, 16), dtype=np.uint8)
    np.savez(path, images=images, kind=np.arange(24) % 3)
    return path


def write_settings(folder, total=96):
    path = folder / f"settings-{total}.toml"
    path.write_text(SETTINGS.format(total=total))
    return path


def hqdata(*words):
    answer = CliRunner().invoke(cli, [str(word) for word in words])
    if answer.exception and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    hqdata("train", pictures, "--out", folder / "run", "--config", write_settings(folder))
    return folder / "run"


@pytest.fixture
def exit_code_of(monkeypatch, capsys):
    """Run the command as a shell does, without another process; return its exit code and what it said."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["hqdata", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            command_line.run()
        return exit_.value.code, capsys.readouterr().err

    yield run
    signal.signal(signal.SIGTERM, handler)


def test_a_training_leaves_a_generator_sheets_and_a_log(trained):
    assert load_snapshot(trained).images == 96
    assert len(list((trained / "samples").glob("*.png"))) == 6
    assert [json.loads(line)["images"] for line in (trained / "runlog.jsonl").read_text().splitlines()] == [
        16,
        32,
        48,
        64,
        80,
        96,
    ]


def test_a_finished_training_is_not_trained_again(trained, pictures):
    before = latest_checkpoint(trained)
    answer = hqdata("train", pictures, "--out", trained, "--config", write_settings(trained.parent))
    assert "generator" in answer.output
    assert latest_checkpoint(trained) == before


def test_a_training_without_a_config_has_the_pictures_size(tmp_path, pictures):
    small = [f"--set=networks.{name}=8" for name in ("latent", "most_maps", "map_budget")]
    course = ["--set=schedule.total_images=8", "--set=schedule.minibatch=4", "--set=training.precision=float32"]
    hqdata("train", pictures, "--out", tmp_path / "run", *small, *course)
    assert load_snapshot(tmp_path / "run").generator.shape.resolution == 16


def test_settings_can_name_the_pictures(tmp_path, pictures):
    settings = write_settings(tmp_path, total=4)
    settings.write_text(f'{settings.read_text()}\n[data]\nsource = "{pictures}"\n')
    hqdata("train", settings, "--out", tmp_path / "run")
    assert load_snapshot(tmp_path / "run").images == 4


def test_a_schedule_that_ends_before_the_last_level_is_warned_of(tmp_path, pictures, caplog):
    hqdata("train", pictures, "--out", tmp_path / "run", "--config", write_settings(tmp_path, total=4), "--no-measures")
    assert "the schedule ends after 4 images at 4 px" in caplog.text


def test_labels_of_the_pictures_make_labelled_networks(tmp_path, pictures):
    words = ["--labels", "kind", "--config", write_settings(tmp_path, total=4)]
    hqdata("train", pictures, "--out", tmp_path / "run", *words)
    assert load_snapshot(tmp_path / "run").generator.shape.labels == 3
    answer = hqdata("sample", tmp_path / "run", "--seeds", "0-4", "--label", "2", "--out", tmp_path / "a.png")
    assert answer.exit_code == 0
    assert "there are 3, from 0" in hqdata("sample", tmp_path / "run", "--label", "3").output


def test_a_terminated_training_exits_75_and_resumes_to_the_same_bits(tmp_path, pictures):
    total = 800
    settings = write_settings(tmp_path, total=total)
    words = [*HQDATA, "train", pictures, "--out", tmp_path / "cut", "--config", settings, "--no-measures"]
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
    lines = iter(process.stderr.readline, "")
    line = next(line for line in lines if "kimg at" in line)
    process.send_signal(signal.SIGTERM)
    said = "".join(lines)
    assert process.wait() == 75
    process.stderr.close()
    assert all(word in line for word in ("px", "images/s", "s/kimg", "min left"))
    assert "run the same command to go on" in said
    assert load_snapshot(tmp_path / "cut").images < total
    hqdata("train", "--out", tmp_path / "cut", "--resume", "--no-measures")
    hqdata("train", pictures, "--out", tmp_path / "whole", "--config", settings, "--no-measures")
    cut, whole = (latest_checkpoint(tmp_path / name) for name in ("cut", "whole"))
    for name in ("generator", "discriminator", "average", "generator_adam", "discriminator_adam"):
        one, other = (load_file(folder / f"{name}.safetensors") for folder in (cut, whole))
        assert one.keys() == other.keys()
        assert [key for key in one if not torch.equal(one[key], other[key])] == []


def test_an_interrupted_training_asks_to_be_resumed(tmp_path, pictures, monkeypatch, exit_code_of):
    monkeypatch.setattr("pipelines.train_generator.run_training", lambda *_, **__: False)
    words = ["--config", write_settings(tmp_path)]
    code, said = exit_code_of("train", pictures, "--out", tmp_path / "run", *words)
    assert code == 75
    assert "stopped with a checkpoint" in said


def test_a_diverged_training_exits_4(tmp_path, pictures, monkeypatch, exit_code_of):
    def diverge(*_, **__):
        raise Diverged("the generator collapsed")

    monkeypatch.setattr("pipelines.train_generator.run_training", diverge)
    code, said = exit_code_of("train", pictures, "--out", tmp_path / "run", "--config", write_settings(tmp_path))
    assert code == 4
    assert "the generator collapsed" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--out", "{tmp}/run", "--config", "{settings}"], "no pictures were given"),
        (["{pictures}", "--config", "{settings}"], "give --out DIR"),
        (["{tmp}/none", "--out", "{tmp}/run", "--config", "{settings}"], "{tmp}/none: no such file"),
        (["{pictures}", "--out", "{tmp}/run", "--preset", "mnist"], "mnist-cpu"),
        (["{pictures}", "--out", "{tmp}/run", "--preset", "mnist-cpu"], "set networks.channels"),
        (["{pictures}", "--out", "{tmp}/run", "--preset", "celebahq-1024"], "the pictures have 16 px"),
        (["{pictures}", "--out", "{tmp}/run", "--set", "training.sed=3"], "did you mean 'seed'"),
        (["{pictures}", "--out", "{tmp}/run", "--set", "data.sources=x"], "did you mean 'source'"),
        (["{pictures}", "--out", "{tmp}/run", "--set", "schedule.minibatch=6"], "minibatch of 6"),
        (["{pictures}", "--out", "{tmp}/run", "--labels", "sort"], "no array 'sort'"),
        (["{pictures}", "--out", "{tmp}/run", "--set", "networks.base=[4, 6]"], "4 x 6 pixels"),
        (["--plan", "--on", "h20"], "did you mean 'h200'"),
        (["{tmp}/none", "--plan"], "{tmp}/none: no such file"),
        (["{pictures}", "--out", "{tmp}/run", "--set", "networks.channels=1"], "networks.channels"),
        (["{pictures}", "--out", "{tmp}/run", "--set", "training.seed=-1"], "seed must be 0..2**63 - 1"),
        (["--out", "{tmp}", "--resume"], "holds no training to resume"),
    ],
)
def test_wrong_use_of_train_is_one_sentence_and_exit_code_2(tmp_path, pictures, exit_code_of, words, sentence):
    names = {"tmp": tmp_path, "pictures": pictures, "settings": write_settings(tmp_path)}
    code, said = exit_code_of("train", *(word.format(**names) for word in words))
    assert code == 2
    assert sentence.format(**names) in said
    assert not (tmp_path / "run").exists()


def test_a_plan_is_printed_and_nothing_is_written(tmp_path):
    answer = hqdata("train", "--plan", "--config", write_settings(tmp_path), "--on", "a100")
    assert answer.output.startswith("a100: ")
    assert [line.split()[0] for line in answer.output.splitlines()[3:7]] == ["4", "8", "16", "all"]
    assert [path.name for path in tmp_path.iterdir()] == ["settings-96.toml"]


def test_a_plan_for_pictures_is_that_of_their_training(pictures):
    answer = hqdata("train", pictures, "--plan", "--set", "networks.most_maps=8")
    assert [line.split()[0] for line in answer.output.splitlines()[3:7]] == ["4", "8", "16", "all"]


def test_a_plan_of_a_resumed_training_is_its_own(trained):
    answer = hqdata("train", "--out", trained, "--resume", "--plan")
    assert [line.split()[0] for line in answer.output.splitlines()[3:7]] == ["4", "8", "16", "all"]


def test_a_training_goes_on_with_its_pictures_from_elsewhere(trained, pictures, tmp_path):
    moved = tmp_path / "moved.npz"
    moved.write_bytes(pictures.read_bytes())
    assert hqdata("train", moved, "--out", trained, "--resume").exit_code == 0


def test_another_training_is_not_gone_on_with(trained, pictures, exit_code_of):
    noted = (trained / "data.json").read_text()
    code, said = exit_code_of(
        "train", pictures, "--out", trained, "--config", write_settings(trained.parent, total=100)
    )
    assert code == 1
    assert "was begun as another run" in said
    assert (trained / "data.json").read_text() == noted


def test_samples_lie_on_a_sheet_or_in_files(trained, tmp_path):
    hqdata("sample", trained, "--seeds", "0-4,9", "--out", tmp_path / "a.png", "--columns", "3", "--height", "32")
    hqdata("sample", trained, "--seeds", "9,0", "--out", tmp_path / "each")
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (64, 96, 3)
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["seed000000.png", "seed000009.png"]
    last = np.asarray(Image.open(tmp_path / "each" / "seed000009.png"))
    np.testing.assert_array_equal(sheet[33::2, 65::2], last)  # a seed is a picture, whatever is drawn beside it


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sample", "{run}", "--seeds", "5-2"], "no range of seeds"),
        (["sample", "{run}", "--seeds", "a"], "no seed"),
        (["sample", "{run}", "--seeds", "-5"], "no seed"),
        (["sample", "{run}", "--seeds", "0-99999999999"], "at most 100,000 at once"),
        (["sample", "{run}", "--seeds", "9223372036854775808"], "below 2**63"),
        (["sample", "{run}", "--out", "{tmp}/a.jpg"], "a sheet is written as .png"),
        (["sample", "{run}", "--out", "{tmp}/each", "--height", "32"], "name it FILE.png"),
        (["interpolate", "{run}", "--seconds", "nan"], "no number to count with"),
        (["timelapse", "{run}", "--fps", "inf"], "no number to count with"),
        (["sample", "{run}", "--label", "0"], "the networks have none"),
        (["sample", "{tmp}/none"], "does not exist"),
        (["interpolate", "{run}", "--grid", "4"], "columns x rows"),
        (["interpolate", "{run}", "--out", "a.avi"], ".mp4, .gif, .apng"),
        (["timelapse", "{run}", "--out", "a"], ".mp4, .gif, .apng"),
        (["export", "{run}", "--to", "onnx", "--out", "a.pt2"], "must end in .onnx"),
        (["export", "{run}", "--to", "tflite"], "tflite"),
    ],
)
def test_wrong_use_of_a_generator_is_one_sentence_and_exit_code_2(trained, tmp_path, exit_code_of, words, sentence):
    code, said = exit_code_of(*(word.format(run=trained, tmp=tmp_path) for word in words))
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize(
    ("words", "size", "count"),
    [(["--grid", "3x2"], (48, 32), 10), (["--seeds", "1,2"], (16, 16), 10), (["--height", "32"], (128, 64), 10)],
)
def test_an_interpolation_is_a_film_of_the_length_asked_for(trained, tmp_path, words, size, count):
    hqdata("interpolate", trained, "--out", tmp_path / "a.apng", "--seconds", "1", "--fps", "10", *words)
    with Image.open(tmp_path / "a.apng") as film:
        assert (film.size, film.n_frames) == (size, count)


def test_a_time_lapse_lies_beside_its_training(trained):
    answer = hqdata("timelapse", trained, "--seconds", "1", "--fps", "12")
    assert "6 sheets, 0.1 kimg" in answer.output
    assert int(cv2.VideoCapture(str(trained / "timelapse.mp4")).get(cv2.CAP_PROP_FRAME_COUNT)) == 12


@pytest.mark.parametrize("folder", [True, False])
def test_an_export_says_how_near_it_is(trained, tmp_path, folder):
    checkpoint = trained if folder else latest_checkpoint(trained) / "average.safetensors"
    answer = hqdata("export", checkpoint, "--to", "safetensors", "--out", tmp_path / "a.safetensors")
    assert "greatest difference 0 with load_snapshot, allowed 0" in answer.output
    assert load_snapshot(tmp_path / "a.safetensors").images == 96


def test_a_folder_without_a_checkpoint_is_one_sentence(tmp_path, exit_code_of):
    code, said = exit_code_of("sample", tmp_path)
    assert code == 1
    assert "holds no checkpoint" in said


@pytest.mark.slow
def test_two_processes_train_together(tmp_path, pictures):
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pipelines.cli"]
    settings = write_settings(tmp_path, total=32)
    settings.write_text(settings.read_text().replace("minibatch = 4", "minibatch = 8"))
    words += ["train", pictures, "--out", tmp_path / "run", "--config", settings, "--threads", "1", "--device", "cpu"]
    answer = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert load_snapshot(tmp_path / "run").images == 32
    assert answer.stderr.count("24 pictures of 16 px") == 1
