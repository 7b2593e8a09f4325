"""The training photos: which freely licensed pictures the shipped weights saw, and how they were made ready.

Everything comes from four Debian packages, which `hqdata.training.packages` unpacks into one folder. Each photo's
licence and author are read from its package's `debian/copyright`, but for GCompris, where that file still describes
older pictures: `gcompris_licences.json` beside this module has what the project itself states. By default only
public-domain, CC0 and CC-BY photos are taken, so that the weights carry no share-alike question. Photos are made
smaller, which removes their own JPEG or WebP traces.
"""

from __future__ import annotations

import fnmatch
import io
import json
import logging
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from hqdata.atomic import atomic_path, write_json

__all__ = [
    "DEFAULT_LICENCES",
    "GCOMPRIS_LICENCES",
    "PACKAGES",
    "Attribution",
    "copyright_of",
    "prepare",
    "read_copyright",
    "read_qt_resource",
]

DEFAULT_LICENCES = ("public-domain", "Unlicense", "CC0", "CC-BY-1", "CC-BY-2", "CC-BY-3", "CC-BY-4")
"""Prefixes of the licence names that are taken; CC-BY-SA and GPL are not. GCompris writes "Unlicense" for the public
domain."""

PACKAGES = ("gcompris-qt-data", "lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds")

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
DRAWN = ("Painting", "fractal", "Fractal", "paintings", "Drawing")
"""Parts of names that mark drawn or computed pictures: their statistics are not a camera's."""
GCOMPRIS = "gcompris-qt-data"
GCOMPRIS_LICENCES = Path(__file__).with_name("gcompris_licences.json")
"""Author, licence and source of the 114 photos of GCompris 3.1, after the project's REUSE.toml (its commit 18e1c70;
itself CC0). Not in it, and so under Debian's words for them, are scenery and pictures with holes for games."""
SOURCE_FOLDERS = {"lomiri-wallpapers-16.04": "16.04/", "lomiri-wallpapers-20.04": "20.04/"}
"""Folders that `debian/copyright` names and the installed files have lost."""
LEAST_PIXELS = 120_000
LONGEST_SIDES = (2000, 1000)
"""Each photo is kept at these sizes: the large one for variety, the small one for sharp detail."""
WEBP_SHRINK = 1.25
CAMERA_SHRINK = 2.0

QT_MAGIC = b"qres"
QT_COMPRESSED, QT_DIRECTORY, QT_ZSTD = 1, 2, 4
QT_NODE_BYTES = 22  # resource format 2 and later: name, flags, two words, modification time

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Where one training photo is from and under which licence."""

    name: str
    """The prepared file's name."""
    package: str
    path: str
    """Path inside the package, or inside the resource file in it."""
    licence: str
    author: str
    source: str
    """Web address of the original, where it is known."""
    size: tuple[int, int]
    """(height, width) after downscaling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stanza:
    patterns: tuple[str, ...]
    licence: str
    author: str
    source: str = ""


def prepare(
    packages: Path,
    out: Path,
    *,
    licences: Sequence[str] = DEFAULT_LICENCES,
    longest_sides: Sequence[int] = LONGEST_SIDES,
) -> list[Attribution]:
    """Write the downscaled photos as PNG with `attributions.json` to `out` and return the attributions.

    Args:
        packages: folder that the Debian packages were unpacked into; holds `usr/share`.
        out: folder for the results; files of the same name are replaced.
        licences: prefixes of acceptable licence names, matched against `debian/copyright`.
        longest_sides: limits in pixels after downscaling; one file is written for each that makes the photo smaller.

    Raises:
        ValueError: when no photo is found under `packages`.
    """
    attributions = []
    for package, path, stanza, data in _candidates(packages):
        if not _allowed(stanza.licence, licences) or any(word in path for word in DRAWN):
            continue
        for image in _shrunk(data, longest_sides):
            stem = re.sub(r"[^A-Za-z0-9]+", "_", f"{package}_{PurePosixPath(path).with_suffix('')}")
            attribution = Attribution(
                name=f"{stem}_{max(image.size)}.png",
                package=package,
                path=path,
                licence=stanza.licence,
                author=stanza.author,
                source=stanza.source,
                size=(image.height, image.width),
            )
            with atomic_path(out / attribution.name) as temporary:
                image.save(temporary, format="PNG")
            attributions.append(attribution)
    if not attributions:
        raise ValueError(f"no usable photo under {packages}; unpack the Debian packages there with `dpkg -x`")
    write_json(out / "attributions.json", [asdict(one) for one in attributions])
    _LOGGER.info("%d photos, %.1f MP", len(attributions), sum(h * w for h, w in (a.size for a in attributions)) / 1e6)
    return attributions


def read_copyright(text: str) -> list[_Stanza]:
    """Return the file stanzas of a machine-readable `debian/copyright`, in order; the last match wins."""
    stanzas = []
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {}
        key = ""
        for line in block.splitlines():
            if match := re.match(r"([A-Za-z-]+):(.*)", line):
                key = match.group(1)
                fields[key] = [match.group(2).strip()]
            elif key:
                fields[key].append(line.strip())
        if "Files" in fields:
            licence = fields.get("License", [""])[0]
            author = "; ".join(part for part in fields.get("Copyright", []) if part)
            stanzas.append(
                _Stanza(patterns=tuple(" ".join(fields["Files"]).split()), licence=licence, author=author[:200])
            )
    return stanzas


def copyright_of(path: str, stanzas: Sequence[_Stanza]) -> _Stanza | None:
    """Return the last stanza whose pattern matches `path`; a picture's suffix may differ, as packages convert them."""
    stem = str(PurePosixPath(path).with_suffix(""))
    found = None
    for stanza in stanzas:
        for pattern in stanza.patterns:
            bare = re.sub(r"\.(jpe?g|png|webp|svg)$", "", pattern)
            if fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(stem, bare):
                found = stanza
    return found


