"""Training photos from any folder of one's own, made ready as the recipe's are.

What was stored with loss is made smaller, which removes its own artefacts: a network must not be taught that they
belong there. The folder of prepared photos remembers what it was made from.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hqdata.atomic import write_bytes, write_json
from hqdata.pixels import decode_photo
from hqdata.png import encode_png
from hqdata.record import Refused
from hqdata.sources.photos import EXTENSIONS
from hqdata.training.attributions import ATTRIBUTIONS_FILE
from hqdata.training.recipe import CAMERA_SHRINK, LONGEST_SIDES, WEBP_SHRINK

__all__ = ["OwnPhoto", "describe_folder", "prepare_once", "prepare_own"]

SOURCE_FILE = "source.json"

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPhoto:
    """Where one prepared photo is from."""

    name: str
    """The prepared file's name."""
    path: str
    """Relative to the folder of photos."""
    sha256: str
    """Of the file as it was found."""
    size: tuple[int, int]
    """(height, width) as prepared."""


def prepare_once(out: Path, source: Mapping[str, Any], prepare: Callable[[Path], object]) -> Path:
    """Let `prepare` fill the folder `out`, unless it did already, and return the folder.

    Args:
        out: folder of prepared photos.
        source: JSON values that say what they are made from.
        prepare: writes the photos.

    Raises:
        ValueError: when the folder was made from something else, or holds files of somebody else.
    """
    note = out / SOURCE_FILE
    if note.exists():
        noted = json.loads(note.read_text(encoding="utf-8"))
        if noted["source"] != json.loads(json.dumps(source)):
            raise ValueError(
                f"{out} was prepared from {noted['source']}, not from {dict(source)}; use another run folder"
            )
        if noted["finished"]:
            return out
        for half_done in out.glob("*.png"):
            half_done.unlink()
    elif out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} holds files that no training put there; use another run folder")
    write_json(note, {"source": dict(source), "finished": False})
    prepare(out)
    write_json(note, {"source": dict(source), "finished": True})
    return out


def describe_folder(folder: Path) -> dict[str, Any]:
    """Return what identifies a folder's photos, for `prepare_once`: their number and a digest of paths and contents.

    Raises:
        ValueError: when the folder is missing or holds no photos.
    """
    digests = [(path.relative_to(folder).as_posix(), _sha256(path.read_bytes())) for path in _files(folder)]
    digest = hashlib.sha256(json.dumps(digests).encode()).hexdigest()
    return {"kind": "own photos", "files": len(digests), "sha256": digest}


def prepare_own(folder: Path, out: Path) -> list[OwnPhoto]:
    """Write a folder's photos as PNG with `attributions.json` to `out` and return the attributions.

    JPEG and WebP photos are written at each smaller size that the recipe would keep; PNG and TIFF at their own, unless
    it is larger than the recipe's largest. Files that cannot be decoded are left out, with a warning that names them.

    Args:
        folder: of JPEG, PNG, WebP and TIFF files, in it and below.
        out: folder for the results.

    Raises:
        ValueError: when there is no such folder, or no usable photo in it.
    """
    attributions: dict[str, OwnPhoto] = {}
    for path in _files(folder):
        data = path.read_bytes()
        try:
            photo = decode_photo(data, name=str(path))
        except Refused as error:
            _LOGGER.warning("left out: %s", error.reason)
            continue
        for image in _smaller(photo, _kind_shrink(data)):
            inside = path.relative_to(folder).as_posix()
            name = _new_name(inside, image, attributions)
            write_bytes(out / name, encode_png(image))
            attributions[name] = OwnPhoto(name=name, path=inside, sha256=_sha256(data), size=image.shape[:2])
    if not attributions:
        raise ValueError(f"{folder}: none of its photos can be decoded; see the warnings above")
    write_json(out / ATTRIBUTIONS_FILE, [asdict(one) for one in attributions.values()])
    return list(attributions.values())


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder of photos")
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS and path.is_file()]
    if not files:
        raise ValueError(f"{folder}: no photos found, looked for {', '.join(EXTENSIONS)} in it and below")
    return files


def _kind_shrink(data: bytes) -> float:
    """Return by how much a photo must shrink at least to lose the traces of its file format."""
    if data[:3] == b"\xff\xd8\xff":
        return CAMERA_SHRINK
    return WEBP_SHRINK if data[8:12] == b"WEBP" else 1.0


def _smaller(photo: UInt8[np.ndarray, "h w 3"], least: float) -> Iterable[UInt8[np.ndarray, "k l 3"]]:
    height, width = photo.shape[:2]
    sides = LONGEST_SIDES if least > 1 else LONGEST_SIDES[:1]
    for shrink in sorted({max(least, max(height, width) / side) for side in sides}):
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        if size == (width, height):
            yield photo
        else:
            yield np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS))


def _new_name(inside: str, image: UInt8[np.ndarray, "h w 3"], taken: Mapping[str, OwnPhoto]) -> str:
    """Return a plain file name that no other prepared photo has: the path's letters, then the longest side if needed.

    >>> _new_name("trip/a b.jpg", np.zeros((4, 6, 3), np.uint8), {})
    'trip_a_b.png'
    """
    stem = re.sub(r"[^A-Za-z0-9]+", "_", inside.rsplit(".", 1)[0])
    candidates = [stem, f"{stem}_{max(image.shape[:2])}", *(f"{stem}_{number}" for number in range(len(taken)))]
    return next(f"{name}.png" for name in candidates if f"{name}.png" not in taken)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
