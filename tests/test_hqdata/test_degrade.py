"""The damage that training simulates: repeatable, and aligned with the clean picture."""

import numpy as np
import pytest

from hqdata.restore.degrade import BORDER, add_noise, blur, draw_jpeg, jpeg, shrink


@pytest.fixture
def photo():
    rows, columns = np.mgrid[0:64, 0:64]
    waves = 128 + 60 * np.sin(rows / 5.0) + 50 * np.cos(columns / 3.0)
    return np.stack([waves, waves.T, 255 - waves], axis=-1).clip(0, 255).astype(np.uint8)


def mean_error(image, reference):
    return np.abs(image.astype(int) - reference).mean()


def test_lower_quality_hurts_more(photo):
    errors = [mean_error(jpeg(photo, quality), photo) for quality in (95, 60, 20, 5)]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


def test_halved_colour_hurts_more_than_full_colour(photo):
    assert mean_error(jpeg(photo, 90, "4:2:0"), photo) > mean_error(jpeg(photo, 90, "4:4:4"), photo)


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_out_of_range_is_refused(photo, quality):
    with pytest.raises(ValueError, match="quality must be within"):
        jpeg(photo, quality)


def test_equal_generators_draw_equal_pictures(photo):
    first = draw_jpeg(photo, np.random.default_rng(3))
    second = draw_jpeg(photo, np.random.default_rng(3))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


@pytest.mark.parametrize("seed", range(8))
def test_clean_and_degraded_show_the_same_place(photo, seed):
    clean, degraded = draw_jpeg(photo, np.random.default_rng(seed), worst=90, best=95)
    assert clean.shape == degraded.shape == (64 - BORDER, 64 - BORDER, 3)
    shifted = mean_error(np.roll(degraded, 1, axis=0), clean)
    assert mean_error(degraded, clean) < shifted / 2


@pytest.mark.parametrize(("share", "expected"), [(1.0, 40), (0.0, 0)])
def test_the_clean_share_is_kept(photo, share, expected):
    rng = np.random.default_rng(0)
    pairs = [draw_jpeg(photo, rng, worst=10, best=30, clean_share=share) for _ in range(40)]
    assert sum(np.array_equal(clean, degraded) for clean, degraded in pairs) == expected


def test_noise_has_the_asked_for_strength():
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert add_noise(grey, 5.0, np.random.default_rng(0)).std() == pytest.approx(5.0, rel=0.02)


def test_blur_lowers_contrast_and_keeps_the_mean(photo):
    blurred = blur(photo, 2.0)
    assert blurred.std() < photo.std()
    assert blurred.mean() == pytest.approx(photo.mean(), abs=1.0)


def test_shrinking_divides_the_size_and_keeps_a_flat_picture():
    flat = np.full((8, 12, 3), 77, np.uint8)
    assert np.array_equal(shrink(flat, 4), np.full((2, 3, 3), 77, np.uint8))


def test_shrinking_sides_that_do_not_divide_is_refused(photo):
    with pytest.raises(ValueError, match="multiples of 5, got 64 x 64"):
        shrink(photo, 5)
