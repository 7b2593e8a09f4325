import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_features import noise_pictures, small_extractor
from small_gan import CPU, differing, everything, small_config, small_pictures, small_trainer
from torch import Tensor

from gan.data import order
from gan.layers import enlarge
from gan.looks import CheckerboardMeasure, FrechetMeasure, Measure, PictureLook, Sight, SlicedMeasure, usual_looks
from gan.pictures import ArrayPictures
from gan.sample import generate
from gan.streams import stream
from gan.trainer import Trainer
from gan.training_run import run_training

COUNT = 16
STABLE = 20
SLOW_FADE = {"stable_images": STABLE, "fade_images": 10_000_000}
MEASURES: dict[str, Callable[[], Measure]] = {
    "swd": SlicedMeasure,
    "fd": lambda: FrechetMeasure(small_extractor()),
    "checkerboard": CheckerboardMeasure,
}


def _trainer(images: int, *, side: int = 32, **sections: dict) -> Trainer:
    """Return a trainer of 32 px networks that stands at so many images."""
    config = small_config(networks={"resolution": side, "map_budget": 128}, **sections)
    trainer = Trainer(config, ArrayPictures(noise_pictures(0, COUNT, side)), machine=CPU)
    trainer.images = images
    return trainer


def _sight(generated: np.ndarray | Tensor, real: np.ndarray | Tensor, level: int = 5) -> Sight:
    made, known = (torch.as_tensor(images) for images in (generated, real))
    return Sight(generated=made, real=lambda: known, level=level, device="cpu")


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("level", [3, 4, 5])
def test_growth_changes_no_figure_but_by_enlarging(level: int, name: str):
    growth = STABLE + (level - 3) * (STABLE + SLOW_FADE["fade_images"])
    trainer = _trainer(growth, schedule=SLOW_FADE)
    assert (trainer.phase.level, trainer.phase.fade) == (level - 1, 1.0)
    latents = torch.randn(COUNT, 8, generator=stream(trainer.config.training.seed, "look", 0))
    before = generate(trainer.average, latents, level=level - 1)
    chosen = order(COUNT, seed=trainer.config.training.seed, first=0, size=COUNT)
    real = trainer.pictures.batch(chosen, level)
    wanted = MEASURES[name]()(_sight(enlarge(before), real, level))
    trainer.images = growth + 1
    assert trainer.phase.level == level
    assert trainer.phase.fade < 1e-6
    seen = PictureLook(MEASURES[name](), count=COUNT)(trainer)
    # a millionth of the new block may round some pixel the other way
    figures = {key: value for key, value in seen.items() if not key.endswith("_seconds")}
    assert figures == pytest.approx(wanted, rel=1e-3)
    trainer.close()


@pytest.mark.parametrize("name", MEASURES)
def test_a_broken_generator_is_seen(name: str):
    real, good = noise_pictures(0, 64), noise_pictures(1, 64)
    broken = good // 4 + (np.indices((32, 32)).sum(axis=0) % 2 * 128).astype(np.uint8)
    measure = MEASURES[name]()
    assert measure(_sight(broken, real))[name] > 2 * abs(measure(_sight(good, real))[name])


def test_equal_pictures_have_no_checkerboard_and_no_distance_between_features():
    sight = _sight(noise_pictures(0, 32), noise_pictures(0, 32))
    assert MEASURES["checkerboard"]()(sight)["checkerboard"] == 0.0
    assert MEASURES["fd"]()(sight)["fd"] == pytest.approx(0.0, abs=1e-6)


def test_the_sliced_distance_has_a_figure_for_each_scale():
    figures = SlicedMeasure()(_sight(noise_pictures(0, 8), noise_pictures(1, 8)))
    assert list(figures) == ["swd", "swd_32", "swd_16"]
    assert figures["swd"] == pytest.approx((figures["swd_32"] + figures["swd_16"]) / 2)


@pytest.mark.parametrize("side", [4, 8])
def test_small_pictures_are_enlarged_for_the_sliced_distance_and_have_no_checkerboard(side: int):
    sight = _sight(noise_pictures(0, 8, side), noise_pictures(1, 8, side))
    assert list(SlicedMeasure()(sight)) == ["swd", "swd_16"]
    assert CheckerboardMeasure()(sight) == {}


@pytest.mark.parametrize("name", MEASURES)
def test_grey_is_measured_as_rgb_and_alpha_is_left_out(name: str):
    made, real = noise_pictures(0, 8, channels=1), noise_pictures(1, 8, channels=1)
    grey = MEASURES[name]()(_sight(made, real))
    rgb = MEASURES[name]()(_sight(made.repeat(3, axis=1), real.repeat(3, axis=1)))
    assert rgb == pytest.approx(grey, rel=1e-6)


@pytest.mark.parametrize("name", ["swd", "fd"])
def test_alpha_is_left_out(name: str):
    made, real = noise_pictures(0, 8, channels=4), noise_pictures(1, 8, channels=4)
    assert MEASURES[name]()(_sight(made, real)) == MEASURES[name]()(_sight(made[:, :3], real[:, :3]))


@pytest.mark.parametrize("name", MEASURES)
def test_real_pictures_are_read_once_for_each_level(name: str):
    read = []
    measure = MEASURES[name]()

    def real(level: int) -> Tensor:
        read.append(level)
        return torch.as_tensor(noise_pictures(1, 8, 1 << level))

    for level in (4, 4, 5, 5):
        made = torch.as_tensor(noise_pictures(0, 8, 1 << level))
        measure(Sight(generated=made, real=lambda level=level: real(level), level=level, device="cpu"))
    assert read == [4, 5]


def test_a_look_changes_no_bit_of_the_training_and_says_the_same_twice():
    watched, alone = small_trainer(), small_trainer()
    look = PictureLook(SlicedMeasure(), CheckerboardMeasure(), count=COUNT)
    for _ in range(8):
        watched.step()
        alone.step()
        first, second = look(watched), look(watched)
        assert {k: v for k, v in first.items() if "seconds" not in k} == {
            k: v for k, v in second.items() if "seconds" not in k
        }
    assert differing(everything(watched), everything(alone)) == []
    watched.close()
    alone.close()


def test_networks_with_labels_draw_those_of_real_pictures():
    config = small_config(networks={"labels": 3})
    trainer = Trainer(config, small_pictures(classes=3), machine=CPU)
    assert PictureLook(SlicedMeasure(), count=8)(trainer)["swd"] > 0
    trainer.close()


def test_the_log_holds_figures_and_what_they_cost(tmp_path: Path):
    config = small_config(schedule={"total_images": 24})
    measures = (SlicedMeasure(), MEASURES["fd"](), CheckerboardMeasure())
    run_training(config, small_pictures(), tmp_path, machine=CPU, looks=(PictureLook(*measures, count=8),))
    lines = [json.loads(line) for line in (tmp_path / "runlog.jsonl").read_text().splitlines()]
    costs = {"drawing_seconds", "swd_seconds", "fd_seconds", "checkerboard_seconds"}
    assert lines
    assert all({"swd", "swd_16", "fd", *costs} <= line.keys() for line in lines)


def test_a_count_of_one_is_refused():
    with pytest.raises(ValueError, match="at least 2 pictures, got 1"):
        PictureLook(SlicedMeasure(), count=1)


def test_every_training_is_looked_at():
    trainer = small_trainer()
    trainer.images = trainer.config.schedule.total_images
    figures = {name: value for look in usual_looks(CPU) for name, value in look(trainer).items()}
    assert {"swd", "swd_16", "checkerboard"} <= figures.keys()
    trainer.close()
