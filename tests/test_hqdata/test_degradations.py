"""Degradations are pure, reproducible, keep the size, and get worse with strength."""

import numpy as np
import pytest
from skimage.data import astronaut

from hqdata.sources.degradations import DEGRADATIONS

MILD_AND_STRONG = {
    "blur": (0.6, 3.0),
    "gaussian_noise": (3.0, 25.0),
    "halftone": (0.2, 0.9),
    "jpeg": (90.0, 10.0),
    "motion_blur": (2.0, 12.0),
    "scan_lines": (0.1, 0.7),
    "upsampled": (1.5, 5.0),
}
NAMES = sorted(DEGRADATIONS)


def face():
    return np.ascontiguousarray(astronaut()[60:140, 180:270])


def distance(name, strength):
    return float(np.abs(DEGRADATIONS[name](face(), strength, np.random.default_rng(0)) - face().astype(float)).mean())


@pytest.mark.parametrize("name", NAMES)
def test_size_and_type_are_kept_and_the_argument_is_left_alone(name):
    image = face()
    result = DEGRADATIONS[name](image, MILD_AND_STRONG[name][1], np.random.default_rng(0))
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    assert result.flags.c_contiguous
    assert np.array_equal(image, face())


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_pixels(name):
    strength = MILD_AND_STRONG[name][1]
    first, second = (DEGRADATIONS[name](face(), strength, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_more_strength_moves_the_pixels_further(name):
    mild, strong = MILD_AND_STRONG[name]
    assert 0 < distance(name, mild) < distance(name, strong)


@pytest.mark.parametrize("name", ["blur", "gaussian_noise", "motion_blur", "upsampled", "jpeg"])
def test_mean_brightness_is_kept(name):
    result = DEGRADATIONS[name](face(), MILD_AND_STRONG[name][0], np.random.default_rng(1))
    assert result.mean() == pytest.approx(face().mean(), abs=1.5)  # rounding, clipped noise and the picture's border


@pytest.mark.parametrize("name", NAMES)
def test_strength_out_of_range_is_refused_with_the_name(name):
    with pytest.raises(ValueError, match=f"{name}: strength must be"):
        DEGRADATIONS[name](face(), -1.0, np.random.default_rng(0))


@pytest.mark.parametrize("name", NAMES)
def test_one_pixel_survives(name):
    pixel = np.full((1, 1, 3), 90, np.uint8)
    assert DEGRADATIONS[name](pixel, MILD_AND_STRONG[name][1], np.random.default_rng(0)).shape == (1, 1, 3)
