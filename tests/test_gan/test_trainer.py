"""A training is a function of its config and pictures: cut anywhere, split anyhow, it gives the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_gan import CPU, MINIBATCH, STEPS, differing, everything, small_config, small_pictures, small_trainer

from gan.checkpoint import load_checkpoint, save_checkpoint
from gan.pictures import ArrayPictures
from gan.trainer import Trainer
from hqdata.settings import ConfigError

CUTS = [
    pytest.param(0, id="before-the-first-step"),
    pytest.param(1, id="mid-epoch"),
    pytest.param(5, id="last-stable-step-before-growing"),
    pytest.param(6, id="just-grown"),
    pytest.param(8, id="mid-fade"),
    pytest.param(10, id="end-of-fade-before-the-reset"),
    pytest.param(11, id="after-the-reset"),
    pytest.param(16, id="just-grown-again"),
    pytest.param(18, id="mid-second-fade"),
    pytest.param(21, id="after-the-last-reset"),
    pytest.param(25, id="before-the-last-step"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]], dict[str, torch.Tensor]]:
    """One training without a break: a checkpoint of every step, all losses, and everything learned."""
    run, losses = tmp_path_factory.mktemp("whole"), []
    trainer = small_trainer()
    for _ in range(STEPS):
        save_checkpoint(trainer, run, progress={}, keep=STEPS)
        losses.append(_values(trainer.step()))
    trainer.close()
    return run, losses, everything(trainer)


def test_the_small_training_crosses_two_growths_and_two_fades():
    config = small_config()
    phases = [config.phase(step * MINIBATCH) for step in range(STEPS)]
    assert {phase.level for phase in phases} == {2, 3, 4}
    assert {phase.level for phase in phases if phase.fade < 1} == {3, 4}
    assert [phase.resets for phase in phases][::5] == [1, 1, 3, 3, 5, 5]


@pytest.mark.parametrize("cut", CUTS)
def test_a_training_cut_anywhere_goes_on_to_the_bit(whole, cut: int):
    run, losses, learned = whole
    torch.manual_seed(1234)  # whatever other code has drawn meanwhile
    trainer = small_trainer()
    load_checkpoint(trainer, run / "checkpoints" / f"{cut * MINIBATCH:012d}")
    assert [_values(trainer.step()) for _ in range(cut, STEPS)] == losses[cut:]
    trainer.close()
    assert differing(everything(trainer), learned) == []


def test_a_resumed_trainer_stands_where_it_stood(whole):
    run, _, _ = whole
    trainer = small_trainer()
    load_checkpoint(trainer, run / "checkpoints" / f"{8 * MINIBATCH:012d}")
    assert (trainer.images, trainer.phase.level, trainer.phase.fade) == (32, 3, 0.6)
    trainer.close()


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({"loss": {"adversarial": "relativistic", "penalty": "r1+r2"}}, id="relativistic"),
        pytest.param({"training": {"critic_steps": 2}}, id="two-critic-steps"),
        pytest.param({"networks": {"scaling": "separate"}}, id="separate-scaling"),
    ],
)
def test_other_games_go_on_to_the_bit_as_well(tmp_path: Path, sections: dict):
    trainer, again = small_trainer(**sections), small_trainer(**sections)
    for step in range(8):
        if step == 7:
            save_checkpoint(trainer, tmp_path, progress={}, keep=1)
        last = _values(trainer.step())
    load_checkpoint(again, next((tmp_path / "checkpoints").iterdir()))
    assert _values(again.step()) == last
    assert differing(everything(again), everything(trainer)) == []
    trainer.close()
    again.close()


def test_noise_that_follows_the_loss_goes_on_to_the_bit_as_well(tmp_path: Path):
    sections = {"loss": {"adversarial": "lsgan", "penalty": "none", "noise": 40.0}}
    trainer, again, quiet = small_trainer(**sections), small_trainer(**sections), small_trainer(**sections)
    trainer.smoothed_loss = 0.8
    trainer.step()
    save_checkpoint(trainer, tmp_path, progress={}, keep=1)
    load_checkpoint(again, next((tmp_path / "checkpoints").iterdir()))
    load_checkpoint(quiet, next((tmp_path / "checkpoints").iterdir()))
    quiet.smoothed_loss = 0.0
    assert again.smoothed_loss == trainer.smoothed_loss != 0.8
    losses = [_values(one.step()) for one in (trainer, again, quiet)]
    assert losses[0] == losses[1] != losses[2]
    for one in (trainer, again, quiet):
        one.close()


def test_labels_go_on_to_the_bit_as_well(tmp_path: Path):
    config, pictures = small_config(networks={"labels": 3}), small_pictures(classes=3)
    trainer, again = (Trainer(config, pictures, machine=CPU) for _ in range(2))
    trainer.step()
    save_checkpoint(trainer, tmp_path, progress={}, keep=1)
    load_checkpoint(again, next((tmp_path / "checkpoints").iterdir()))
    losses = _values(trainer.step())
    assert {"score/labels", "generator/labels"} <= losses.keys()
    assert _values(again.step()) == losses
    trainer.close()
    again.close()


def test_another_attempt_draws_other_latents_and_the_same_pictures(monkeypatch: pytest.MonkeyPatch):
    first, second = small_trainer(), small_trainer()
    second.attempt = 1
    parts = [[], []]
    for trainer, seen in zip((first, second), parts, strict=True):
        monkeypatch.setattr(
            trainer, "_descend", lambda steps, part, *others, seen=seen: seen.append(part) or {"score": torch.zeros(())}
        )
        trainer.step()
        trainer.close()
    assert torch.equal(parts[0][0].real, parts[1][0].real)
    assert not torch.equal(parts[0][0].latents, parts[1][0].latents)


def test_growing_changes_no_number_that_was_learned_before():
    trainer = small_trainer()
    for _ in range(5):
        trainer.step()
    latents = torch.randn(4, 8)
    before = trainer.average(latents, level=2)
    assert trainer.config.phase(trainer.images + 1).level == 3
    begun = trainer.average(latents, level=3, fade=0.0)
    assert torch.equal(begun, torch.nn.functional.interpolate(before, scale_factor=2))
    trainer.close()


def test_levels_not_grown_into_yet_keep_their_first_weights():
    trainer = small_trainer()
    begun = everything(trainer)
    for _ in range(5):
        trainer.step()
    trainer.close()
    now = everything(trainer)
    later = [name for name in begun if ".blocks.4." in name or ".blocks.3." in name]
    assert later
    assert [name for name in later if not torch.equal(begun[name], now[name])] == []


def test_the_average_moves_before_the_generator_does():
    trainer = small_trainer(training={"average_half_life_images": 0.0})
    begun = trainer.generator.conv.weight.detach().clone()
    trainer.step()
    trainer.close()
    assert torch.equal(trainer.average.conv.weight, begun)
    assert not torch.equal(trainer.generator.conv.weight, begun)


@pytest.mark.parametrize("memory", [4, 8])
def test_a_step_in_parts_is_the_step_in_one(monkeypatch: pytest.MonkeyPatch, memory: int):
    sections = {"schedule": {"minibatch": 16}}
    whole, split = small_trainer(**sections), small_trainer(**sections)
    _limit_memory(monkeypatch, split, memory)
    for _ in range(3):
        expected, got = _values(whole.step()), _values(split.step())
        assert got == pytest.approx(expected, abs=1e-6)
    whole.close()
    split.close()
    one, other = everything(whole), everything(split)
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-6


def test_memory_found_short_once_is_remembered(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    trainer = small_trainer(schedule={"minibatch": 16})
    _limit_memory(monkeypatch, trainer, 8)
    trainer.step()
    trainer.step()
    trainer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory at level 2: each step now runs in 2 parts"
    ]


def test_a_step_that_cannot_be_split_raises_the_devices_own_error(monkeypatch: pytest.MonkeyPatch):
    trainer = small_trainer()
    _limit_memory(monkeypatch, trainer, 3)
    with pytest.raises(torch.OutOfMemoryError, match="injected"):
        trainer.step()
    trainer.close()


def test_a_smaller_minibatch_after_a_split_is_not_split_below_its_groups(monkeypatch: pytest.MonkeyPatch):
    trainer = small_trainer(schedule={"minibatch": 4, "minibatch_at": {4: 20}})
    _limit_memory(monkeypatch, trainer, 19)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.step()  # five groups cannot be dealt to two parts
    trainer.close()
    trainer = small_trainer(schedule={"minibatch": 4, "minibatch_at": {4: 16}})
    _limit_memory(monkeypatch, trainer, 8)
    for _ in range(3):
        trainer.step()
    trainer.close()
    assert trainer.phase.minibatch == 4


@pytest.mark.parametrize(
    ("sections", "pictures", "message"),
    [
        ({"networks": {"channels": 1}}, {}, "the pictures have 3 channels, the networks 1; set networks.channels"),
        ({"networks": {"resolution": 32}}, {}, "the pictures have 16 px, the networks 32; .* at most 16"),
        ({"networks": {"labels": 4}}, {}, "the pictures have 0 labels, the networks 4; set networks.labels"),
        ({}, {"classes": 3}, "the pictures have 3 labels, the networks 0; set networks.labels"),
        ({"networks": {"base": (4, 6)}}, {}, r"level 2 must be uint8 \(3, 4, 6\), got torch.uint8 \(3, 4, 4\)"),
    ],
)
def test_pictures_that_cannot_feed_the_networks_are_refused(sections: dict, pictures: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        Trainer(small_config(**sections), small_pictures(**pictures), machine=CPU)


@pytest.mark.parametrize("value", [2.0, -1.0, float("nan")])
def test_labels_out_of_range_are_refused_by_picture(value: float):
    labels = torch.eye(3).repeat(6, 1)
    labels[7, 1] = value
    pictures = ArrayPictures(np.full((18, 3, 16, 16), 200, np.uint8), labels=labels)
    with pytest.raises(ConfigError, match=r"labels must be rows of 0\.\.1, got \[.*\] for picture 7"):
        Trainer(small_config(networks={"labels": 3}), pictures, machine=CPU)


def _values(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in terms.items()}


def _limit_memory(monkeypatch: pytest.MonkeyPatch, trainer: Trainer, most: int) -> None:
    """Let both steps run out of memory for more than so many pictures, half-way through their gradients."""
    for name in ("discriminator", "generator"):
        honest = getattr(trainer._steps, name)

        def limited(part, honest=honest):
            terms = honest(part)
            if len(part.latents) > most:
                raise torch.OutOfMemoryError("injected")
            return terms

        monkeypatch.setattr(trainer._steps, name, limited)
