"""Every crossing between bytes, stored pixels and the networks' tensors.

Photos come from strangers: whatever the bytes are, `decode_photo` returns an upright sRGB picture or raises `Refused`
with a reason that a user can act on. Choices and what was rejected: docs/decisions/0006-safe-decoding.md.
"""

from __future__ import annotations

import functools
import io
import struct
import warnings

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from hqdata.record import Refused

__all__ = ["LIMIT_PIXELS", "decode_photo", "to_image", "to_pixel_values", "to_tensor"]

LIMIT_PIXELS = 200_000_000
"""Three times CelebA's largest photo (6732x8984), and 600 MB when decoded."""

FORMATS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}
# The classes are called directly: PIL.Image.open would warn or refuse by a limit that is global to the process.

SIGNATURES = (
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"II+\0", 0, "TIFF"),
    (b"MM\0+", 0, "TIFF"),
    (b"WEBP", 8, "WebP"),
    (b"GIF8", 0, "GIF"),
    (b"BM", 0, "BMP"),
    (b"%PDF", 0, "PDF"),
    (b"<svg", 0, "SVG"),
    (b"<?xml", 0, "XML or SVG"),
    (b"ftyphei", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIC"),
    (b"ftypavif", 4, "AVIF"),
    (b"JXL ", 4, "JPEG XL"),
    (b"\xff\x0a", 0, "JPEG XL"),
    (b"jP  ", 4, "JPEG 2000"),
)
"""(bytes, where they stand, the format they mark)."""


def decode_photo(data: bytes, *, limit_pixels: int = LIMIT_PIXELS, name: str = "") -> UInt8[np.ndarray, "h w 3"]:
    """Return a photo's pixels: sRGB, upright, without alpha, the first picture of several.

    Reads JPEG, PNG, WebP and TIFF by their content, not their name. EXIF orientation is applied; an embedded colour
    profile is converted to sRGB (one that says it is sRGB, or is broken, leaves the pixels alone); transparency is laid
    on white; of 16 bits the upper 8 are kept; float pictures must hold 0..1.

    Args:
        data: the file's content.
        limit_pixels: refuse more pixels than this, judged by the header before anything is decoded.
        name: what to call the photo in the reason; empty where the caller names it anyway.

    Raises:
        Refused: with stage "read", for anything that cannot be decoded whole; no other error for any bytes.
    """
    try:
        return _decode(data, limit_pixels)
    except _Bad as error:
        reason = str(error)
    except MemoryError:
        reason = "there is not enough memory to decode it"
    except Exception as error:  # Pillow raises a dozen kinds for damaged bytes: OSError, SyntaxError, KeyError, ...
        details = str(error) if isinstance(error, OSError | SyntaxError) else f"{type(error).__name__} {error}".strip()
        reason = f"the {_format(data)} file is damaged or cut off ({details})"
    raise Refused("read", f"{name}: {reason}" if name else reason)


def to_tensor(image: UInt8[np.ndarray, "h w 3"]) -> Float32[torch.Tensor, "1 3 h w"]:
    """Return an image as the networks take it: levels 0..255 become -1..1."""
    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None].contiguous() / 127.5 - 1


def to_pixel_values(tensor: Float32[torch.Tensor, "1 3 h w"]) -> Float32[np.ndarray, "h w 3"]:
    """Return a network's picture in levels 0..255, clipped but not rounded, for steps that compute on.

    Raises:
        ValueError: unless the tensor holds one finite picture of three channels.
    """
    if tensor.ndim != 4 or tensor.shape[:2] != (1, 3):
        raise ValueError(f"tensor must have shape (1, 3, h, w), got {tuple(tensor.shape)}")
    if not torch.isfinite(tensor).all():
        raise ValueError("tensor holds NaN or infinity, which are no pixels; look for it in the network that made it")
    levels = ((tensor.detach()[0].float() + 1) * 127.5).clamp(0, 255)
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()


