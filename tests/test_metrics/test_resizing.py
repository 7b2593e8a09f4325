"""Each way of resizing is the one of the library that it stands for."""

import numpy as np
import pytest
import torch
from oracles.resizing import centred_bilinear, pillow_floats, tf1_bilinear
from PIL import Image
from skimage import data

from metrics.features import resizing
from metrics.features.preparation import Preparation

SIZES = [(32, 32), (64, 64), (37, 100), (128, 128), (299, 299), (256, 300), (512, 512), (1024, 768)]


def photo(height: int, width: int) -> np.ndarray:
    """Real pixels in the middle, and noise to the left: the worst case of every filter."""
    picture = np.asarray(Image.fromarray(data.astronaut()).resize((width, height)))
    noise = np.random.default_rng(0).integers(0, 256, picture.shape, dtype=np.uint8)
    return np.concatenate([noise[:, : width // 3], picture[:, width // 3 :]], axis=1)


def batch(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([picture.transpose(2, 0, 1) for picture in pictures]))


def resized(name: str, picture: np.ndarray, height: int = 299, width: int = 299) -> np.ndarray:
    return resizing.RESIZERS[name](batch(picture), height, width)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", SIZES)
def test_tf1_is_tensorflows_gather(size: tuple[int, int]):
    picture = photo(*size)
    wanted = tf1_bilinear(picture, 299, 299)
    # float32 keeps a place between 1024 pixels to 6e-5 of a pixel, so a level to 1e-4 at worst
    np.testing.assert_allclose(resized("tf1", picture), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_torch_interpolates_between_pixel_centres(size: tuple[int, int]):
    picture = photo(*size)
    wanted = centred_bilinear(picture, 299, 299)
    # the source place comes out of float32 here and of float64 there: 6e-5 pixels times 255 levels
    np.testing.assert_allclose(resized("torch", picture), wanted, rtol=0, atol=0.02)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "kernel"), [("clean", Image.Resampling.BICUBIC), ("antialias", Image.Resampling.BILINEAR)]
)
def test_clean_and_antialias_are_pillow_in_floats(size: tuple[int, int], name: str, kernel: Image.Resampling):
    picture = photo(*size)
    wanted = pillow_floats(picture, 299, 299, kernel)
    np.testing.assert_allclose(resized(name, picture), wanted, rtol=0, atol=5e-3)  # float32 weights against float64


@pytest.mark.parametrize("side", [224, 336])
@pytest.mark.parametrize("size", SIZES)
def test_pillow_is_pillow_to_the_bit(size: tuple[int, int], side: int):
    picture = photo(*size)
    wanted = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resized("pillow", picture, side, side), np.asarray(wanted))


@pytest.mark.parametrize("name", resizing.RESIZERS)
def test_pictures_of_the_size_stay_as_they_are(name: str):
    picture = photo(64, 48)
    np.testing.assert_array_equal(resized(name, picture, 64, 48), picture)


@pytest.mark.parametrize("name", resizing.RESIZERS)
@pytest.mark.parametrize("size", [(20, 31), (61, 40)])
def test_results_are_levels_of_each_picture_alone(name: str, size: tuple[int, int]):
    first, second = photo(*size), 255 - photo(*size)
    together = resizing.RESIZERS[name](batch(first, second), 33, 47)
    assert together.dtype == torch.float32
    assert together.shape == (2, 3, 33, 47)
    assert float(together.min()) >= -1e-4  # float32 rounds the weights' sum of one
    assert float(together.max()) <= 255 + 1e-4
    torch.testing.assert_close(together[1:], resizing.RESIZERS[name](batch(second), 33, 47), rtol=0, atol=0)


def test_tf1_and_torch_are_not_the_same_away_from_the_networks_size():
    picture = photo(64, 64)
    assert np.abs(resized("tf1", picture) - resized("torch", picture)).mean() > 5


def test_normalising_by_powers_of_two_is_exact():
    preparation = Preparation(side=8, resize="tf1", mean=(128 / 255,) * 3, std=(128 / 255,) * 3)
    levels = torch.arange(256, dtype=torch.uint8)[:192].view(1, 3, 8, 8)
    assert torch.equal(preparation(levels), (levels.float() - 128) / 128)


@pytest.mark.parametrize(("height", "width", "top", "left"), [(9, 14, 0, 2), (13, 6, 3, 0), (7, 7, 0, 0)])
def test_cropping_takes_the_middle_square(height: int, width: int, top: int, left: int):
    picture = photo(height, width)
    side = min(height, width)
    preparation = Preparation(side=side, resize="tf1", mean=(0, 0, 0), std=(1 / 255,) * 3, square="crop")
    wanted = picture[top : top + side, left : left + side]
    np.testing.assert_allclose(preparation(batch(picture))[0].permute(1, 2, 0).numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"side": 0}, "side must be at least 1 pixel, got 0"),
        ({"resize": "lanczos"}, "resize must be one of tf1, torch, antialias, clean, pillow, got 'lanczos'"),
        ({"mean": (127.5, 127.5, 127.5)}, "divide grey levels by 255"),
        ({"std": (0.0, 0.5, 0.5)}, r"std must be three numbers in \(0, 1\]"),
        ({"square": "pad"}, "square must be 'squeeze' or 'crop', got 'pad'"),
    ],
)
def test_senseless_preparations_are_refused(change: dict, sentence: str):
    sensible = {"side": 8, "resize": "tf1", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    with pytest.raises(ValueError, match=sentence):
        Preparation(**sensible | change)


@pytest.mark.gpu
@pytest.mark.parametrize("name", resizing.RESIZERS)
def test_cuda_gives_the_cpus_levels(name: str):
    pictures = batch(photo(100, 70))
    cuda = resizing.RESIZERS[name](pictures.cuda(), 64, 64).cpu()
    torch.testing.assert_close(cuda, resizing.RESIZERS[name](pictures, 64, 64), rtol=0, atol=5e-3)
