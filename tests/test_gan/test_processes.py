"""Two processes train what one trains: run for real, over gloo."""

import datetime
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small_gan import CPU, differing, everything, small_config, small_pictures

from gan.checkpoint import latest_checkpoint, load_checkpoint
from gan.config import GanConfig
from gan.processes import ALONE, Processes, deal, join_processes
from gan.steps import Part
from gan.trainer import Trainer
from gan.training_run import run_training
from hqdata.settings import ConfigError

STEPS = 20
PATIENCE_S = 120

SCHEDULE = {"minibatch": 8, "stable_images": 40, "fade_images": 40, "total_images": 8 * STEPS}
# With Adam's own 1e-8, a weight whose gradient vanishes but for rounding is moved by a whole step in a direction that
# rounding chose; with 1e-4 equal gradients are equal steps, and everything else about the training is the same.
CONFIG = small_config(schedule=SCHEDULE, training={"epsilon": 1e-4})
LARGE = small_config(schedule={**SCHEDULE, "minibatch": 16}, training={"epsilon": 1e-4})


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes saw, and the folder that they trained in."""
    root = tmp_path_factory.mktemp("processes")
    mp.start_processes(_process, args=(str(root),), nprocs=2, start_method="spawn")  # pyright: ignore
    return root, [torch.load(root / f"answers.{rank}", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return _twenty_steps(CONFIG, ALONE)


@pytest.mark.slow
def test_both_processes_hold_the_same_bits(both):
    _, (first, second) = both
    assert differing(first["learned"], second["learned"]) == []


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_over_a_growth(both, alone: dict[str, Any]):
    _, (first, _) = both
    assert (alone["levels"][0], alone["levels"][-1]) == (2, 4)
    furthest = {name: float((first["learned"][name] - value).abs().max()) for name, value in alone["learned"].items()}
    assert {name: distance for name, distance in furthest.items() if distance > 1e-6} == {}


@pytest.mark.slow
def test_the_losses_of_two_processes_add_up_to_those_of_one(both, alone: dict[str, Any]):
    _, (first, _) = both
    assert torch.allclose(first["losses"], alone["losses"], atol=2e-6)


@pytest.mark.slow
def test_memory_short_in_one_process_changes_nothing(both):
    _, (first, second) = both
    whole = _three_large_steps(ALONE, most=16)
    assert differing(first["split"], second["split"]) == []
    assert max(float((first["split"][name] - value).abs().max()) for name, value in whole.items()) < 1e-6


@pytest.mark.slow
def test_a_number_that_is_none_in_one_process_takes_both_back(both):
    root, answers = both
    assert [answer["attempt"] for answer in answers] == [1, 1]
    assert all(answer["ended"] for answer in answers)
    assert differing(answers[0]["run"], answers[1]["run"]) == []
    lines = [json.loads(line) for line in (root / "run" / "runlog.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == sorted({line["images"] for line in lines})
    assert lines[-1]["images"] == 8 * STEPS


@pytest.mark.slow
def test_one_process_goes_on_with_what_two_began(both):
    root, (first, _) = both
    trainer = Trainer(CONFIG, small_pictures(), machine=CPU)
    folder = latest_checkpoint(root / "run")
    assert folder is not None
    load_checkpoint(trainer, folder)
    trainer.close()
    assert differing(everything(trainer), first["run"]) == []


@pytest.mark.slow
def test_another_number_of_processes_is_another_training(both):
    root, _ = both
    with pytest.raises(ValueError, match="processes was 2, now 1"):
        run_training(CONFIG, small_pictures(), root / "run", machine=CPU)


@pytest.mark.parametrize(("size", "group", "parts"), [(8, 4, 2), (16, 4, 4), (12, 2, 3), (6, 8, 1), (64, 16, 4)])
def test_a_minibatch_is_dealt_whole(size: int, group: int, parts: int):
    dealt = deal(size, group, parts)
    assert sorted(torch.cat(dealt).tolist()) == list(range(size))
    assert {len(part) for part in dealt} == {size // parts}


@pytest.mark.parametrize(("size", "group", "parts"), [(8, 4, 2), (16, 4, 4), (24, 4, 2)])
def test_the_groups_of_a_part_are_groups_of_the_whole(size: int, group: int, parts: int):
    whole = {frozenset(row) for row in torch.arange(size).reshape(group, -1).T.tolist()}
    of_parts = {frozenset(row) for part in deal(size, group, parts) for row in part.reshape(group, -1).T.tolist()}
    assert of_parts == whole


@pytest.mark.parametrize(("size", "group", "parts"), [(6, 4, 1), (8, 4, 3), (4, 4, 2)])
def test_groups_that_cannot_be_dealt_evenly_are_refused(size: int, group: int, parts: int):
    with pytest.raises(ValueError, match=f"{size} pictures in groups of {group} cannot be dealt evenly to {parts}"):
        deal(size, group, parts)


def test_a_minibatch_with_too_few_groups_for_the_processes_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"minibatch of 8 at 4 px cannot be split into 3 x groups of 4"):
        Trainer(CONFIG, small_pictures(), machine=CPU, processes=Processes(rank=0, world=3))


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes("cpu") == ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_processes("cpu") == ALONE


def test_alone_there_is_nothing_to_ask():
    assert ALONE.leads
    assert (ALONE.any(True), ALONE.any(False)) == (True, False)
    assert ALONE.sum(torch.ones(2)).tolist() == [1, 1]


def _process(rank: int, root: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    patience = datetime.timedelta(seconds=PATIENCE_S)
    dist.init_process_group("gloo", init_method=f"file://{root}/meeting", rank=rank, world_size=2, timeout=patience)
    processes = Processes(rank=rank, world=2)
    answers = _twenty_steps(CONFIG, processes)
    answers["split"] = _three_large_steps(processes, most=(8, 4)[rank])
    answers |= _run_with_an_accident(processes, Path(root) / "run")
    torch.save(answers, f"{root}/answers.{rank}")
    dist.destroy_process_group()


def _twenty_steps(config: GanConfig, processes: Processes) -> dict[str, Any]:
    trainer = Trainer(config, small_pictures(), machine=CPU, processes=processes)
    rows, levels = [], []
    for _ in range(STEPS):
        levels.append(trainer.phase.level)
        terms = trainer.step()
        rows.append(torch.stack([terms[name] for name in sorted(terms)]))
    trainer.close()
    losses = processes.sum(torch.stack(rows))
    return {"learned": everything(trainer), "losses": losses, "levels": levels}


def _three_large_steps(processes: Processes, most: int) -> dict[str, torch.Tensor]:
    """Train with so little memory that a step with more than `most` pictures fails."""
    trainer = Trainer(LARGE, small_pictures(), machine=CPU, processes=processes)
    honest = trainer._steps.discriminator

    def limited(part: Part) -> dict[str, torch.Tensor]:
        if len(part.latents) > most:
            raise torch.OutOfMemoryError("injected")
        return honest(part)

    trainer._steps.discriminator = limited
    for _ in range(3):
        trainer.step()
    trainer.close()
    return everything(trainer)


def _run_with_an_accident(processes: Processes, run: Path) -> dict[str, Any]:
    honest, seen = Trainer.step, []

    def step(self: Trainer) -> dict[str, torch.Tensor]:
        seen.append(self)
        terms = honest(self)
        if processes.rank == 1 and self.images == 48 and self.attempt == 0:
            terms["score"] = terms["score"] * float("nan")
        return terms

    Trainer.step = step
    ended = run_training(CONFIG, small_pictures(), run, machine=CPU, processes=processes)
    Trainer.step = honest
    return {"ended": ended, "attempt": seen[-1].attempt, "run": everything(seen[-1])}
