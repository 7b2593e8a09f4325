import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqdata.resample import box_pyramid


def slow_pyramid(image, min_size):
    """Means of ever larger blocks in float64, each rounded half to even."""
    size = image.shape[0]
    levels = []
    while size >= min_size:
        block = image.shape[0] // size
        means = image.astype(np.float64).reshape(size, block, size, block, -1).mean(axis=(1, 3))
        levels.append(np.rint(means).astype(np.uint8))
        size //= 2
    return levels


def noise(size, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


@pytest.mark.parametrize("size", [4, 8, 64, 256])
def test_levels_equal_float64_means_of_blocks(size):
    image = noise(size)
    for level, expected in zip(box_pyramid(image), slow_pyramid(image, 4), strict=True):
        np.testing.assert_array_equal(level, expected)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), channels=st.sampled_from([1, 3]), high=st.integers(1, 256))
def test_halves_round_to_even_at_every_level(seed, channels, high):
    image = np.random.default_rng(seed).integers(0, high, (16, 16, channels), dtype=np.uint8)
    for level, expected in zip(box_pyramid(image, 1), slow_pyramid(image, 1), strict=True):
        np.testing.assert_array_equal(level, expected)


def test_full_size_is_exact_down_to_one_pixel():
    image = noise(1024, seed=1)
    for level, expected in zip(box_pyramid(image, 1), slow_pyramid(image, 1), strict=True):
        np.testing.assert_array_equal(level, expected)


def test_levels_are_carried_unrounded():
    image = np.zeros((8, 8, 1), np.uint8)
    image[0, 0] = image[0, 4] = image[2, 2] = 2  # 2x2 means 0.5 round to 0, but 4x4 means sum them
    image[2, 0] = image[0, 2] = 2
    assert box_pyramid(image, 1)[1].max() == 0
    assert box_pyramid(image, 2)[2][0, 0, 0] == 0  # 8 / 16 = 0.5, half to even
    image[1, 1] = 1
    assert box_pyramid(image, 2)[2][0, 0, 0] == 1  # 9 / 16


def test_planes_give_the_planes_of_the_levels():
    image = noise(64, seed=2)
    planes = box_pyramid(np.ascontiguousarray(image.transpose(2, 0, 1)))
    for plane, level in zip(planes, box_pyramid(image), strict=True):
        np.testing.assert_array_equal(plane, level.transpose(2, 0, 1))


def test_first_level_is_a_copy():
    image = noise(8)
    levels = box_pyramid(image)
    levels[0][:] = 0
    assert image.any()


@pytest.mark.parametrize(
    ("image", "min_size", "message"),
    [
        (np.zeros((48, 48, 3), np.uint8), 4, "power of two as its size, got 48"),
        (np.zeros((64, 32, 3), np.uint8), 4, "square"),
        (np.zeros((64, 64), np.uint8), 4, "got uint8"),
        (np.zeros((64, 64, 3), np.float32), 4, "got float32"),
        (np.zeros((64, 64, 3), np.uint8), 3, "min_size must be a power of two of at most 64, got 3"),
        (np.zeros((64, 64, 3), np.uint8), 128, "min_size"),
        (np.zeros((64, 64, 3), np.uint8), 0, "min_size"),
    ],
)
def test_wrong_pictures_and_sizes_are_named(image, min_size, message):
    with pytest.raises(ValueError, match=message):
        box_pyramid(image, min_size)
