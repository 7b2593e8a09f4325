"""Laplacian pyramids against OpenCV's pyrDown and pyrUp, and their laws."""

import cv2
import numpy as np
import pytest
import torch

from metrics.pyramids import laplacian_pyramid, level_shapes

SIDES = [(128, 128), (96, 96), (64, 32), (100, 75), (37, 64), (161, 33), (255, 257)]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def opencv_levels(image: np.ndarray, count: int) -> list[np.ndarray]:
    fine = image.transpose(1, 2, 0).astype(np.float32)
    levels = []
    for _ in range(count - 1):
        coarse = cv2.pyrDown(fine)
        levels.append(fine - cv2.pyrUp(coarse, dstsize=fine.shape[1::-1]))
        fine = coarse
    return [level.transpose(2, 0, 1) for level in [*levels, fine]]


@pytest.mark.parametrize("sides", SIDES)
def test_levels_equal_opencv_borders_included(sides):
    images = noise(2, 3, *sides)
    ours = laplacian_pyramid(images)
    theirs = opencv_levels(images[1], len(ours))
    assert [tuple(level.shape[2:]) for level in ours] == [level.shape[1:] for level in theirs]
    greatest = max(np.abs(a[1].numpy() - b).max() for a, b in zip(ours, theirs, strict=True))
    assert greatest < 5e-5  # two float32 roundings at 255


@pytest.mark.parametrize("sides", SIDES)
def test_levels_add_up_to_the_picture(sides):
    images = noise(2, 3, *sides)
    levels = laplacian_pyramid(images)
    rebuilt = levels[-1].permute(0, 2, 3, 1).numpy()
    for level in reversed(levels[:-1]):
        size = level.shape[3], level.shape[2]
        grown = np.stack([cv2.pyrUp(image, dstsize=size) for image in rebuilt])
        rebuilt = grown + level.permute(0, 2, 3, 1).numpy()
    assert np.abs(rebuilt - images.transpose(0, 2, 3, 1)).max() < 2e-4


def test_a_flat_picture_leaves_exact_zeros_but_for_the_last_level():
    *fine, last = laplacian_pyramid(np.full((1, 3, 96, 64), 201, dtype=np.uint8))
    assert all(torch.equal(level, torch.zeros_like(level)) for level in fine)
    assert torch.equal(last, torch.full_like(last, 201))


@pytest.mark.parametrize("size", [1, 4])
def test_pictures_do_not_depend_on_their_batch(size):
    images = noise(8, 3, 64, 48)
    whole = laplacian_pyramid(images)
    parts = [laplacian_pyramid(images[first : first + size]) for first in range(0, 8, size)]
    for level, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(level, torch.cat(pieces))


def test_a_tensor_and_an_array_give_the_same():
    images = noise(2, 3, 32, 32)
    pairs = zip(laplacian_pyramid(images), laplacian_pyramid(torch.from_numpy(images)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_training_that_multiplies_roughly_changes_nothing(precision):
    images = noise(4, 3, 128, 128)
    expected = laplacian_pyramid(images)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            levels = laplacian_pyramid(images)
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(torch.equal(a, b) for a, b in zip(expected, levels, strict=True))


@pytest.mark.parametrize(
    ("side", "expected"), [(1024, [1024, 512, 256, 128, 64, 32, 16]), (96, [96, 48, 24]), (31, [31, 16])]
)
def test_levels_halve_down_to_the_least_side(side, expected):
    assert [height for height, _ in level_shapes(side, side, min_size=16)] == expected


def test_a_picture_smaller_than_the_last_level_is_refused():
    with pytest.raises(ValueError, match="at least 16 x 16 pixels, got 8 x 40; give a smaller min_size"):
        laplacian_pyramid(noise(1, 3, 8, 40))


def test_floats_are_refused():
    with pytest.raises(TypeError, match="must be uint8"):
        laplacian_pyramid(np.zeros((1, 3, 32, 32), dtype=np.float32))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_gives_the_same_levels_and_keeps_them():
    images = noise(4, 3, 128, 96)
    here, there = laplacian_pyramid(images), laplacian_pyramid(torch.from_numpy(images).cuda())
    assert all(level.is_cuda for level in there)
    assert max(float((a - b.cpu()).abs().max()) for a, b in zip(here, there, strict=True)) < 5e-5
