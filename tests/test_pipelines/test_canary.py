"""The test picture: the same on the same machine, and other wherever a crop would be."""

from dataclasses import replace

import cv2
import pytest
import torch

from pipelines.canary import canary_of
from pipelines.config import RestoreConfig, UpscaleConfig
from pipelines.hardware import hardware_here
from pipelines.needs import Needs

NEEDS = Needs(
    provider="annotations", restore=RestoreConfig(), upscale=UpscaleConfig(), size=64, mode="accurate", device="cpu"
)


def test_the_same_machine_makes_the_same_pixels():
    assert canary_of.__wrapped__(NEEDS) == canary_of.__wrapped__(NEEDS)


@pytest.mark.parametrize(
    "change",
    [{"restore": RestoreConfig(when="never")}, {"upscale": UpscaleConfig(when="never")}, {"mode": "exact"}],
    ids=["restorer", "upscaler", "crop"],
)
def test_each_step_takes_part(change: dict):
    assert canary_of(replace(NEEDS, **change)).pixels != canary_of(NEEDS).pixels


@pytest.mark.parametrize("size", [16, 128, 1024])
def test_every_size_of_crop_can_be_tried(size: int):
    assert canary_of(replace(NEEDS, size=size)).score > 0


def test_a_drivers_threads_are_left_as_they_were():
    before = torch.get_num_threads(), cv2.getNumThreads()
    canary_of.__wrapped__(NEEDS)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


@pytest.mark.gpu
def test_a_gpu_makes_the_same_pixels_each_time_and_nearly_those_of_the_processor():
    on_gpu = replace(NEEDS, device="cuda")
    first, second = canary_of.__wrapped__(on_gpu), canary_of.__wrapped__(on_gpu)
    assert first == second
    assert first.score == pytest.approx(canary_of(NEEDS).score, rel=0.01)  # a level or two in some pixels


@pytest.mark.gpu
def test_a_gpu_that_answers_is_found():
    found = hardware_here()
    assert found.has_gpu
    assert found.gpus[0] in found.group("cuda")
