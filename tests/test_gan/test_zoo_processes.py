"""Two processes train networks with batch statistics, and ones that draw numbers: run for real, over gloo."""

import datetime
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from small_gan import CPU, differing, everything, small_pictures
from small_zoo import zoo_config

from gan.checkpoint import load_checkpoint, save_checkpoint
from gan.processes import Processes
from gan.trainer import Trainer

NAMES = ("resnet", "style")
PATIENCE_S = 240
STEPS, CUT = 6, 3
OWN = ("running_mean", "running_var", "mean_style")
"""Averages of what one process has seen of its own pictures; the leading one's are saved."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes learned, by architecture: in one go, and cut in the middle."""
    root = tmp_path_factory.mktemp("processes")
    mp.start_processes(_process, args=(str(root),), nprocs=2, start_method="spawn")  # pyright: ignore
    return [torch.load(root / f"answers.{rank}", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", NAMES)
def test_both_processes_hold_the_same_weights_moments_and_singular_vectors(both, name: str):
    first, second = (answers[name]["whole"] for answers in both)
    assert [key for key in differing(first, second) if not key.endswith(OWN)] == []
    assert any(key.endswith("norm.left") for key in first) == (name == "resnet")


@pytest.mark.parametrize("name", NAMES)
def test_each_process_has_averages_of_its_own_pictures(both, name: str):
    first, second = (answers[name]["whole"] for answers in both)
    assert [key for key in differing(first, second) if key.endswith(OWN)] != []


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_go_on_to_the_bit(both, name: str):
    first, second = (differing(answers[name]["whole"], answers[name]["cut"]) for answers in both)
    assert first == []
    assert [key for key in second if not key.endswith(OWN)] == []


@pytest.mark.parametrize("name", NAMES)
def test_processes_learn_from_different_pictures(both, name: str):
    first, second = (answers[name]["losses"] for answers in both)
    assert bool((first != second).all())


def test_processes_draw_different_noise(both):
    first, second = (answers["style"]["seeds"] for answers in both)
    assert len({*first, *second}) == 2 * len(first)


def _process(rank: int, root: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    patience = datetime.timedelta(seconds=PATIENCE_S)
    dist.init_process_group("gloo", init_method=f"file://{root}/meeting", rank=rank, world_size=2, timeout=patience)
    processes = Processes(rank=rank, world=2)
    torch.save({name: _trained(name, processes, Path(root) / name) for name in NAMES}, f"{root}/answers.{rank}")
    dist.destroy_process_group()


def _trained(name: str, processes: Processes, run: Path) -> dict[str, Any]:
    config = zoo_config(name, schedule={"minibatch": 8})
    trainer, again = (Trainer(config, small_pictures(), machine=CPU, processes=processes) for _ in range(2))
    losses, seeds = [], []
    for step in range(STEPS):
        if step == CUT and processes.leads:
            save_checkpoint(trainer, run, progress={}, keep=1)
        losses.append(trainer.step()["generator"])
        seeds.append(torch.initial_seed())
    processes.any(False)  # nobody reads before it is written
    load_checkpoint(again, next((run / "checkpoints").iterdir()))
    for _ in range(CUT, STEPS):
        torch.rand(5)
        again.step()
    trainer.close()
    again.close()
    return {"whole": everything(trainer), "cut": everything(again), "losses": torch.stack(losses), "seeds": seeds}
