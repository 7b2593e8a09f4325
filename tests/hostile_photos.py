"""A folder of everything that people's photo folders hold, and what must become of each file."""

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut

ROTATED_CLOCKWISE = 6
"""EXIF orientation of a picture that must be turned clockwise to stand upright."""


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One file and its fate."""

    name: str
    reads: bool
    """Whether `decode_photo` must return a picture."""
    shape: tuple[int, int, int] | None = None
    """The picture's, where it reads."""
    reason: str = ""
    """A part of the reason, where it is refused."""
    has_face: bool = False
    """Whether the portrait's one face can be seen in it."""
    listed: bool = True
    """Whether a source lists it at all."""


def write_hostile_folder(folder: Path) -> list[Hostile]:
    """Write the files below `folder` and return what to expect, in the order in which a source lists them.

    "unreadable.jpg" has no read permission. Root may read it all the same, so its `reads` follows from who runs this.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = _refused() | _read()
    for name, (data, _) in files.items():
        path = folder / os.fsdecode(name) if isinstance(name, bytes) else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    expected = [outcome for _, outcome in files.values()]
    expected += [_without_permission(folder), _broken_link(folder)]
    return sorted(expected, key=lambda outcome: outcome.name)


def astronaut_rgb() -> Image.Image:
    """Return the part of the portrait with head and shoulders, 256x256 pixels, one face."""
    return Image.fromarray(np.ascontiguousarray(astronaut()[:256, 96:352]))


def _refused() -> dict[str, tuple[bytes, Hostile]]:
    jpeg = _encoded(astronaut_rgb(), "JPEG")
    cases = {
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "cut off"),
        "closed_half.jpg": (jpeg[: len(jpeg) // 2] + b"\xff\xd9", "grey"),
        "text.jpg": (b"Dear diary, this is not a photo.\n", "does not begin like a picture"),
        "empty.jpg": (b"", "empty"),
        "bomb.png": (_png_header(30_000, 30_000), "30000x30000"),
        "gif_inside.jpg": (_encoded(astronaut_rgb().quantize(64), "GIF"), "GIF is not supported"),
        "truncated.png": (_encoded(astronaut_rgb(), "PNG")[:5000], "cut off"),
    }
    return {name: (data, Hostile(name=name, reads=False, reason=reason)) for name, (data, reason) in cases.items()}


def _read() -> dict[str | bytes, tuple[bytes, Hostile]]:
    portrait = astronaut_rgb()
    shape = (256, 256, 3)
    exif = Image.Exif()
    exif[0x0112] = ROTATED_CLOCKWISE
    lying = portrait.crop((0, 0, 256, 240)).transpose(Image.Transpose.ROTATE_90)
    dot = Image.new("RGB", (1, 1), (10, 20, 30))
    cases: dict[str, tuple[bytes, tuple[int, int, int], bool]] = {
        "1x1.png": (_encoded(dot, "PNG"), (1, 1, 3), False),
        "flat.png": (_encoded(Image.new("RGB", (300, 200), (128, 128, 128)), "PNG"), (200, 300, 3), False),
        "cmyk.jpg": (_encoded(portrait.convert("CMYK"), "JPEG", quality=95), shape, True),
        "grey.jpg": (_encoded(portrait.convert("L"), "JPEG", quality=95), shape, True),
        "grey16.png": (_encoded(_grey16(portrait), "PNG"), shape, True),
        "palette.png": (_encoded(portrait.quantize(256), "PNG"), shape, True),
        "rgba.png": (_encoded(_faded(portrait), "PNG"), shape, True),
        "exif_rotated.jpg": (_encoded(lying, "JPEG", quality=95, exif=exif), (240, 256, 3), True),
        "UPPER.JPEG": (_encoded(portrait, "JPEG", quality=95), shape, True),
        "photo.webp": (_encoded(portrait, "WEBP", quality=95), shape, True),
        "photo.tif": (_encoded(portrait, "TIFF"), shape, True),
        "below/with space é.png": (_encoded(portrait, "PNG"), shape, True),
    }
    files: dict[str | bytes, tuple[bytes, Hostile]] = {
        name: (data, Hostile(name=name, reads=True, shape=size, has_face=face))
        for name, (data, size, face) in cases.items()
    }
    newline = Hostile(name="new%0Aline.png", reads=True, shape=shape, has_face=True)
    not_utf8 = Hostile(name="caf%E9.png", reads=True, shape=shape, has_face=True)
    files["new\nline.png"] = (_encoded(portrait, "PNG"), newline)
    files[b"caf\xe9.png"] = (_encoded(portrait, "PNG"), not_utf8)
    files[".hidden.jpg"] = (b"", Hostile(name=".hidden.jpg", reads=False, listed=False))
    files["notes.txt"] = (b"not a photo", Hostile(name="notes.txt", reads=False, listed=False))
    return files


def _without_permission(folder: Path) -> Hostile:
    path = folder / "unreadable.jpg"
    path.write_bytes(_encoded(astronaut_rgb(), "JPEG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        return Hostile(name=path.name, reads=True, shape=(256, 256, 3), has_face=True)
    return Hostile(name=path.name, reads=False, reason="no permission")


def _broken_link(folder: Path) -> Hostile:
    (folder / "link_to_nothing.jpg").symlink_to("nothing.jpg")
    return Hostile(name="link_to_nothing.jpg", reads=False, reason="missing")


def _grey16(picture: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)


def _faded(picture: Image.Image) -> Image.Image:
    """Return the picture with a transparent left margin."""
    alpha = np.full(picture.size[::-1], 255, np.uint8)
    alpha[:, :16] = 0
    return Image.merge("RGBA", [*picture.split(), Image.fromarray(alpha)])


def _png_header(width: int, height: int) -> bytes:
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
