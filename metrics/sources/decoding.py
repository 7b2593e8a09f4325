"""A picture file's bytes made into 8-bit RGB, or refused with a reason; what was done to it is told, never hidden.

| what a file has | what becomes of it |
|---|---|
| format | by its first bytes, never its name: JPEG, PNG, WebP, TIFF, BMP, PPM/PGM; others are refused |
| EXIF orientation | applied, and told: most FID programs leave such pictures lying |
| one channel, palette | converted to RGB exactly, and told |
| transparency | laid on white, and told |
| 16 bits | the upper 8 are kept, and told |
| CMYK, YCbCr | converted without colour management, as Pillow does, and told |
| colour profile | left aside, as other FID programs do, and told unless it is sRGB |
| several pictures | the first is taken, and told |
| float, 32-bit integers, Lab | refused: their range or meaning is not agreed |
| cut off, damaged, empty | refused, also a JPEG that was cut and closed again |
| more than 100 megapixels | refused by the header, before anything is decoded |
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from PIL import (
    BmpImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from metrics.sources.jpeg_quality import estimated_quality

__all__ = ["LIMIT_PIXELS", "PictureFacts", "UnreadablePicture", "decode", "describe"]

LIMIT_PIXELS = 100_000_000
"""300 MB when decoded; a small file may claim any size."""

FORMATS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
# Called directly: PIL.Image.open would warn or refuse by a limit that belongs to the whole process.

SIGNATURES = (
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"WEBP", 8, "WebP"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"BM", 0, "BMP"),
    *((f"P{digit}".encode(), 0, "PPM") for digit in (1, 2, 3, 4, 5, 6)),
    (b"GIF8", 0, "GIF"),
    (b"ftypavif", 4, "AVIF"),
    (b"ftyphei", 4, "HEIC"),
    (b"\0\0\0\x0cJXL ", 0, "JPEG XL"),
    (b"\xff\x0a", 0, "JPEG XL"),
)
"""(bytes, where they stand, the format that they mark)."""

END_MARK = b"\xff\xd9"
"""Of a JPEG."""
SIDEWAYS = (5, 6, 7, 8)
ORIENTATION = 0x0112
"""EXIF's tag; its values 5 to 8 exchange height and width."""


class UnreadablePicture(ValueError):
    """A picture file cannot be decoded whole; the message says why, and names the file where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFacts:
    """What a file's header and bytes tell, without its pixels."""

    format: str
    size: tuple[int, int]
    """(height, width) after it was turned upright."""
    quality: int | None
    """Estimated setting of a JPEG, 1..100."""
    traits: tuple[str, ...]
    """Whatever must be told about its way to RGB: keys of `metrics.sources.summary.TRAITS`."""


def describe(data: bytes) -> PictureFacts:
    """Return what a file's header says of it.

    Raises:
        UnreadablePicture: when the header is none that we read, or claims too many pixels.
    """
    with _reasons(data):
        return _facts(data, _opened(data))


def decode(data: bytes) -> tuple[UInt8[np.ndarray, "h w 3"], PictureFacts]:
    """Return a file's picture, upright, in 8-bit RGB, and what was noticed about it.

    Raises:
        UnreadablePicture: for anything that cannot be decoded whole; no other error for any bytes.
    """
    with _reasons(data):
        picture = _opened(data)
        facts = _facts(data, picture)
        picture.load()
        if facts.format == "JPEG" and _lacks_data(data, picture):
            raise UnreadablePicture("the JPEG file is cut off, though an end mark closes it (its lower part is grey)")
        return _upright(_flat_rgb(picture), _orientation(picture)), facts


@contextmanager
def _reasons(data: bytes) -> Iterator[None]:
    """Turn whatever Pillow raises for damaged bytes (OSError, SyntaxError, struct.error, ...) into one kind."""
    try:
        yield
    except UnreadablePicture:
        raise
    except MemoryError as error:
        raise UnreadablePicture("there is not enough memory to decode it") from error
    except Exception as error:
        detail = str(error) if isinstance(error, OSError | SyntaxError) else f"{type(error).__name__} {error}".strip()
        raise UnreadablePicture(f"the {_format(data)} file is damaged or cut off ({detail})") from error


