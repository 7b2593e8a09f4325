"""PSNR and luma against values worked out by hand and against OpenCV."""

import cv2
import numpy as np
import pytest
from skimage import data

from metrics import matlab_luma, psnr


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    clean = np.ascontiguousarray(data.astronaut()[:96, 100:180].transpose(2, 0, 1)[None])
    noise = np.random.default_rng(0).normal(0, 6, clean.shape)
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8), clean


def test_an_error_of_one_level_everywhere_is_48_decibels():
    black = np.zeros((2, 3, 5, 4), dtype=np.uint8)
    assert psnr(black + np.uint8(1), black, data_range=255) == pytest.approx([20 * np.log10(255)] * 2, abs=1e-12)


def test_equal_pictures_have_infinite_psnr(pair):
    assert psnr(pair[1], pair[1], data_range=255) == [np.inf]


def test_psnr_agrees_with_opencv(pair):
    assert psnr(*pair, data_range=255) == pytest.approx([cv2.PSNR(*pair)], abs=1e-9)


def test_psnr_is_symmetric(pair):
    assert psnr(*pair, data_range=255) == psnr(*reversed(pair), data_range=255)


def test_each_picture_has_its_own_number(pair):
    stacked = psnr(np.concatenate(pair), np.concatenate([pair[1], pair[1]]), data_range=255)
    assert stacked.tolist() == [psnr(*pair, data_range=255)[0], np.inf]


def test_halving_the_data_range_costs_six_decibels(pair):
    small = pair[0] // 2, pair[1] // 2
    difference = psnr(*small, data_range=255) - psnr(*small, data_range=127.5)
    assert difference == pytest.approx([20 * np.log10(2)], abs=1e-9)


@pytest.mark.parametrize(
    ("colour", "luma"),
    [((0, 0, 0), 16.0), ((255, 255, 255), 235.0), ((255, 0, 0), 81.481), ((0, 255, 0), 144.553), ((0, 0, 255), 40.966)],
)
def test_luma_is_matlabs(colour: tuple[int, int, int], luma: float):
    pixel = np.array(colour, dtype=np.uint8).reshape(1, 3, 1, 1)
    assert matlab_luma(pixel).item() == pytest.approx(luma, abs=1e-9)


def test_luma_keeps_one_channel_and_every_place():
    images = np.random.default_rng(1).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    luma = matlab_luma(images)
    assert luma.shape == (2, 1, 4, 5)
    assert luma[1, 0, 2, 3] == pytest.approx(16 + images[1, :, 2, 3] @ [65.481, 128.553, 24.966] / 255, abs=1e-9)


def test_float_pictures_are_refused_as_luma_input():
    with pytest.raises(TypeError, match="uint8 RGB, got float64"):
        matlab_luma(np.zeros((1, 3, 2, 2)))


def test_grey_pictures_are_refused_as_luma_input():
    with pytest.raises(ValueError, match=r"\(n, 3, height, width\), got \(1, 1, 2, 2\)"):
        matlab_luma(np.zeros((1, 1, 2, 2), dtype=np.uint8))


@pytest.mark.parametrize(
    ("images", "reference", "sentence"),
    [
        (np.zeros((1, 3, 4, 4)), np.zeros((1, 3, 4, 5)), "same shape"),
        (np.zeros((3, 4, 4)), np.zeros((3, 4, 4)), "images must have shape"),
        (np.zeros((0, 3, 4, 4)), np.zeros((0, 3, 4, 4)), "without a zero"),
        (np.zeros((1, 3, 4, 4)), np.full((1, 3, 4, 4), np.nan), "reference holds NaN or infinity in picture 0"),
        (np.linspace(0, 300, 16).reshape(1, 1, 4, 4), np.zeros((1, 1, 4, 4)), "images spans 0..300"),
    ],
)
def test_pictures_that_cannot_be_compared_are_refused(images: np.ndarray, reference: np.ndarray, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        psnr(images, reference, data_range=255)


def test_nan_is_refused_with_the_pictures_index():
    images = np.zeros((3, 1, 4, 4))
    images[2, 0, 1, 1] = np.nan
    with pytest.raises(ValueError, match="picture 2"):
        psnr(images, np.zeros((3, 1, 4, 4)), data_range=255)


@pytest.mark.parametrize("data_range", [0, -1, float("nan"), float("inf")])
def test_a_data_range_that_is_none_is_refused(data_range: float):
    with pytest.raises(ValueError, match="data_range"):
        psnr(np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 4)), data_range=data_range)
