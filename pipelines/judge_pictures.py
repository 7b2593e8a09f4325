"""The clean pictures that networks are judged on: a folder's, read one at a time, or scikit-image's own photos."""

from __future__ import annotations

import importlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import BmpImagePlugin

from hqdata.pixels import LIMIT_PIXELS, decode_photo
from hqdata.record import Dropped, Refused
from pipelines.judge_history import was_jpeg

__all__ = ["LARGEST", "SMALLEST", "CleanPicture", "PictureSet", "bundled_photos", "folder_set", "sets_under"]

BUNDLED = ("astronaut", "chelsea", "coffee", "stereo_motorcycle")
"""scikit-image's colour photos of everyday things; no training recipe of ours uses them."""
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
SMALLEST, LARGEST = 40, 1024
"""Sides in pixels: smaller pictures leave nothing to measure when shrunk, larger ones are cut to their middle."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanPicture:
    """One picture that is taken as the truth."""

    name: str
    """Relative to its folder."""
    image: UInt8[np.ndarray, "h w 3"]
    grey: bool
    """Whether red, green and blue agree everywhere."""
    jpeg_original: bool
    """Whether it was a JPEG before, whose artefacts count as truth here."""


@dataclass(slots=True, kw_only=True)
class PictureSet:
    """Pictures under one name; iterating reads them, and fills `skipped` with those that could not be used."""

    name: str
    folder: Path | None
    """None stands for scikit-image's photos."""
    names: tuple[str, ...]
    skipped: list[Dropped] = field(default_factory=list)

    def pictures(self, limit: int | None = None) -> Iterator[CleanPicture]:
        """Yield the first `limit` usable pictures in the order of their names; skip the others and say why."""
        self.skipped.clear()
        return islice(self._usable(), limit)

    def _usable(self) -> Iterator[CleanPicture]:
        for name in self.names:
            try:
                image = _middle(_bundled(name) if self.folder is None else _read(self.folder / name))
            except Refused as error:
                _LOGGER.warning("%s: %s skipped: %s", self.name, name, error.reason)
                self.skipped.append(Dropped(id=name, source=name, stage=error.stage, reason=error.reason))
                continue
            grey = bool((image[..., :1] == image[..., 1:]).all())
            yield CleanPicture(name=name, image=image, grey=grey, jpeg_original=was_jpeg(image))


def bundled_photos() -> PictureSet:
    """Return the set of scikit-image's photos."""
    return PictureSet(name="scikit-image", folder=None, names=BUNDLED)


def folder_set(folder: Path) -> PictureSet:
    """Return all picture files under `folder` as a set, known by their suffixes.

    Raises:
        ValueError: when there is none.
    """
    found = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    names = tuple(sorted(path.relative_to(folder).as_posix() for path in found))
    if not names:
        raise ValueError(f"{folder}: holds no picture file ({', '.join(sorted(SUFFIXES))}); give another folder")
    return PictureSet(name=folder.resolve().name, folder=folder, names=names)


def sets_under(folder: Path) -> list[PictureSet]:
    """Return one set for each folder directly inside `folder`, such as classic5/ and set5/.

    Raises:
        ValueError: when there is none, or one has no picture.
    """
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not inside:
        raise ValueError(f"{folder}: holds no folder of pictures such as classic5 or set5; for one set use --photos")
    return [folder_set(path) for path in inside]


def _bundled(name: str) -> UInt8[np.ndarray, "h w 3"]:
    loaded = getattr(importlib.import_module("skimage.data"), name)()
    return np.asarray(loaded[0] if isinstance(loaded, tuple) else loaded)


def _read(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Return a file's pixels; BMP, in which evaluation sets come, besides what photos may be."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused("read", f"cannot be read: {error.strerror}") from error
    return _decode_bmp(data) if data.startswith(b"BM") else decode_photo(data)


def _decode_bmp(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    try:
        with BmpImagePlugin.BmpImageFile(io.BytesIO(data)) as picture:
            if picture.width * picture.height > LIMIT_PIXELS:
                raise Refused("read", f"{picture.width}x{picture.height} pixels are more than the limit")
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, OverflowError) as error:
        raise Refused("read", f"the BMP file is damaged or cut off ({error})") from error


def _middle(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the middle `LARGEST` pixels of each side that is longer."""
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise Refused("read", f"is {width}x{height} pixels, at least {SMALLEST} a side are needed")
    top, left = max(0, height - LARGEST) // 2, max(0, width - LARGEST) // 2
    return np.ascontiguousarray(image[top : top + LARGEST, left : left + LARGEST])
