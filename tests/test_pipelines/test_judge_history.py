"""A decoded JPEG is recognised wherever its grid lies; other pictures are not taken for one."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from pipelines.judge_history import lattice_score, was_jpeg


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """A photo made smaller, so that whatever it went through before has gone."""
    return np.asarray(Image.fromarray(data.astronaut()).resize((256, 256), Image.Resampling.LANCZOS))[:160, 40:216]


def decoded(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def test_a_clean_picture_lies_on_no_lattice(clean: np.ndarray):
    assert lattice_score(clean) < 0.3


@pytest.mark.parametrize(("quality", "top", "left"), [(30, 0, 0), (75, 0, 0), (75, 3, 6), (88, 0, 5)])
def test_a_decoded_jpeg_is_recognised_wherever_its_grid_lies(clean: np.ndarray, quality: int, top: int, left: int):
    assert was_jpeg(decoded(clean, quality)[top:, left:])


def test_resizing_hides_the_history(clean: np.ndarray):
    picture = Image.fromarray(decoded(clean, 75))
    assert not was_jpeg(np.asarray(picture.resize((140, 128), Image.Resampling.LANCZOS)))


def test_a_flat_picture_tells_nothing():
    assert lattice_score(np.full((64, 64, 3), 90, dtype=np.uint8)) == 0.0
