"""SSIM against scikit-image's, against the sums written out, and its laws."""

import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from metrics import matlab_luma, ssim


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    clean = np.ascontiguousarray(data.chelsea()[80:177, 120:203].transpose(2, 0, 1)[None])
    noise = np.random.default_rng(0).normal(0, 12, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8), clean


def oracle_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    _, places = structural_similarity(
        a.astype(np.float64),
        b.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    return places[5:-5, 5:-5]  # scikit-image also rates places whose window leaves the picture


def test_ssim_agrees_with_scikit_image_inside(pair):
    expected = np.mean([oracle_map(a, b) for a, b in zip(pair[0][0], pair[1][0], strict=True)])
    assert ssim(*pair, data_range=255) == pytest.approx([expected], abs=1e-12)


def test_ssim_of_luma_agrees_with_scikit_image_inside(pair):
    a, b = matlab_luma(pair[0]), matlab_luma(pair[1])
    assert ssim(a, b, data_range=255) == pytest.approx([oracle_map(a[0, 0], b[0, 0]).mean()], abs=1e-12)


def test_ssim_of_one_window_equals_the_sums_written_out():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 256, (2, 11, 11)).astype(np.float64)
    squares = (np.arange(11) - 5.0) ** 2
    weights = np.exp(-(squares[:, None] + squares[None]) / 4.5)
    weights /= weights.sum()
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
    covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 2.55**2, 7.65**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    contrast = (2 * covariance + c2) / (variance_a + variance_b + c2)
    assert ssim(a[None, None], b[None, None], data_range=255) == pytest.approx([luminance * contrast], abs=1e-12)


def test_equal_pictures_are_wholly_alike(pair):
    assert ssim(pair[0], pair[0], data_range=255) == pytest.approx([1.0], abs=1e-12)


def test_ssim_is_symmetric(pair):
    assert ssim(*pair, data_range=255) == pytest.approx(ssim(*reversed(pair), data_range=255), abs=1e-14)


def test_each_picture_has_its_own_number(pair):
    stacked = ssim(np.concatenate(pair), np.concatenate([pair[1], pair[1]]), data_range=255)
    assert stacked == pytest.approx([ssim(*pair, data_range=255)[0], 1.0], abs=1e-12)


def test_a_negative_of_fine_texture_is_wholly_unlike():
    texture = np.random.default_rng(5).integers(64, 192, (1, 1, 64, 64), dtype=np.uint8)
    assert ssim(255 - texture, texture, data_range=255)[0] < -0.9


def test_a_picture_smaller_than_the_window_is_refused():
    small = np.zeros((1, 1, 10, 40), dtype=np.uint8)
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 10 x 40"):
        ssim(small, small, data_range=255)
