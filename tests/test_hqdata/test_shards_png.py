"""The picture of a row survives unchanged, and whatever is not one is refused."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from hqdata.shards import decode_png, encode_png


def png_of(image, mode=None):
    buffer = BytesIO()
    Image.fromarray(image, mode).save(buffer, "PNG")
    return buffer.getvalue()


@given(arrays(np.uint8, (8, 8, 3), elements=st.integers(0, 255)))
def test_all_pixels_survive(image):
    assert np.array_equal(decode_png(encode_png(image), 8), image)


def test_a_png_of_another_encoder_is_read():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(decode_png(png_of(image), 4), image)


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (np.zeros((4, 4), np.uint8), "L"),
        (np.zeros((4, 4, 4), np.uint8), "RGBA"),
        (np.zeros((4, 4), np.uint16), "I;16"),
    ],
)
def test_other_kinds_of_picture_are_refused(image, mode):
    with pytest.raises(ValueError, match=f"must be 4x4 RGB, got 4x4 {mode}"):
        decode_png(png_of(image), 4)


@pytest.mark.parametrize("position", range(8, 90, 9))
def test_a_flipped_bit_is_refused_or_harmless(position):
    image = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    damaged = bytearray(encode_png(image))
    damaged[position] ^= 4
    try:
        read = decode_png(bytes(damaged), 4)
    except ValueError:
        return
    assert np.array_equal(read, image)
