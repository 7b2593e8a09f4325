"""What a training promises holds for every architecture: its numbers are a function of its config and pictures."""

from pathlib import Path

import pytest
import torch
from small_gan import differing, everything, small_pictures
from small_zoo import GAMES, STILL, limit_memory, values_of, zoo_config, zoo_pair, zoo_trainer

import gan.trainer
from gan.checkpoint import latest_checkpoint, load_checkpoint, load_snapshot, save_checkpoint
from gan.modulation import measure_statistics
from gan.sample import generate, latents_of, sheet
from gan.spectral import SpectralConv2d, SpectralLinear, advance_norms
from gan.trainer import Trainer
from hqdata.training.machine import Machine

STEPS = 12
CUTS = {
    "before-the-first-step": 0,
    "mid-epoch": 1,
    "just-grown": 6,
    "mid-fade": 8,
    "before-the-last-step": 11,
}
"""Steps; what they are called by is so for architectures that grow."""
LABELS = {"networks": {"labels": 3}}


@pytest.fixture(scope="module", params=GAMES)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A training of each architecture without a break: its folder, losses, and everything learned."""
    run, losses = tmp_path_factory.mktemp(request.param), []
    trainer = zoo_trainer(request.param)
    for _ in range(STEPS):
        save_checkpoint(trainer, run, progress={"at": trainer.images}, keep=STEPS)
        losses.append(values_of(trainer.step()))
    trainer.close()
    return request.param, run, losses, everything(trainer)


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_training_cut_anywhere_goes_on_to_the_bit(whole, cut: int):
    name, run, losses, learned = whole
    trainer = zoo_trainer(name)
    folder = sorted((run / "checkpoints").iterdir())[cut]
    assert load_checkpoint(trainer, folder) == {"at": trainer.images}
    assert [_disturbed_step(trainer) for _ in range(cut, STEPS)] == losses[cut:]
    trainer.close()
    assert differing(everything(trainer), learned) == []


@pytest.mark.parametrize("name", GAMES)
def test_with_labels_it_goes_on_to_the_bit_as_well(tmp_path: Path, name: str):
    trainer, again = zoo_trainer(name, **LABELS), zoo_trainer(name, **LABELS)
    trainer.step()
    load_checkpoint(again, save_checkpoint(trainer, tmp_path, progress={}, keep=1))
    losses = [values_of(trainer.step()), values_of(trainer.step())]
    assert [_disturbed_step(again), _disturbed_step(again)] == losses
    trainer.close()
    again.close()
    assert differing(everything(again), everything(trainer)) == []


@pytest.mark.parametrize("name", GAMES)
def test_looking_at_a_training_changes_none_of_its_numbers(tmp_path: Path, name: str):
    alone, watched = zoo_trainer(name, **LABELS), zoo_trainer(name, **LABELS)
    labels = torch.eye(3).repeat(3, 1)
    for _ in range(3):
        losses = values_of(alone.step())
        sheet(generate(watched.average, latents_of(range(9), 8), labels, level=watched.phase.level))
        save_checkpoint(watched, tmp_path, progress={}, keep=1)
        assert values_of(watched.step()) == losses
    alone.close()
    watched.close()
    assert differing(everything(alone), everything(watched)) == []


def test_a_checkpoint_draws_the_pictures_of_the_average(whole):
    name, run, _, _ = whole
    trainer, folder = zoo_trainer(name), latest_checkpoint(run)
    assert folder is not None
    load_checkpoint(trainer, folder)
    trainer.close()
    snapshot, latents = load_snapshot(run), latents_of(range(5), 8)
    where = {"level": snapshot.level, "fade": snapshot.fade}
    assert where == {"level": trainer.phase.level, "fade": trainer.phase.fade}
    drawn = generate(snapshot.generator, latents, **where)
    assert len(drawn.unique()) > 20
    assert torch.equal(drawn, generate(trainer.average, latents, **where))


def test_the_average_draws_each_picture_alone_as_in_company(whole):
    _, run, _, _ = whole
    snapshot, latents = load_snapshot(run), latents_of(range(70), 8)
    assert not any(module.training for module in snapshot.generator.modules())
    together = generate(snapshot.generator, latents, level=snapshot.level, fade=snapshot.fade)
    single = generate(snapshot.generator, latents[66:67], level=snapshot.level, fade=snapshot.fade)
    assert torch.equal(together[66:67], single)


@pytest.mark.parametrize("name", GAMES)
def test_the_average_of_a_trainer_is_in_eval_mode_and_the_generator_is_not(name: str):
    trainer = zoo_trainer(name)
    trainer.step()
    trainer.close()
    assert not any(module.training for module in trainer.average.modules())
    assert all(module.training for module in trainer.generator.modules())
    assert not any(value.requires_grad for value in trainer.average.parameters())


@pytest.mark.parametrize("name", STILL)
def test_statistics_begin_as_those_of_fresh_weights(name: str):
    """So a fresh average draws what the fresh generator draws of many latents, and not all but grey."""
    trainer, latents = zoo_trainer(name), latents_of(range(512), 8)
    trainer.close()
    with torch.no_grad():
        averaged, of_the_batch = trainer.average(latents), trainer.generator(latents)
    assert float((averaged - of_the_batch).square().mean()) < 0.03 * float(of_the_batch.var())


@pytest.mark.parametrize("name", STILL)
def test_a_saved_average_has_the_statistics_of_its_own_features(tmp_path: Path, name: str):
    """Those of the generator in training are of other weights: an average follows many steps behind."""
    trainer, latents = zoo_trainer(name, schedule={"rate": 0.01}), latents_of(range(512), 8)
    for _ in range(8):
        trainer.step()
    trainer.close()
    borrowed = trainer.average(latents)
    save_checkpoint(trainer, tmp_path, progress={}, keep=1)
    own = load_snapshot(tmp_path).generator(latents)
    with torch.no_grad():
        of_the_batch = trainer.average.train()(latents)
    apart = [float((drawn - of_the_batch).square().mean() / of_the_batch.var()) for drawn in (own, borrowed)]
    assert apart[0] < 0.03
    assert apart[0] < apart[1]


@pytest.mark.parametrize("name", ["progan", "style"])
def test_networks_without_batch_statistics_are_not_drawn_from_to_begin_with(name: str):
    generator, _ = zoo_pair(name)
    measure_statistics(generator, lambda index: pytest.fail("drawn from"))


def test_statistics_follow_at_their_own_momentum_afterwards():
    generator, _ = zoo_pair("dcgan")
    measure_statistics(generator, lambda index: generator(torch.randn(4, 8)))
    assert {module.momentum for module in generator.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {0.1}


@pytest.mark.parametrize(("name", "steps"), [("resnet", 1), ("selfmod", 2), ("sagan", 1)])
def test_singular_vectors_move_once_before_each_networks_step(monkeypatch: pytest.MonkeyPatch, name: str, steps: int):
    trainer, moved = zoo_trainer(name), []
    monkeypatch.setattr(gan.trainer, "advance_norms", lambda network: moved.append(network) or advance_norms(network))
    limit_memory(monkeypatch, trainer, 2)  # in parts too
    trainer.step()
    trainer.close()
    assert moved == [trainer.discriminator] * steps + [trainer.generator]


def test_weights_stay_at_a_singular_value_of_1_while_they_are_trained():
    trainer = zoo_trainer("sagan")
    for _ in range(8):
        trainer.step()
    trainer.close()
    assert max(_greatest_singular_values(trainer.discriminator)) < 1.1
    assert max(_greatest_singular_values(trainer.generator)) < 1.1


@pytest.mark.parametrize("name", [*STILL, "style"])
def test_memory_that_ran_short_leaves_no_trace(monkeypatch: pytest.MonkeyPatch, name: str):
    """A training that knows beforehand that it needs parts, as after a resumption, learns the same to the bit."""
    warned, knowing = (zoo_trainer(name, schedule={"minibatch": 16}) for _ in range(2))
    limit_memory(monkeypatch, warned, 8)
    knowing._parts = 2
    for _ in range(2):
        assert values_of(warned.step()) == values_of(knowing.step())
    warned.close()
    knowing.close()
    assert warned._parts == 2
    assert differing(everything(warned), everything(knowing)) == []


@pytest.mark.parametrize("name", STILL)
def test_parts_with_statistics_of_their_own_are_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
):
    trainer = zoo_trainer(name)
    limit_memory(monkeypatch, trainer, 2)
    trainer.step()
    trainer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory at level 4: each step now runs in 2 parts, each with batch statistics of its own"
    ]


@pytest.mark.parametrize("name", GAMES)
def test_a_training_in_bfloat16_goes_on_to_the_bit_as_well(tmp_path: Path, name: str):
    rough = Machine(device="cpu", precision="bfloat16")
    config, pictures = zoo_config(name, **LABELS), small_pictures(classes=3)
    trainer, again = (Trainer(config, pictures, machine=rough) for _ in range(2))
    trainer.step()
    load_checkpoint(again, save_checkpoint(trainer, tmp_path, progress={}, keep=1))
    assert values_of(again.step()) == values_of(trainer.step())
    trainer.close()
    again.close()
    assert differing(everything(again), everything(trainer)) == []
    assert {value.dtype for value in trainer.average.parameters()} == {torch.float32}


def _disturbed_step(trainer: Trainer) -> dict[str, float]:
    """Take a step after other code has drawn random numbers of its own."""
    torch.rand(7)
    return values_of(trainer.step())


def _greatest_singular_values(network: torch.nn.Module) -> list[float]:
    layers = [module for module in network.modules() if isinstance(module, SpectralConv2d | SpectralLinear)]
    return [float(torch.linalg.matrix_norm(layer.norm(layer.weight.detach()).flatten(1), 2)) for layer in layers]
