"""Laws of decoding one picture file."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from metrics.sources.decoding import LIMIT_PIXELS, UnreadablePicture, decode, describe
from metrics.sources.jpeg_quality import estimated_quality

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[:, :, 0]
WHITE = np.full((6, 9, 3), 255, np.uint8)


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width, height):
    """Return a PNG whose header is whole and says any size."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def png_of_16_bits(levels):
    """Return an RGB PNG with 16 bits a channel, which Pillow cannot write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, _ = levels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_keep_every_level(kind):
    image, facts = decode(encoded(RGB, kind))
    np.testing.assert_array_equal(image, RGB)
    assert (facts.format, facts.size, facts.traits) == (kind, (6, 9), ())


def test_lossless_webp_keeps_every_level():
    image, facts = decode(encoded(RGB, "WEBP", lossless=True))
    np.testing.assert_array_equal(image, RGB)
    assert facts.format == "WebP"


def test_jpeg_is_what_pillow_makes_of_it():
    data = encoded(RGB, "JPEG", quality=90)
    np.testing.assert_array_equal(decode(data)[0], np.asarray(Image.open(io.BytesIO(data))))


def test_the_format_is_judged_by_the_content():
    assert describe(encoded(RGB, "JPEG")).format == "JPEG"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_and_told(orientation, kind):
    data = encoded(RGB, kind, exif=turned(orientation))
    image, facts = decode(data)
    lying = Image.fromarray(RGB)
    lying.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(image, np.asarray(ImageOps.exif_transpose(lying)))
    assert facts.size == image.shape[:2]
    assert ("turned" in facts.traits) == (orientation != 1)


def test_a_broken_exif_block_leaves_the_picture_upright():
    np.testing.assert_array_equal(decode(encoded(RGB, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))[0], RGB)


def test_grey_becomes_three_equal_channels_and_is_told():
    image, facts = decode(encoded(GREY))
    np.testing.assert_array_equal(image, np.repeat(GREY[:, :, None], 3, axis=2))
    assert facts.traits == ("grey",)


def test_a_palette_is_expanded_exactly_and_told():
    picture = Image.fromarray(RGB).quantize(16)
    image, facts = decode(encoded(picture))
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))
    assert facts.traits == ("palette",)


def test_opaque_alpha_changes_nothing():
    opaque = np.dstack([RGB, np.full((6, 9), 255, np.uint8)])
    np.testing.assert_array_equal(decode(encoded(opaque))[0], RGB)


def test_transparency_is_laid_on_white_and_told():
    image, facts = decode(encoded(np.dstack([RGB, np.zeros((6, 9), np.uint8)])))
    np.testing.assert_array_equal(image, WHITE)
    assert facts.traits == ("alpha",)


def test_half_transparency_is_the_rounded_mean_with_white():
    image, _ = decode(encoded(np.dstack([RGB, np.full((6, 9), 51, np.uint8)])))
    np.testing.assert_array_equal(image, np.rint(RGB * 0.2 + 255 * 0.8).astype(np.uint8))


def test_transparent_palettes_are_laid_on_white():
    picture = Image.new("P", (9, 6), 0)
    picture.putpalette([10, 20, 30])
    np.testing.assert_array_equal(decode(encoded(picture, transparency=0))[0], WHITE)


def test_sixteen_grey_bits_keep_the_upper_eight_and_are_told():
    image, facts = decode(encoded(GREY.astype(np.uint16) * 256 + 255))
    np.testing.assert_array_equal(image[:, :, 1], GREY)
    assert facts.traits == ("grey", "16 bits")


def test_16_bits_of_ink_instead_of_light_are_turned_round():
    grey_of_light, of_ink = (struct.pack("<HHIHH", 262, 3, 1, value, 0) for value in (1, 0))
    tiff = encoded(GREY.astype(np.uint16) * 256, "TIFF")
    assert tiff.count(grey_of_light) == 1
    image, _ = decode(tiff.replace(grey_of_light, of_ink))
    assert (image == 255 - GREY[:, :, None]).all()


def test_sixteen_colour_bits_keep_the_upper_eight_and_are_told():
    image, facts = decode(png_of_16_bits(RGB.astype(np.uint16) * 256 + 200))
    np.testing.assert_array_equal(image, RGB)
    assert facts.traits == ("16 bits",)


def test_cmyk_is_converted_as_pillow_does_and_told():
    picture = Image.fromarray(RGB).convert("CMYK")
    image, facts = decode(encoded(picture, "TIFF"))
    np.testing.assert_array_equal(image, np.asarray(picture.convert("RGB")))
    assert facts.traits == ("other colours",)


def test_an_srgb_profile_is_not_worth_telling():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert describe(encoded(RGB, icc_profile=profile)).traits == ()


def test_another_colour_profile_is_told_and_leaves_the_pixels():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image, facts = decode(encoded(RGB, icc_profile=profile))
    np.testing.assert_array_equal(image, RGB)
    assert facts.traits == ("profile",)


def test_of_several_pictures_the_first_is_taken_and_told():
    data = encoded(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(WHITE)])
    image, facts = decode(data)
    np.testing.assert_array_equal(image, RGB)
    assert facts.traits == ("several",)


@pytest.mark.parametrize("quality", [5, 10, 25, 49, 50, 75, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_found(quality):
    assert describe(encoded(RGB, "JPEG", quality=quality)).quality == quality


def test_the_order_of_a_table_does_not_matter_to_its_quality():
    table = Image.open(io.BytesIO(encoded(RGB, "JPEG", quality=80))).quantization[0]
    assert estimated_quality(tuple(table)) == estimated_quality(tuple(reversed(table))) == 80


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_cut_file_is_refused(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise, kind)
    with pytest.raises(UnreadablePicture):
        decode(data[: int(share * len(data))])


@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_that_was_cut_and_closed_again_is_refused(grey):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(noise[:, :, 0] if grey else noise, "JPEG")
    with pytest.raises(UnreadablePicture, match="cut off, though an end mark closes it"):
        decode(data[: len(data) // 2] + b"\xff\xd9")


def test_a_jpeg_with_a_grey_floor_is_whole():
    picture = np.full((32, 32, 3), 128, np.uint8)
    np.testing.assert_array_equal(decode(encoded(picture, "JPEG"))[0], picture)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"I am a text and no picture", "does not begin like a picture"),
        (b"\x89PNG\r\n\x1a\nI am a text and no picture", "PNG file is damaged"),
        (encoded(RGB, "GIF"), "GIF is not read here"),
        (encoded(GREY.astype(np.float32), "TIFF"), "format F has no agreed range"),
        (encoded(GREY.astype(np.int32), "TIFF"), "format I has no agreed range"),
        (png_claiming(2**16, 2**16), f"more than the limit of {LIMIT_PIXELS}"),
        (png_claiming(0, 4), "damaged"),
    ],
    ids=["empty", "text", "text posing as PNG", "GIF", "float", "32 bits", "bomb", "no pixels"],
)
def test_what_is_no_picture_is_refused_with_a_reason(data, reason):
    with pytest.raises(UnreadablePicture, match=reason):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_picture_or_a_reason(data):
    try:
        image, _ = decode(data)
    except UnreadablePicture:
        return
    assert image.dtype == np.uint8


@given(kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP"]), where=st.floats(0, 1), flip=st.integers(1, 255))
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_any_damaged_byte_gives_a_picture_or_a_reason(kind, where, flip):
    data = bytearray(encoded(RGB, kind))
    data[int(where * (len(data) - 1))] ^= flip
    try:
        image, facts = decode(bytes(data))
    except UnreadablePicture:
        return
    assert image.shape == (*facts.size, 3)
