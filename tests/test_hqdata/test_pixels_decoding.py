"""Any bytes give an upright sRGB picture or a `Refused`, and nothing else."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from skimage.data import astronaut

from hqdata.pixels import decode_photo
from hqdata.record import Refused

LOSSLESS = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}
ALL_FORMATS = {**LOSSLESS, "JPEG": {"quality": 95}}


def small():
    return np.ascontiguousarray(astronaut()[80:128:2, 200:264:2])


def encode(image, kind, **options):
    """Return the bytes of a picture, given as an array or a PIL image."""
    buffer = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(data, **options):
    with pytest.raises(Refused) as caught:
        decode_photo(data, **options)
    assert caught.value.stage == "read"
    return caught.value.reason


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def png_of(rows, *, bits, colour):
    """Return a PNG of big-endian numbers (h, w, channels), which Pillow itself cannot write for 16-bit RGB."""
    height, width = rows.shape[:2]
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b"")


# ---- what is read


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_keep_every_pixel(kind):
    image = decode_photo(encode(small(), kind, **LOSSLESS[kind]))
    assert np.array_equal(image, small())
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_decodes_as_opencv_does(options):
    data = encode(astronaut(), "JPEG", quality=90, **options)
    expected = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))
    assert np.array_equal(decode_photo(data), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", LOSSLESS)
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(small(), kind, exif=exif, **LOSSLESS[kind])
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode_photo(data), expected)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_ignored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode_photo(encode(small(), "JPEG", exif=exif)).shape == small().shape


def test_broken_exif_block_is_ignored():
    exif = b"Exif\0\0MM\0*" + b"\xff" * 40
    assert decode_photo(encode(small(), "JPEG", exif=exif)).shape == small().shape


def test_grey_fills_three_channels():
    grey = small()[:, :, 1]
    assert np.array_equal(decode_photo(encode(grey, "PNG")), np.repeat(grey[:, :, None], 3, axis=2))


def test_one_bit_becomes_black_and_white():
    bits = Image.fromarray(small()[:, :, 0] > 120)
    assert np.array_equal(decode_photo(encode(bits, "PNG"))[:, :, 0], (small()[:, :, 0] > 120) * 255)


def test_palette_gives_the_palettes_colours():
    palette = Image.fromarray(small()).quantize(32)
    assert np.array_equal(decode_photo(encode(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_transparent_palette_entry_becomes_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    image = decode_photo(encode(palette, "PNG", transparency=1))
    assert image.tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_transparency_is_laid_on_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 51]]], np.uint8)
    # 51 / 255 = a fifth of the colour and four fifths of white
    assert decode_photo(encode(rgba, "PNG")).tolist() == [[[10, 20, 30], [255, 255, 255], [204, 224, 244]]]


def test_grey_with_alpha_is_laid_on_white():
    pair = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 51)])
    assert decode_photo(encode(pair, "PNG")).tolist() == [[[224, 224, 224]]]


def test_opaque_alpha_changes_nothing():
    rgba = np.dstack([small(), np.full(small().shape[:2], 255, np.uint8)])
    assert np.array_equal(decode_photo(encode(rgba, "PNG")), small())


def test_cmyk_jpeg_keeps_its_colours_roughly():
    image = decode_photo(encode(Image.fromarray(astronaut()).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(image.astype(int) - astronaut()).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(kind):
    levels = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    assert decode_photo(encode(levels, kind))[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_16_bit_colour_png_is_scaled_not_clipped():
    rows = np.array([[[0, 256, 65535], [32768, 511, 4096]]], ">u2")
    assert decode_photo(png_of(rows, bits=16, colour=2)).tolist() == [[[0, 1, 255], [128, 1, 16]]]


def test_16_bit_colour_tiff_is_scaled_not_clipped():
    rgb = np.array([[[0, 256, 65535], [32768, 511, 4096]]], np.uint16)
    _, data = cv2.imencode(".tiff", np.ascontiguousarray(rgb[:, :, ::-1]))
    assert decode_photo(data.tobytes()).tolist() == [[[0, 1, 255], [128, 1, 16]]]


def test_tiff_whose_zero_is_white_is_inverted():
    data = encode(np.array([[0, 65535]], np.uint16), "TIFF", tiffinfo={262: 0})
    assert decode_photo(data)[0, :, 0].tolist() == [255, 0]


def test_float_tiff_of_unit_range_is_scaled():
    levels = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert decode_photo(encode(levels, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("values", [[0.0, 255.0], [-0.5, 1.0], [0.0, float("nan")]])
def test_float_tiff_of_another_range_is_refused(values):
    assert "0..1" in refusal(encode(Image.fromarray(np.array([values], np.float32)), "TIFF"))


def test_32_bit_integers_are_refused_with_the_pixel_format():
    assert "pixel format I " in refusal(encode(Image.fromarray(np.array([[70000]], np.int32)), "TIFF"))


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "WEBP"])
def test_first_of_several_pictures_is_taken(kind):
    later = [Image.fromarray(255 - small())]
    data = encode(small(), kind, save_all=True, append_images=later, **LOSSLESS[kind])
    assert np.array_equal(decode_photo(data), small())


# ---- colour profiles


def profile_bytes(name):
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def wide_gamut_profile():
    """Return an sRGB profile whose red and green columns are swapped, so that converting must swap the channels."""
    data = bytearray(profile_bytes("sRGB"))
    data = data.replace(b"rXYZ", b"tmp_").replace(b"gXYZ", b"rXYZ").replace(b"tmp_", b"gXYZ")
    return bytes(data.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be")))


def test_embedded_profile_is_converted_to_srgb():
    saturated = np.zeros((1, 1, 3), np.uint8)
    saturated[0, 0] = [200, 40, 40]
    image = decode_photo(encode(saturated, "PNG", icc_profile=wide_gamut_profile()))
    assert np.abs(image[0, 0].astype(int) - [40, 200, 40]).max() <= 2  # 8-bit rounding on both ways


def test_a_profile_that_says_srgb_leaves_every_pixel_alone():
    assert np.array_equal(decode_photo(encode(small(), "PNG", icc_profile=profile_bytes("sRGB"))), small())


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 128, profile_bytes("sRGB")[:200], profile_bytes("LAB")])
def test_a_useless_profile_leaves_the_picture_as_it_is(profile):
    assert np.array_equal(decode_photo(encode(small(), "PNG", icc_profile=profile)), small())


def test_grey_with_a_colour_profile_stays_grey():
    grey = small()[:, :, 0]
    image = decode_photo(encode(grey, "PNG", icc_profile=wide_gamut_profile()))
    assert np.array_equal(image[:, :, 0], grey)


# ---- what is refused


def test_empty_file_is_refused():
    assert refusal(b"") == "the file is empty"


def test_the_name_opens_the_reason():
    assert refusal(b"", name="a/b.jpg") == "a/b.jpg: the file is empty"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GIF89a" + b"\0" * 40, "GIF"),
        (b"BM" + b"\0" * 60, "BMP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"hello, this is text\n", "does not begin like a picture"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "does not begin like a picture"),
    ],
)
def test_other_files_are_refused_by_their_kind(data, kind):
    assert kind in refusal(data)


@pytest.mark.parametrize("kind", ALL_FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_truncated_file_is_refused(kind, share):
    data = encode(astronaut()[:200, :200], kind, **ALL_FORMATS[kind])
    assert "damaged or cut off" in refusal(data[: int(len(data) * share)])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("bytes_lost", [1, 2, 50])
def test_jpeg_without_its_last_bytes_is_refused(options, bytes_lost):
    assert "damaged or cut off" in refusal(encode(small(), "JPEG", **options)[:-bytes_lost])


def test_jpeg_cut_in_half_and_closed_again_is_refused_not_half_grey():
    data = encode(astronaut(), "JPEG", quality=90)
    assert "grey" in refusal(data[: len(data) // 2] + b"\xff\xd9")


def test_whole_jpeg_that_ends_in_middle_grey_is_read():
    framed = small()
    framed[-16:] = 128
    assert (decode_photo(encode(framed, "JPEG", quality=95))[-8:] == 128).all()


@pytest.mark.parametrize("extra", [b"\0" * 30, b"trailing text"])
def test_bytes_after_the_end_of_a_jpeg_do_not_matter(extra):
    data = encode(small(), "JPEG")
    assert np.array_equal(decode_photo(data + extra), decode_photo(data))


def test_huge_png_is_refused_from_its_header_alone():
    reason = refusal(png_header(30_000, 30_000))
    assert reason == "30000x30000 pixels are more than the limit of 200000000; nothing was decoded"


def test_huge_webp_is_refused_from_its_header_alone():
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2
    assert "16383x16383" in refusal(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body)


@pytest.mark.parametrize("kind", ALL_FORMATS)
def test_limit_is_inclusive_and_speaks_of_the_header(kind):
    data = encode(small(), kind, **ALL_FORMATS[kind])
    height, width = small().shape[:2]
    assert decode_photo(data, limit_pixels=height * width).shape == small().shape
    assert f"{width}x{height} pixels are more" in refusal(data, limit_pixels=height * width - 1)


def test_webp_lossy_size_is_read_from_its_header():
    assert "32x24 pixels" in refusal(encode(small(), "WEBP", quality=80), limit_pixels=1)


def test_refusing_a_bomb_takes_no_memory_for_its_pixels(monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were decoded"))
    refusal(png_header(30_000, 30_000))


# ---- nothing but Refused, for any bytes


def decodes_or_refuses(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            outcome = decode_photo(data, limit_pixels=1_000_000)
        except Refused as refused:
            outcome = refused
    if isinstance(outcome, Refused):
        assert (outcome.stage, bool(outcome.reason)) == ("read", True)
    else:
        assert (outcome.ndim, outcome.shape[2], outcome.dtype) == (3, 3, np.uint8)


def seeds():
    tiny = small()[:8, :8]
    grey16 = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    palette = Image.fromarray(tiny).quantize(8)
    return [
        encode(tiny, "JPEG"),
        encode(tiny, "JPEG", progressive=True, exif=Image.Exif()),
        encode(Image.fromarray(tiny).convert("CMYK"), "JPEG"),
        encode(tiny, "PNG", icc_profile=profile_bytes("sRGB")),
        encode(palette, "PNG", transparency=1),
        encode(grey16, "PNG"),
        encode(tiny, "WEBP"),
        encode(tiny, "WEBP", lossless=True),
        encode(tiny, "TIFF"),
        encode(tiny, "TIFF", compression="tiff_lzw"),
        encode(grey16, "TIFF"),
    ]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    data=st.sampled_from(seeds()),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_changed_bytes_decode_or_are_refused(data, flips):
    changed = bytearray(data)
    for place, value in flips:
        changed[int(place * len(changed))] = value
    decodes_or_refuses(bytes(changed))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(head=st.sampled_from([b"", *(data[:24] for data in seeds())]), tail=st.binary(max_size=200))
@example(head=b"\xff\xd8\xff", tail=b"")
@example(head=b"II*\0", tail=b"\x08\0\0\0")
@example(head=b"RIFF\0\0\0\0WEBP", tail=b"")
def test_random_bytes_are_refused(head, tail):
    decodes_or_refuses(head + tail)
