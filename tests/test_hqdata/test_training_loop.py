"""A run goes on bit for bit after any interruption, and never as another run."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from training_photos import random_features, same_weights, write_patterns

import hqdata.restore.train as restoring
import hqdata.upscale.train as upscaling
from hqdata import restore, upscale
from hqdata.training import loop
from hqdata.training.machine import Machine
from hqdata.training.runlog import RunLog


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_patterns(tmp_path_factory.mktemp("loop") / "photos")


@pytest.fixture(autouse=True)
def frequent(monkeypatch):
    monkeypatch.setattr(loop, "SAVE_IMAGES", 8)
    monkeypatch.setattr(loop, "LOG_IMAGES", 4)


def train_restorer(photos, run, **changes):
    return restoring.train(photos, run, restoring.Settings(**{"images": 24, "batch": 4, "patch": 16} | changes))


def train_upscaler(photos, run, **changes):
    sizes = {"images": 20, "gan_images": 12, "batch": 2, "patch": 32}
    settings = upscaling.Settings(**sizes | changes)
    return upscaling.train(photos, run, settings, restorer=restore.load(), perceptual=random_features())


COUNTS = {"images", "seconds", "images_per_second", "rate"}
TRAINERS = {"restorer": (restoring, train_restorer), "upscaler": (upscaling, train_upscaler)}


def stop_at(monkeypatch, module, images_shown, stop):
    step = module._Training.step

    def stop_or_step(self, images):
        if images == images_shown:
            stop()
        return step(self, images)

    monkeypatch.setattr(module._Training, "step", stop_or_step)


def die():
    raise RuntimeError("killed")


@pytest.mark.parametrize(
    ("name", "images_shown"),
    [("restorer", 4), ("restorer", 12), ("upscaler", 4), ("upscaler", 8), ("upscaler", 10), ("upscaler", 18)],
)
def test_a_run_killed_anywhere_ends_with_the_same_weights(photos, tmp_path, monkeypatch, name, images_shown):
    """Among others before the first save, and around the beginning of the adversarial stage after 8 images."""
    module, train = TRAINERS[name]
    uninterrupted = train(photos, tmp_path / "once")
    with monkeypatch.context() as patch:
        stop_at(patch, module, images_shown, die)
        with pytest.raises(RuntimeError, match="killed"):
            train(photos, tmp_path / "twice")
    assert same_weights(train(photos, tmp_path / "twice"), uninterrupted)
    for file in (tmp_path / "once").glob("*.safetensors"):
        assert (tmp_path / "twice" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_saves(photos, tmp_path, monkeypatch, number):
    with monkeypatch.context() as patch:
        stop_at(patch, restoring, 12, lambda: signal.raise_signal(number))
        with pytest.raises(KeyboardInterrupt):
            train_restorer(photos, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "state.json").read_text())["images"] == 16
    assert same_weights(train_restorer(photos, tmp_path / "run"), train_restorer(photos, tmp_path / "once"))


@pytest.mark.slow
def test_a_process_killed_outright_goes_on_bit_for_bit(photos, tmp_path):
    code = f"""
import os, signal
from pathlib import Path
import hqdata.restore.train as restoring
from hqdata.training import loop
loop.SAVE_IMAGES = 8
step = restoring._Training.step
def kill_or_step(self, images):
    if images == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, images)