def _opened(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise UnreadablePicture("the file is empty")
    kind = _format(data)
    if kind not in FORMATS:
        raise UnreadablePicture(f"{kind} is not read here; save it as PNG, JPEG, WebP, TIFF, BMP or PPM")
    picture = FORMATS[kind](io.BytesIO(data))
    width, height = picture.size
    if width * height > LIMIT_PIXELS:
        raise UnreadablePicture(f"{width} x {height} pixels are more than the limit of {LIMIT_PIXELS}")
    return picture


def _format(data: bytes) -> str:
    head = data[:16]
    names = (name for signature, start, name in SIGNATURES if head[start : start + len(signature)] == signature)
    return next(names, "a file that does not begin like a picture")


def _facts(data: bytes, picture: ImageFile.ImageFile) -> PictureFacts:
    width, height = picture.size
    turned_by_pillow = isinstance(picture, TiffImagePlugin.TiffImageFile)  # at load, and its size before that
    sideways = _orientation(picture) in SIDEWAYS and not turned_by_pillow
    quality = None
    if isinstance(picture, JpegImagePlugin.JpegImageFile) and picture.quantization:
        quality = estimated_quality(tuple(picture.quantization[min(picture.quantization)]))
    return PictureFacts(
        format=_format(data),
        size=(width, height) if sideways else (height, width),
        quality=quality,
        traits=_traits(data, picture),
    )


def _traits(data: bytes, picture: ImageFile.ImageFile) -> tuple[str, ...]:
    profile = picture.info.get("icc_profile")
    held = {
        "grey": picture.mode in ("1", "L", "LA") or picture.mode.startswith("I;16"),
        "palette": picture.mode in ("P", "PA"),
        "alpha": picture.has_transparency_data,
        "16 bits": picture.mode.startswith("I;16") or _stored_bits(data, picture) == 16,
        "other colours": picture.mode in ("CMYK", "YCbCr"),
        "profile": bool(profile) and not _is_srgb(profile),
        "turned": _orientation(picture) != 1,
        "several": getattr(picture, "n_frames", 1) > 1,
    }
    return tuple(trait for trait, holds in held.items() if holds)


def _stored_bits(data: bytes, picture: ImageFile.ImageFile) -> int:
    """Return bits a channel in the file, where Pillow drops the lower ones without a word; 8 elsewhere."""
    if isinstance(picture, PngImagePlugin.PngImageFile):
        return data[24]  # IHDR: length, name, width, height, then the depth (PNG specification, 11.2.1)
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        return max(picture.tag_v2.get(258, (8,)))  # BitsPerSample
    return 8


@lru_cache(maxsize=64)
def _is_srgb(profile: bytes) -> bool:
    """Return whether a colour profile calls itself sRGB; a broken one says nothing and is left aside by all."""
    try:
        return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).lower()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return True


def _orientation(picture: Image.Image) -> int:
    """Return EXIF's 1..8, and 1 where it is absent or unreadable."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile) and "exif" not in picture.info:
        return 1
    try:
        value = picture.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises many kinds for a broken EXIF block, which must not cost the picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _lacks_data(data: bytes, picture: Image.Image) -> bool:
    """Return whether a JPEG ends in the grey that decoders fill in, and more data before its end mark changes it."""
    width, height = picture.size
    last_rows = picture.crop((0, max(0, height - 8), width, height))
    if any(low != 128 or high != 128 for low, high in _ranges(last_rows)):
        return False
    end = data.rfind(END_MARK)
    with FORMATS["JPEG"](io.BytesIO(data[:end] + b"\x55" * 64 + data[end:])) as longer:
        return longer.tobytes() != picture.tobytes()


def _ranges(picture: Image.Image) -> list[tuple[int, int]]:
    """Return each channel's least and greatest level."""
    found = picture.getextrema()
    return list(found) if isinstance(found[0], tuple) else [found]  # pyright: ignore[reportReturnType]


def _flat_rgb(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    if picture.mode.startswith("I;16"):
        if picture.has_transparency_data:
            raise UnreadablePicture("a 16-bit picture with one transparent grey is not read here; save it with 8 bits")
        return np.repeat(_upper_bytes(picture)[:, :, None], 3, axis=2)
    if picture.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"):
        raise UnreadablePicture(f"the pixel format {picture.mode} has no agreed range; save it with 8 bits a channel")
    if picture.has_transparency_data or picture.mode in ("La", "RGBa"):
        return _on_white(np.asarray(picture.convert("RGBA")))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _upper_bytes(picture: Image.Image) -> UInt8[np.ndarray, "h w"]:
    grey = (np.asarray(picture) >> 8).astype(np.uint8)
    white_is_zero = isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(262) == 0
    return 255 - grey if white_is_zero else grey


def _on_white(image: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    alpha = image[:, :, 3:].astype(np.uint16)
    return ((image[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upright(image: UInt8[np.ndarray, "h w 3"], orientation: int) -> UInt8[np.ndarray, "h w 3"]:
    """Undo EXIF's orientation (Exif 3.0, tag 0x0112)."""
    if orientation in SIDEWAYS:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image
