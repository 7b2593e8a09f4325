"""What a training shows is drawn as it stands, and each checkpoint has its own patience."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from small_gan import CPU, small_config, small_pictures

from gan.sample import generate, sheet
from gan.streams import stream
from gan.trainer import Trainer
from gan.training_run import run_training
from hqdata.png import decode_png
from hqdata.settings import ConfigError
from hqdata.training.lock import locked_folder


def test_sheets_are_drawn_at_the_fade_at_which_the_training_stands(tmp_path: Path):
    drawn: dict[int, np.ndarray] = {}

    def look(trainer: Trainer) -> Mapping[str, float]:
        latents = torch.randn(32, 8, generator=stream(5, "sheet", 0))
        images = generate(trainer.average, latents, level=trainer.phase.level, fade=trainer.phase.fade)
        drawn[trainer.images] = sheet(images, columns=8, height=16)
        return {}

    assert run_training(small_config(), small_pictures(), tmp_path, machine=CPU, looks=(look,))
    assert small_config().phase(24).fade == 0.2
    sheets = {int(path.stem): decode_png(path.read_bytes()) for path in (tmp_path / "samples").iterdir()}
    assert sheets.keys() == drawn.keys()
    assert [images for images in drawn if not np.array_equal(sheets[images], drawn[images])] == []


def test_failures_after_different_checkpoints_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    honest, spoilt = Trainer.step, []

    def step(trainer: Trainer) -> dict[str, torch.Tensor]:
        if trainer.images in (8, 24, 44, 64, 84) and trainer.images not in spoilt:
            spoilt.append(trainer.images)
            with torch.no_grad():
                trainer.discriminator.score.bias.fill_(float("nan"))
        return honest(trainer)

    monkeypatch.setattr(Trainer, "step", step)
    assert run_training(small_config(), small_pictures(), tmp_path, machine=CPU)
    assert len(spoilt) == 5


def test_a_folder_that_another_process_trains_in_is_refused(tmp_path: Path):
    with locked_folder(tmp_path), pytest.raises(ConfigError, match="another process is training in"):
        run_training(small_config(), small_pictures(), tmp_path, machine=CPU)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_checkpoints_of_a_training_that_nothing_names_are_not_gone_on_with(tmp_path: Path):
    config = small_config(schedule={"total_images": 4})
    assert run_training(config, small_pictures(), tmp_path, machine=CPU)
    (tmp_path / "run.json").unlink()
    with pytest.raises(ValueError, match=r"holds a saved state but no run\.json"):
        run_training(small_config(training={"seed": 6}), small_pictures(), tmp_path, machine=CPU)
