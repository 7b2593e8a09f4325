"""The reference mode against slow restatements of its single steps."""

import numpy as np
import pytest
from PIL import Image

from hqdata.align import crop_face, plan_crop
from hqdata.crop_exact import blur_weight, pad_and_fade, padding_mask

LANDMARKS = np.array([(40.0, 42), (60, 45), (50, 52), (41, 65), (57, 66)])


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bilinear_drop_fraction(canvas, quad, size):
    """Sample a parallelogram pixel by pixel; fractions are dropped, as Pillow does it for bytes."""
    out = np.zeros((size, size, 3), np.uint8)
    for row in range(size):
        for column in range(size):
            u, v = (column + 0.5) / size, (row + 0.5) / size
            x, y = quad[0] + u * (quad[3] - quad[0]) + v * (quad[1] - quad[0]) - 0.5
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            block = canvas[y0 : y0 + 2, x0 : x0 + 2].astype(float)
            top = block[0, 0] + (block[0, 1] - block[0, 0]) * (x - x0)
            below = block[1, 0] + (block[1, 1] - block[1, 0]) * (x - x0)
            out[row, column] = (top + (below - top) * (y - y0)).astype(np.uint8)
    return out


def test_crop_without_padding_equals_its_steps_one_by_one():
    image = noise(110, 110)
    plan = plan_crop(LANDMARKS + 5, (110, 110), 32, "exact")
    assert (plan.padded, plan.recipe.upscale, plan.recipe.shrink) == (False, 1, 1)
    left, top, right, bottom = plan.recipe.crop
    large = bilinear_drop_fraction(image[top:bottom, left:right], plan.recipe.canvas_quad, 4 * 32)
    expected = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.LANCZOS))
    difference = np.abs(crop_face(image, LANDMARKS + 5, 32, "exact").astype(int) - expected)
    assert difference.max() <= 1  # a float that is an integer but for rounding may drop to the one below
    assert (difference > 0).mean() < 0.01


def test_mask_is_one_outside_nought_at_the_old_frame_and_negative_inside():
    index = np.arange(40, dtype=np.float32)
    mask = padding_mask(index, index, canvas_size=(40, 40), padding=(10, 10, 10, 10))
    assert mask[20, [0, 10, 29, 39]].tolist() == [1, 0, 0, 1]
    assert mask[[0, 10, 29, 39], 20].tolist() == [1, 0, 0, 1]
    assert mask[20, 15] == pytest.approx(-0.5)
    assert mask[0, 0] == 1


def test_mask_takes_the_nearest_side_by_its_own_padding():
    x, y = np.array([5.0], np.float32), np.array([5.0], np.float32)
    mask = padding_mask(x, y, canvas_size=(100, 100), padding=(10, 20, 30, 40))
    assert mask[0, 0] == pytest.approx(1 - 5 / 20)


def test_blur_ends_a_third_of_the_padding_inside_the_frame():
    mask = np.array([1, 0.5, 0, -1 / 6, -1 / 3, -1], np.float32)
    assert blur_weight(mask) == pytest.approx([1, 1, 1, 0.5, 0, 0], abs=1e-6)


def test_padding_leaves_the_middle_and_fades_to_the_median_at_the_corner():
    picture = noise(60, 60, seed=3)
    padded = pad_and_fade(picture, (20, 20, 20, 20), 2.0)
    assert padded.shape == (100, 100, 3)
    np.testing.assert_array_equal(padded[28:72, 28:72], picture[8:52, 8:52])
    corner = padded[0, 0].astype(int)
    np.testing.assert_allclose(corner, np.median(padded, axis=(0, 1)), atol=6)
    np.testing.assert_array_equal(padded[0, :], np.broadcast_to(padded[0, 0], (100, 3)))


def test_flat_picture_stays_flat():
    image = np.full((80, 80, 3), (10, 128, 250), np.uint8)
    crop = crop_face(image, LANDMARKS - 20, 64, "exact")
    np.testing.assert_array_equal(crop, np.broadcast_to(np.uint8([10, 128, 250]), crop.shape))