restoring._Training.step = kill_or_step
settings = restoring.Settings(images=24, batch=4, patch=16)
restoring.train(Path({str(photos)!r}), Path({str(tmp_path / "run")!r}), settings)
"""
    answer = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert answer.returncode == -signal.SIGKILL, answer.stderr
    assert same_weights(train_restorer(photos, tmp_path / "run"), train_restorer(photos, tmp_path / "once"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rate": 1e-4}, "rate was 0.0015, now 0.0001"),
        ({"seed": 3, "images": 8}, "images was 4, now 8; seed was 0, now"),
    ],
)
def test_other_settings_are_refused_by_name(photos, tmp_path, changes, sentence):
    train_restorer(photos, tmp_path / "run", images=4)
    with pytest.raises(ValueError, match=sentence):
        train_restorer(photos, tmp_path / "run", **{"images": 4} | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": "dejpeg-large"}, "network was dejpeg-small, now dejpeg-large"),
        ({"start": "dejpeg-small"}, "start was None, now [0-9a-f]{64}"),
        ({"machine": Machine(precision="bfloat16")}, "precision was float32, now bfloat16"),
    ],
)
def test_another_beginning_is_refused_by_name(photos, tmp_path, changes, sentence):
    settings = restoring.Settings(images=1, batch=1, patch=16)
    restoring.train(photos, tmp_path / "run", settings)
    if "start" in changes:
        changes = {"start": restore.load(changes["start"])}
    with pytest.raises(ValueError, match=sentence):
        restoring.train(photos, tmp_path / "run", settings, **changes)


def test_other_photos_are_refused_and_the_runs_own_stay_listed(photos, tmp_path):
    train_restorer(photos, tmp_path / "run", images=4)
    listed = (tmp_path / "run" / "attributions.json").read_bytes()
    with pytest.raises(ValueError, match=r"photos was [0-9a-f]{64}, now [0-9a-f]{64}"):
        train_restorer(write_patterns(tmp_path / "more", count=3), tmp_path / "run", images=4)
    assert (tmp_path / "run" / "attributions.json").read_bytes() == listed


def test_a_state_of_unknown_origin_is_refused(photos, tmp_path):
    train_restorer(photos, tmp_path / "run", images=4)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(ValueError, match=r"holds a saved state but no run\.json"):
        train_restorer(photos, tmp_path / "run", images=4)


def test_other_versions_are_warned_of(photos, tmp_path, caplog):
    train_restorer(photos, tmp_path / "run", images=4)
    path = tmp_path / "run" / "run.json"
    noted = json.loads(path.read_text())
    noted["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(noted))
    train_restorer(photos, tmp_path / "run", images=4)
    assert "version of torch was 1.0" in caplog.text


def test_the_adversarial_stage_begins_from_the_average_that_it_writes(photos, tmp_path):
    train_upscaler(photos, tmp_path / "run")
    alone = train_upscaler(photos, tmp_path / "l1", images=8, gan_images=0)
    written = upscale.load(tmp_path / "run" / "sr4-small-l1.safetensors").module
    assert all(
        torch.equal(value, alone.state_dict()[key].half().float()) for key, value in written.state_dict().items()
    )


def test_both_stages_leave_different_weights(photos, tmp_path):
    trained = train_upscaler(photos, tmp_path / "run")
    before = upscale.load(tmp_path / "run" / "sr4-small-l1.safetensors").module
    assert not same_weights(before, trained)


def test_a_gan_from_random_weights_is_refused(photos, tmp_path):
    with pytest.raises(ValueError, match="learns nothing from random weights"):
        train_upscaler(photos, tmp_path / "run", gan_images=20)


def test_a_gan_alone_begins_from_trained_weights(photos, tmp_path):
    settings = upscaling.Settings(images=4, gan_images=4, batch=2, patch=32, perceptual_weight=0.0)
    start = upscale.load()
    trained = upscaling.train(photos, tmp_path / "run", settings, restorer=restore.load(), start=start)
    change = max(
        float((value - start.module.state_dict()[key]).abs().max()) for key, value in trained.state_dict().items()
    )
    assert 0 < change < 0.01


def test_weights_of_another_size_cannot_be_the_start(photos, tmp_path):
    settings = restoring.Settings(images=4, batch=4, patch=16)
    with pytest.raises(ValueError, match="start: dejpeg-small does not fit"):
        restoring.train(photos, tmp_path / "run", settings, network="dejpeg-large", start=restore.load())


@pytest.mark.parametrize("name", ["restorer", "upscaler"])
def test_a_run_leaves_a_log_samples_and_attributions(photos, tmp_path, name):
    run = tmp_path / "run"
    TRAINERS[name][1](photos, run)
    lines = [json.loads(line) for line in (run / "runlog.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == sorted({line["images"] for line in lines})
    assert {"seconds", "images_per_second", "rate"} <= lines[-1].keys()
    assert {"error", "relative_square"} & lines[-1].keys()
    assert [path.suffix for path in (run / "samples").iterdir()] == [".png"]
    used = json.loads((run / "attributions.json").read_text())
    assert [(one["name"], len(one["pixels_sha256"])) for one in used] == [("0.png", 64), ("1.png", 64)]


def test_a_resumed_log_drops_what_was_never_saved(tmp_path):
    path = tmp_path / "runlog.jsonl"
    log = RunLog(path)
    for images in (4, 8, 12):
        log.add({"error": float(images)})
        log.write(images)
    with path.open("a") as file:
        file.write('{"images": 16, "err')
    again = RunLog(path, images=8, seconds=5.0)
    again.add({"error": 1.0})
    again.write(12)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["images"], line["error"]) for line in lines] == [(4, 4.0), (8, 8.0), (12, 1.0)]
    assert lines[-1]["seconds"] >= 5.0


def test_a_log_resumed_between_two_lines_writes_the_means_of_one_without_a_break(tmp_path):
    def means(*breaks):
        path = tmp_path / f"{len(breaks)}.jsonl"
        log = RunLog(path)
        for images in range(1, 9):
            log.add({"error": 0.1 * images, **({"gan": 3.0} if images > 2 else {})})
            if images in breaks:
                log = RunLog(path, images=images, unfinished=json.loads(json.dumps(log.unfinished)))
            if images % 4 == 0:
                log.write(images)
        return [(line["images"], line["error"], line["gan"]) for line in map(json.loads, path.read_text().splitlines())]

    assert means(1, 3, 6) == means()


def test_a_loss_that_is_no_number_ends_the_run_by_name(tmp_path):
    with pytest.raises(ValueError, match="gan has become nan"):
        RunLog(tmp_path / "runlog.jsonl").add({"error": 1.0, "gan": float("nan")})


@pytest.mark.parametrize("changes", [{"images": 0}, {"patch": 15}, {"batch": 0}])
def test_a_restorer_that_cannot_be_trained_is_refused(changes):
    with pytest.raises(ValueError, match="must be positive"):
        restoring.Settings(**changes)


@pytest.mark.parametrize("gan_images", [1, 3])
def test_an_adversarial_stage_that_whole_batches_leave_no_room_for_is_refused(gan_images):
    with pytest.raises(ValueError, match="adversarial stage would not begin"):
        upscaling.Settings(images=12, batch=8, gan_images=gan_images)


@pytest.mark.parametrize(
    "changes", [{"images": 5, "gan_images": 6}, {"patch": 100}, {"patch": 16}, {"restored_share": 1.1}]
)
def test_an_upscaler_that_cannot_be_trained_is_refused(changes):
    with pytest.raises(ValueError, match=r"gan_images|patch must be|restored_share must be"):
        upscaling.Settings(**changes)


def test_random_weights_begin_by_squares_and_trained_ones_do_not(photos, tmp_path):
    settings = restoring.Settings(images=12, batch=4, patch=16, early_images=8)
    for name, start in (("random", None), ("trained", restore.load())):
        restoring.train(photos, tmp_path / name, settings, start=start)
    measured = {
        name: [set(json.loads(line)) - COUNTS for line in (tmp_path / name / "runlog.jsonl").read_text().splitlines()]
        for name in ("random", "trained")
    }
    assert measured == {
        "random": [{"relative_square"}, {"relative_square"}, {"relative_error"}],
        "trained": [{"relative_error"}] * 3,
    }


def test_squares_let_a_clean_picture_change_a_little():
    """The slope at no change is 0, and for plain errors it is not: that is what held random weights at the identity."""
    picture = torch.full((1, 3, 8, 8), 0.2)
    changed = (picture + 1e-6).requires_grad_()
    slopes = {
        measure: torch.autograd.grad(measure(changed, given=picture, target=picture), changed)[0].abs().sum()
        for measure in (restoring.relative_square, restoring.relative_error)
    }
    assert slopes[restoring.relative_square] < 1e-2
    assert slopes[restoring.relative_error] > 1
