"""A checkpoint is whole or not there, says what it is, and damage is refused by the file's name."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_gan import checkpoint_folders, differing, everything, small_trainer

import gan.checkpoint as checkpoints
from gan.checkpoint import (
    CheckpointError,
    find_not_finite,
    latest_checkpoint,
    load_checkpoint,
    load_snapshot,
    save_checkpoint,
    save_generator,
)
from gan.sample import generate, latents_of
from gan.trainer import Trainer

FILES = ["average", "discriminator", "discriminator_adam", "generator", "generator_adam"]


@pytest.fixture
def trainer():
    """A trainer after one step, so that every file has something to hold."""
    trainer = small_trainer()
    trainer.step()
    yield trainer
    trainer.close()


@pytest.fixture
def saved(trainer: Trainer, tmp_path: Path) -> Path:
    return save_checkpoint(trainer, tmp_path, progress={"seconds": 1.5}, keep=3)


def test_a_folder_is_named_by_images_and_holds_no_pickle(saved: Path):
    assert saved.name == "000000000004"
    assert sorted(path.name for path in saved.iterdir()) == [*(f"{name}.safetensors" for name in FILES), "state.json"]
    state = json.loads((saved / "state.json").read_text())
    assert (state["images"], state["level"], state["fade"], state["config"]["training"]["seed"]) == (4, 2, 1.0, 5)
    assert sorted(state["files"]) == FILES


def test_the_snippet_of_the_specification_reads_a_checkpoint(saved: Path):
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text().partition("# Formats of a training")[2]
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict = {}
    exec(snippet.replace("RUN/checkpoints/000000036000", str(saved)), names)
    assert (names["about"]["level"], names["about"]["fade"], names["about"]["images"]) == (2, 1.0, 4)


def test_moments_are_named_by_their_parameters(saved: Path):
    with safe_open(saved / "generator_adam.safetensors", framework="pt") as opened:
        assert {"conv.weight/exp_avg", "conv.weight/exp_avg_sq", "conv.weight/step"} <= set(opened.keys())


def test_loading_what_was_saved_is_the_identity(saved: Path, trainer: Trainer):
    again = small_trainer(training={"seed": 5})
    for _ in range(2):
        again.step()
    assert load_checkpoint(again, saved) == {"seconds": 1.5}
    again.close()
    assert differing(everything(again), everything(trainer)) == []
    assert (again.images, again.attempt, again.resets) == (trainer.images, trainer.attempt, trainer.resets)


def test_the_newest_stay_and_older_ones_go(trainer: Trainer, tmp_path: Path):
    for _ in range(4):
        save_checkpoint(trainer, tmp_path, progress={}, keep=2)
        trainer.step()
    assert checkpoint_folders(tmp_path) == ["000000000012", "000000000016"]
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoints" / "000000000016"


def test_a_run_without_checkpoints_has_no_latest(tmp_path: Path):
    assert latest_checkpoint(tmp_path) is None


def test_saving_the_same_moment_again_replaces_it(trainer: Trainer, saved: Path, tmp_path: Path):
    save_checkpoint(trainer, tmp_path, progress={"seconds": 9.0}, keep=3)
    assert checkpoint_folders(tmp_path) == ["000000000004"]
    assert json.loads((saved / "state.json").read_text())["progress"] == {"seconds": 9.0}


def test_what_a_kill_left_behind_is_cleared_by_the_next_save(trainer: Trainer, saved: Path, tmp_path: Path):
    shutil.copytree(saved, saved.with_name(".000000000008"))
    shutil.copytree(saved, saved.with_name(".removed-000000000000"))
    assert latest_checkpoint(tmp_path) == saved
    trainer.step()
    save_checkpoint(trainer, tmp_path, progress={}, keep=3)
    assert checkpoint_folders(tmp_path) == ["000000000004", "000000000008"]


def test_a_full_disk_leaves_the_earlier_checkpoints(
    trainer: Trainer, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    trainer.step()
    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(trainer, tmp_path, progress={}, keep=1)
    assert checkpoint_folders(tmp_path) == [saved.name]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("generator", "conv.weight of the generator holds NaN or infinity"),
        ("discriminator", "conv.weight of the discriminator holds NaN or infinity"),
        ("average", "conv.weight of the average holds NaN or infinity"),
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_never_saved(
    trainer: Trainer, tmp_path: Path, network: str, message: str, value: float
):
    with torch.no_grad():
        getattr(trainer, network).conv.weight[0, 0, 0, 0] = value
    assert find_not_finite(trainer) == message
    with pytest.raises(CheckpointError, match=f"{message}, so the training is not saved"):
        save_checkpoint(trainer, tmp_path, progress={}, keep=3)
    assert latest_checkpoint(tmp_path) is None


def test_moments_that_are_no_numbers_are_never_saved(trainer: Trainer, tmp_path: Path):
    trainer.generator_optimiser.state[trainer.generator.conv.weight]["exp_avg_sq"].fill_(float("inf"))
    with pytest.raises(CheckpointError, match=r"conv.weight/exp_avg_sq of the generator_adam holds NaN or infinity"):
        save_checkpoint(trainer, tmp_path, progress={}, keep=3)


def test_a_healthy_trainer_holds_numbers_alone(trainer: Trainer):
    assert find_not_finite(trainer) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_damaged_file_is_refused_by_name(saved: Path, trainer: Trainer, name: str, damage: str):
    file = saved / f"{name}.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[-9] ^= 1
    file.unlink()
    if damage != "missing":
        file.write_bytes(data[:-20] if damage == "cut" else data)
    with pytest.raises(CheckpointError, match=rf"{name}.safetensors: (does not have the checksum|cannot be read)"):
        load_checkpoint(trainer, saved)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": "progan-hq/che', r"state.json: cannot be read .* remove this checkpoint to use an earlier one"),
        ("[1, 2]", r"state.json: is no checkpoint's"),
        ('{"format": "other", "version": 1}', r"state.json: is other version 1, wanted progan-hq/checkpoint version 1"),
        ('{"format": "progan-hq/checkpoint", "version": 9}', r"is progan-hq/checkpoint version 9, wanted"),
        ('{"format": "progan-hq/checkpoint", "version": 1}', r"state.json: lacks 'images'"),
    ],
)
def test_a_foreign_or_damaged_state_is_refused_by_name(saved: Path, trainer: Trainer, text: str, message: str):
    (saved / "state.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(trainer, saved)


def test_a_file_of_other_networks_is_refused_by_name(saved: Path):
    other = small_trainer(networks={"latent": 16})
    with pytest.raises(CheckpointError, match=r"generator.safetensors: does not fit the networks: .*dense.weight"):
        load_checkpoint(other, saved)
    other.close()


def test_one_file_alone_is_enough_to_draw(saved: Path, trainer: Trainer, tmp_path: Path):
    file = shutil.move(saved / "average.safetensors", tmp_path / "alone.safetensors")
    shutil.rmtree(saved)
    snapshot = load_snapshot(Path(file))
    latents = latents_of(range(4), 8)
    drawn = generate(snapshot.generator, latents, level=snapshot.level, fade=snapshot.fade)
    assert torch.equal(drawn, generate(trainer.average, latents, level=2))
    assert (snapshot.level, snapshot.fade, snapshot.images, len(snapshot.sha256)) == (2, 1.0, 4, 64)
    assert not snapshot.generator.training


@pytest.mark.parametrize("depth", ["run", "checkpoint", "file"])
def test_a_snapshot_is_found_from_any_depth(saved: Path, tmp_path: Path, depth: str):
    path = {"run": tmp_path, "checkpoint": saved, "file": saved / "average.safetensors"}[depth]
    assert load_snapshot(path).images == 4


def test_a_generator_saved_alone_is_the_same_again(trainer: Trainer, tmp_path: Path):
    save_generator(tmp_path / "one.safetensors", trainer.generator, level=3, fade=0.25, images=7)
    snapshot = load_snapshot(tmp_path / "one.safetensors")
    assert (snapshot.level, snapshot.fade, snapshot.images) == (3, 0.25, 7)
    assert all(
        torch.equal(value, trainer.generator.state_dict()[name])
        for name, value in snapshot.generator.state_dict().items()
    )


@pytest.mark.parametrize("what", ["text", "foreign", "cut"])
def test_a_file_that_is_no_generator_of_ours_is_refused_by_name(saved: Path, tmp_path: Path, what: str):
    file = tmp_path / "strange.safetensors"
    if what == "foreign":
        save_file({"weight": torch.zeros(2)}, file)
    else:
        file.write_bytes(b"hello" if what == "text" else (saved / "average.safetensors").read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"strange.safetensors: is no generator of a training here"):
        load_snapshot(file)


def test_a_folder_without_a_checkpoint_is_refused_by_name(tmp_path: Path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_snapshot(tmp_path)
