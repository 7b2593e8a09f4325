"""Picture files in a folder, by a glob pattern, in a list of paths or in a zip archive, in a stable order."""

from __future__ import annotations

import glob
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from metrics.sources.encoded import EncodedPictures
from metrics.sources.options import Options
from metrics.sources.source import NoPictures

__all__ = ["PICTURE_EXTENSIONS", "from_folder", "from_paths", "from_pattern", "from_zip", "natural"]

PICTURE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm"}
)
LIMIT_BYTES = 2**30
"""Of one file: an archive's entry may claim to unpack to any size."""
DIGITS = frozenset("0123456789")
ENCRYPTED = 0x1
"""Bit 0 of an entry's flags (APPNOTE 4.4.4)."""


def natural(path: str) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Return the key by which people order names: folder by folder, numbers by their value.

    >>> sorted(["b/1.png", "a/10.png", "a/9.png"], key=natural)
    ['a/9.png', 'a/10.png', 'b/1.png']
    """
    return tuple(
        tuple(_number(run) if run[0] in DIGITS else (1, 0, run) for run in re.split(r"([0-9]+)", part) if run)
        for part in path.split("/")
    )


def _number(digits: str) -> tuple[int, int, str]:
    """Return a key that orders by value; an archive's name may have more digits than an int is made of."""
    value = digits.lstrip("0")
    return 0, len(value), value + " " + digits


def from_folder(folder: Path, *, name: str, options: Options) -> EncodedPictures:
    """Return all pictures below a folder; linked folders are followed, hidden files are not seen.

    Raises:
        NoPictures: when there is none.
    """
    files = [Path(top, file) for top, found in _walk(folder) for file in found]
    return _sorted_files({path.relative_to(folder).as_posix(): path for path in files}, name, options)


def from_pattern(pattern: str, *, name: str, options: Options) -> EncodedPictures:
    """Return the picture files that a glob pattern matches; `**` stands for any folders.

    Raises:
        NoPictures: when there is none.
    """
    found = [Path(path) for path in glob.glob(pattern, recursive=True)]  # noqa: PTH207 (absolute patterns)
    return _sorted_files({path.as_posix(): path for path in found if path.is_file()}, name, options)


def from_paths(paths: Sequence[Path], *, name: str, options: Options) -> EncodedPictures:
    """Return the pictures of a list of paths in the order of the list.

    Raises:
        FileNotFoundError: when one is not there, naming the first.
    """
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{missing}: no such file; it is listed in {name}")
    return EncodedPictures(
        name=name,
        labels=[str(path) for path in paths],
        read=lambda index: _content(paths[index]),
        options=options,
    )


def from_zip(path: Path, *, name: str, options: Options) -> EncodedPictures:
    """Return the pictures in an archive; nothing is unpacked to disk, so an entry's path is a name and no more.

    Raises:
        ValueError: when it is no zip archive, or a picture in it is encrypted or would unpack to more than 1 GiB.
        NoPictures: when it holds none.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: is no whole zip archive ({error}); copy it again") from error
    entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _hidden(entry.filename)]
    pictures = sorted((entry for entry in entries if _is_picture(entry.filename)), key=lambda e: _key(e.filename))
    _require_some(name, [entry.filename for entry in pictures], [entry.filename for entry in entries])
    for entry in pictures:
        _check_entry(path, entry)

    def read(index: int) -> bytes:
        try:
            return archive.read(pictures[index])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise OSError(f"damaged in the archive: {error}") from error

    return EncodedPictures(
        name=name,
        labels=[entry.filename for entry in pictures],
        read=read,
        options=options,
        notes=_left_out(name, [entry.filename for entry in entries if not _is_picture(entry.filename)]),
    )


def _walk(folder: Path) -> Iterable[tuple[str, list[str]]]:
    """Yield each folder once, also where links lead in a circle."""
    seen: set[str] = set()
    for top, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield top, [name for name in files if not name.startswith(".")]


def _sorted_files(files: Mapping[str, Path], name: str, options: Options) -> EncodedPictures:
    labels = sorted((label for label in files if _is_picture(label)), key=_key)
    _require_some(name, labels, list(files))
    return EncodedPictures(
        name=name,
        labels=labels,
        read=lambda index: _content(files[labels[index]]),
        options=options,
        notes=_left_out(name, sorted(label for label in files if not _is_picture(label))),
    )


def _content(path: Path) -> bytes:
    """Return a file's bytes; a pipe or a device would be waited for without end."""
    if path.exists() and not path.is_file():
        raise OSError("it is no regular file, but a pipe or a device")
    return path.read_bytes()


def _key(label: str) -> tuple[object, str]:
    return natural(label), label


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PICTURE_EXTENSIONS


def _hidden(name: str) -> bool:
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _require_some(name: str, pictures: Sequence[str], files: Sequence[str]) -> None:
    if pictures:
        return
    if not files:
        raise NoPictures(f"{name}: holds no files; wanted are {', '.join(sorted(PICTURE_EXTENSIONS))}")
    found = Counter(PurePosixPath(file).suffix.lower() or "no extension" for file in files)
    there = ", ".join(f"{count} files with {kind}" for kind, count in found.most_common(3))
    raise NoPictures(f"{name}: holds no pictures, but {there}; wanted are {', '.join(sorted(PICTURE_EXTENSIONS))}")


def _left_out(name: str, others: Sequence[str]) -> list[str]:
    if not others:
        return []
    return [f"{name}: {len(others)} files that are no pictures by their extension were left out (first {others[0]})"]


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & ENCRYPTED:
        raise ValueError(f"{path}: {entry.filename} is encrypted; unpack the archive with its password first")
    if entry.file_size > LIMIT_BYTES:
        raise ValueError(f"{path}: {entry.filename} would unpack to {entry.file_size} bytes, more than {LIMIT_BYTES}")