def to_image(tensor: Float32[torch.Tensor, "1 3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return a network's picture as stored: -1..1 becomes 0..255, clipped, halves rounded to even.

    Raises:
        ValueError: unless the tensor holds one finite picture of three channels.
    """
    return np.rint(to_pixel_values(tensor)).astype(np.uint8)


class _Bad(Exception):
    """A reason found here, already in words for the user."""


def _decode(data: bytes, limit_pixels: int) -> UInt8[np.ndarray, "h w 3"]:
    kind = _format(data)
    if not data:
        raise _Bad("the file is empty")
    if kind not in FORMATS:
        raise _Bad(f"{kind} is not supported; save it as JPEG, PNG, WebP or TIFF")
    if kind == "PNG" and len(data) >= 24:
        _check_size(*struct.unpack(">II", data[16:24]), limit_pixels)  # also where nothing follows the header
    if kind == "WebP":
        _check_size(*_webp_size(data), limit_pixels)  # Pillow's reader allocates the canvas when it opens the file
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of harmless faults in EXIF and text blocks
        with FORMATS[kind](io.BytesIO(data)) as picture:
            _check_size(*picture.size, limit_pixels)
            picture.load()
            if kind == "JPEG" and _ends_grey(picture) and _takes_more_data(data, picture):
                raise _Bad("the JPEG file is cut off, though closed by an end mark (its lower part is grey)")
            return _upright(_flat_srgb(picture), _orientation(picture))


def _format(data: bytes) -> str:
    head = data[:16]
    names = (name for signature, start, name in SIGNATURES if head[start : start + len(signature)] == signature)
    return next(names, "a file that does not begin like a picture")


def _check_size(width: int, height: int, limit_pixels: int) -> None:
    if width < 1 or height < 1:
        raise _Bad(f"the header says {width}x{height} pixels")
    if width * height > limit_pixels:
        raise _Bad(f"{width}x{height} pixels are more than the limit of {limit_pixels}; nothing was decoded")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) as the first chunk says (RFC 9649, sections 2.5 to 2.7)."""
    chunk = data[12:16]
    if len(data) < 30 or chunk not in (b"VP8 ", b"VP8L", b"VP8X"):
        raise _Bad("the WebP file is damaged or cut off (no size in its header)")
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    packed = int.from_bytes(data[26:30] if chunk == b"VP8 " else data[21:25], "little")
    if chunk == b"VP8 ":
        return packed & 0x3FFF, packed >> 16 & 0x3FFF
    return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)


def _ends_grey(picture: Image.Image) -> bool:
    """Return whether the last 8 rows are the middle grey that a JPEG decoder fills in for missing data."""
    width, height = picture.size
    return picture.mode in ("L", "RGB") and set(picture.crop((0, max(0, height - 8), width, height)).tobytes()) == {128}


def _takes_more_data(data: bytes, picture: Image.Image) -> bool:
    """Return whether bytes put before a JPEG's end mark change its pixels, as they only can where data is missing."""
    end = data.rfind(b"\xff\xd9")
    with FORMATS["JPEG"](io.BytesIO(data[:end] + b"\x55" * 64 + data[end:])) as other:
        return other.tobytes() != picture.tobytes()


def _flat_srgb(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """Return the pixels in sRGB with transparency laid on white."""
    image = np.array(_to_srgb(_in_8_bits(picture), picture.info.get("icc_profile")))
    if not picture.has_transparency_data or picture.mode not in (
        "1",
        "L",
        "LA",
        "La",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
    ):
        return image
    alpha = np.array(picture.convert("RGBA").getchannel("A"), dtype=np.uint16)[:, :, None]
    return ((image * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _in_8_bits(picture: Image.Image) -> Image.Image:
    """Return the colours as mode L, RGB or CMYK, without alpha."""
    if picture.mode in ("L", "RGB", "CMYK"):
        return picture
    if picture.mode in ("1", "LA"):
        return picture.convert("L")
    if picture.mode in ("P", "PA", "RGBA", "RGBX", "YCbCr"):
        return picture.convert("RGB")
    if picture.mode in ("La", "RGBa"):
        return picture.convert("RGBA").convert("RGB")
    if picture.mode.startswith("I;16"):
        return _upper_bytes(picture)
    if picture.mode == "F":
        return _from_unit_range(picture)
    raise _Bad(f"the pixel format {picture.mode} has no agreed range; save it with 8 or 16 bits a channel")


def _upper_bytes(picture: Image.Image) -> Image.Image:
    grey = (np.asarray(picture) >> 8).astype(np.uint8)
    white_is_zero = isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(262) == 0
    return Image.fromarray(255 - grey if white_is_zero else grey)


def _from_unit_range(picture: Image.Image) -> Image.Image:
    grey = np.asarray(picture)
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0 and high <= 1):  # also true for NaN
        raise _Bad(f"float pictures must hold values of 0..1, got {low:g}..{high:g}")
    return Image.fromarray(np.rint(grey * 255).astype(np.uint8))


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an L, RGB or CMYK picture as RGB, by its profile where that can be used."""
    transform = _transform(profile, picture.mode) if profile else None
    if transform is None:
        return picture.convert("RGB")
    return transform.apply(picture)


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way from a profile to sRGB; None if it is sRGB already, broken, or meant for another mode."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.ImageCmsTransform(source, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _orientation(picture: Image.Image) -> int:
    """Return EXIF's 1..8, and 1 where it is absent or unreadable."""
    try:
        value = picture.getexif().get(0x0112, 1)
    except Exception:  # a broken EXIF block must not cost the photo; Pillow raises many kinds
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(image: UInt8[np.ndarray, "h w 3"], orientation: int) -> UInt8[np.ndarray, "h w 3"]:
    """Undo EXIF's orientation (Exif 3.0, tag 0x0112)."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
