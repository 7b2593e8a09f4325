"""The picture of a row survives unchanged, and whatever is not one is refused."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from hqdata.png import decode_png, encode_png


def png_of(image):
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@given(arrays(np.uint8, (8, 8, 3), elements=st.integers(0, 255)))
def test_all_pixels_survive(image):
    assert np.array_equal(decode_png(encode_png(image), 8), image)


def test_a_png_of_another_encoder_is_read():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(decode_png(png_of(image), 4), image)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.zeros((4, 4), np.uint8), "4x4 of 8 bits and colour type 0"),
        (np.zeros((4, 4, 4), np.uint8), "4x4 of 8 bits and colour type 6"),
        (np.zeros((4, 4), np.uint16), "4x4 of 16 bits and colour type 0"),
        (np.zeros((4, 5, 3), np.uint8), "5x4 of 8 bits and colour type 2"),
    ],
)
def test_other_kinds_of_picture_are_refused(image, kind):
    with pytest.raises(ValueError, match=f"must be a 4x4 PNG of 8-bit RGB, got {kind}"):
        decode_png(png_of(image), 4)


SMALL_PNG = encode_png(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))


@pytest.mark.parametrize("position", range(len(SMALL_PNG)))
def test_a_flipped_bit_is_refused(position):
    damaged = bytearray(SMALL_PNG)
    damaged[position] ^= 4
    with pytest.raises(ValueError, match=r"is no PNG|is a damaged PNG"):
        decode_png(bytes(damaged), 4)


@pytest.mark.parametrize("length", range(len(SMALL_PNG)))
def test_a_cut_tail_is_refused(length):
    with pytest.raises(ValueError, match=r"is no PNG|is a damaged PNG: cut off"):
        decode_png(SMALL_PNG[:length], 4)


def test_trailing_bytes_are_refused():
    with pytest.raises(ValueError, match="bytes after its end"):
        decode_png(SMALL_PNG + b"x", 4)


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 3, 3), (64, 64, 3)])
def test_a_png_of_any_shape_comes_back(shape: tuple[int, int, int]):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(image)), image)


def test_equal_pixels_give_equal_bytes_whatever_their_layout():
    mirrored = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)[:, ::-1]
    assert encode_png(mirrored) == encode_png(np.ascontiguousarray(mirrored))


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_encoding_other_arrays_is_refused(image: np.ndarray):
    with pytest.raises(ValueError, match=r"uint8 of shape \(h, w, 3\)"):
        encode_png(image)
