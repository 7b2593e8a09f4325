"""A training's folder among other people's files, and what a GPU needs of a checkpoint."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from small_gan import checkpoint_folders, small_trainer

from gan.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from gan.trainer import Trainer


@pytest.fixture
def trainer():
    """A trainer after one step, so that its optimisers have moments."""
    trainer = small_trainer()
    trainer.step()
    yield trainer
    trainer.close()


@pytest.fixture
def saved(trainer: Trainer, tmp_path: Path) -> Path:
    return save_checkpoint(trainer, tmp_path, progress={}, keep=3)


def test_files_that_others_left_beside_the_checkpoints_stay(trainer: Trainer, saved: Path, tmp_path: Path):
    (saved.parent / ".DS_Store").write_text("a file manager's")
    shutil.copytree(saved, saved.with_name("000000000004.best"))
    trainer.step()
    assert save_checkpoint(trainer, tmp_path, progress={}, keep=1) == latest_checkpoint(tmp_path)
    assert checkpoint_folders(tmp_path) == [".DS_Store", "000000000004.best", "000000000008"]


def test_a_copy_of_another_name_is_not_the_newest(saved: Path, tmp_path: Path):
    shutil.copytree(saved, saved.with_name("000000000004.best"))
    assert latest_checkpoint(tmp_path) == saved


def test_moments_come_back_in_their_parameters_memory_layout(trainer: Trainer, tmp_path: Path):
    for network in (trainer.generator, trainer.discriminator):
        network.to(memory_format=torch.channels_last)  # as on a GPU, whose fused Adam refuses two layouts
    trainer.renew_optimisers(trainer.resets)
    trainer.step()
    load_checkpoint(trainer, save_checkpoint(trainer, tmp_path, progress={}, keep=1))
    states = {**trainer.generator_optimiser.state, **trainer.discriminator_optimiser.state}
    layouts = {(value.stride(), states[value][name].stride()) for value in states for name in ("exp_avg", "exp_avg_sq")}
    assert (8, 1, 8, 8) in {pair[0] for pair in layouts}
    assert [pair for pair in layouts if pair[0] != pair[1]] == []


def test_a_disk_that_is_full_in_earnest_is_named_and_leaves_the_checkpoints_before(
    trainer: Trainer, saved: Path, tmp_path: Path
):
    trainer.step()
    with _files_of_at_most(4096), pytest.raises(OSError, match=r"\[Errno 27\] File too large: .*safetensors"):
        save_checkpoint(trainer, tmp_path, progress={}, keep=1)
    assert checkpoint_folders(tmp_path) == [saved.name]


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write longer files, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