def read_qt_resource(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of every file in a Qt binary resource (`.rcc`, format version 2 or 3).

    Files packed with Zstandard are left out: no package that we read has pictures in them.

    Raises:
        ValueError: when `data` is not such a resource.
    """
    if data[:4] != QT_MAGIC:
        raise ValueError("not a Qt resource: it does not begin with 'qres'")
    version, tree, contents, names = struct.unpack_from(">IIII", data, 4)
    if version < 2:
        raise ValueError(f"Qt resource format {version} is not supported; 2 and 3 are")
    pending = [(0, "")]
    while pending:
        index, parent = pending.pop()
        offset, flags, first, second = struct.unpack_from(">IHII", data, tree + index * QT_NODE_BYTES)
        (length,) = struct.unpack_from(">H", data, names + offset)
        start = names + offset + 6
        name = data[start : start + 2 * length].decode("utf-16-be") if index else ""
        path = f"{parent}/{name}" if parent else name
        if flags & QT_DIRECTORY:
            pending += [(child, path) for child in range(second, second + first)]
        elif not flags & QT_ZSTD:
            (size,) = struct.unpack_from(">I", data, contents + second)
            blob = data[contents + second + 4 : contents + second + 4 + size]
            yield path, zlib.decompress(blob[4:]) if flags & QT_COMPRESSED else blob


def _candidates(packages: Path) -> Iterator[tuple[str, str, _Stanza, bytes]]:
    """Yield (package, path, licence stanza, encoded bytes) of every picture, in a fixed order."""
    for notice in sorted(packages.glob("usr/share/doc/*/copyright")):
        package = notice.parent.name
        if package not in PACKAGES:
            continue  # on an installed system, others' "Files: *" would match every picture
        stanzas = read_copyright(notice.read_text(encoding="utf-8"))
        if package == GCOMPRIS:
            stanzas += _stated_by_gcompris()
        for path, data in _pictures(packages, package):
            stanza = copyright_of(SOURCE_FOLDERS.get(package, "") + path, stanzas)
            if stanza is not None:
                yield package, path, stanza, data


def _stated_by_gcompris() -> list[_Stanza]:
    return [
        _Stanza(
            patterns=(photo["path"],),
            licence=photo["licence"],
            author=f"{photo['year']} {photo['author']}".strip(),
            source=photo["source"],
        )
        for photo in json.loads(GCOMPRIS_LICENCES.read_text(encoding="utf-8"))
    ]


def _pictures(packages: Path, package: str) -> Iterator[tuple[str, bytes]]:
    if package == GCOMPRIS:
        for resource in sorted(packages.glob("usr/share/gcompris-qt/rcc/*.rcc")):
            for path, data in sorted(read_qt_resource(resource.read_bytes())):
                if path.endswith(".webp"):
                    yield path.removeprefix("gcompris/"), data
        return
    for file in sorted((packages / "usr/share/backgrounds").rglob("*")):
        inside = str(file.relative_to(packages / "usr/share/backgrounds"))
        is_mate = inside.startswith("mate/")
        if file.suffix in PICTURE_SUFFIXES and not file.is_symlink() and is_mate == (package == "mate-backgrounds"):
            yield inside.removeprefix("mate/"), file.read_bytes()


def _allowed(licence: str, prefixes: Sequence[str]) -> bool:
    return any(licence.startswith(prefix) for prefix in prefixes)


def _shrunk(data: bytes, longest_sides: Sequence[int]) -> list[Image.Image]:
    """Return the photo at each smaller size; none for a small picture or one with transparency (a cut-out)."""
    with Image.open(io.BytesIO(data)) as opened:
        if opened.width * opened.height < LEAST_PIXELS or "A" in opened.getbands():
            return []
        least = WEBP_SHRINK if opened.format == "WEBP" else CAMERA_SHRINK
        shrinks = {max(least, max(opened.size) / side) for side in longest_sides}
        sizes = [(round(opened.width / shrink), round(opened.height / shrink)) for shrink in sorted(shrinks)]
        return [opened.convert("RGB").resize(size, Image.Resampling.LANCZOS) for size in sizes]
