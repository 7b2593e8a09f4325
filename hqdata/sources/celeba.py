"""CelebA in the wild (Liu et al. 2015) as people have it: pictures, landmarks, and the tables that are there.

ROOT/img_celeba/000001.jpg ...             or ROOT/Img/img_celeba
ROOT/Anno/list_landmarks_celeba.txt        required; tables may lie in Anno, Eval or ROOT
ROOT/Anno/list_attr_celeba.txt             40 attributes of -1 or 1
ROOT/Anno/identity_CelebA.txt              who it is
ROOT/Eval/list_eval_partition.txt          0 training, 1 validation, 2 test
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from PIL import JpegImagePlugin

from hqdata.record import PhotoRef
from hqdata.sources.celeba_tables import Row, Table, read_table
from hqdata.sources.files import File, absolute_root, list_files, read_file
from hqdata.sources.source import Source, SourceError, first_few

__all__ = ["LANDMARKS_FILE", "PICTURE_FOLDERS", "TABLE_FOLDERS", "open_celeba", "refuse_aligned"]

PICTURE_FOLDERS = ("img_celeba", "Img/img_celeba")
TABLE_FOLDERS = ("Anno", "Eval", ".")
LANDMARKS_FILE = "list_landmarks_celeba.txt"
ATTRIBUTES_FILE = "list_attr_celeba.txt"
HEADLESS_FILES = {"identity_CelebA.txt": "identity", "list_eval_partition.txt": "partition"}
ALIGNED_FOLDERS = ("img_align_celeba", "img_align_celeba_png", "Img/img_align_celeba", "Img/img_align_celeba_png")
ALIGNED_LANDMARKS_FILE = "list_landmarks_align_celeba.txt"
ALIGNED_SIZE = (178, 218)
"""(width, height) of every picture in the aligned set."""
NUM_SIZES_CHECKED = 5

WANTED = (
    "CelebA's aligned pictures are too small for this; download the in-the-wild set, img_celeba.7z with "
    f"Anno/{LANDMARKS_FILE}, and give the folder that holds img_celeba and Anno"
)


def open_celeba(root: str, *, allow_subset: bool = False) -> Source:
    """Return CelebA's pictures with their landmarks and whatever tables are there.

    Args:
        root: the folder that holds img_celeba and Anno.
        allow_subset: use the pictures that are both listed and there; otherwise listed and present must agree.

    Raises:
        SourceError: for the aligned set, a missing folder or file, a malformed line, or counts that disagree.
    """
    folder = Path(absolute_root(root))
    files = _pictures(folder)
    landmarks = read_table(_table(folder, LANDMARKS_FILE), columns=None, number=float)
    if len(landmarks.columns) != 10:
        raise SourceError(f"{landmarks.path}, line 2: must name 10 columns, got {len(landmarks.columns)}")
    tables = _attribute_tables(folder)
    if not allow_subset:
        _require_counts([landmarks, *tables])
        _require_agreement(landmarks, files)
    names = sorted(files.keys() & landmarks.rows.keys())
    if not names:
        raise SourceError(f"{landmarks.path}: lists none of the {len(files)} pictures in {PICTURE_FOLDERS[0]}")
    columns, attributes = _joined(tables, names)
    photos = tuple(_photo(files[name], landmarks.rows[name], attributes[name]) for name in names)
    return Source(kind="celeba", root=str(folder), photos=photos, attribute_names=dict.fromkeys(columns, int))


def refuse_aligned(root: Path) -> None:
    """Raise SourceError if a folder is, or holds only, CelebA's aligned set."""
    if root.name in ALIGNED_FOLDERS:
        raise SourceError(f"{root}: {WANTED}")
    for name in ALIGNED_FOLDERS:
        if (root / name).is_dir() and not any((root / wild).is_dir() for wild in PICTURE_FOLDERS):
            raise SourceError(f"{root / name}: {WANTED}")


def _pictures(root: Path) -> dict[str, File]:
    """Return the pictures by file name, with paths relative to `root`."""
    if not root.is_dir():
        raise SourceError(f"{root}: no such folder")
    refuse_aligned(root)
    below = next((name for name in PICTURE_FOLDERS if (root / name).is_dir()), None)
    if below is None:
        raise SourceError(f"{root}: has no folder img_celeba; give the folder that holds img_celeba and Anno")
    files = sorted(list_files(str(root / below), extensions=(".jpg",)), key=lambda file: file.path)
    if not files:
        raise SourceError(f"{root / below}: holds no .jpg pictures; unpack img_celeba.7z into it")
    nested = [file.path for file in files if "/" in file.path]
    if nested:
        raise SourceError(f"{root / below}: pictures must lie directly in it, got {first_few(nested)}; move them up")
    found = {
        file.path: File(path=f"{below}/{file.path}", size_bytes=file.size_bytes, version=file.version) for file in files
    }
    _require_in_the_wild(root, list(found.values())[:NUM_SIZES_CHECKED])
    return found


def _require_in_the_wild(root: Path, files: list[File]) -> None:
    if all(_size(root, file) == ALIGNED_SIZE for file in files):
        raise SourceError(f"{root / files[0].path}: is 178x218 pixels, like the next ones: {WANTED}")


def _size(root: Path, file: File) -> tuple[int, int] | None:
    """Return a picture's (width, height), or None where it cannot be read: the run will report that."""
    try:
        return JpegImagePlugin.JpegImageFile(io.BytesIO(read_file(str(root), file.path))).size
    except Exception:  # Pillow raises many kinds for damaged bytes
        return None


def _table(root: Path, name: str) -> Path:
    path = _find_table(root, name)
    if path is not None:
        return path
    aligned = _find_table(root, ALIGNED_LANDMARKS_FILE)
    if aligned is not None:
        raise SourceError(f"{aligned}: belongs to the aligned set. {WANTED}")
    raise SourceError(f"{root / 'Anno' / name}: no such file; download it from CelebA's folder Anno")


def _find_table(root: Path, name: str) -> Path | None:
    return next((root / folder / name for folder in TABLE_FOLDERS if (root / folder / name).is_file()), None)


def _attribute_tables(root: Path) -> list[Table]:
    tables = []
    path = _find_table(root, ATTRIBUTES_FILE)
    if path is not None:
        tables.append(read_table(path, columns=None, number=int))
    for name, column in HEADLESS_FILES.items():
        path = _find_table(root, name)
        if path is not None:
            tables.append(read_table(path, columns=(column,), number=int))
    return tables


def _require_counts(tables: list[Table]) -> None:
    for table in tables:
        if table.declared_rows not in (None, len(table.rows)):
            raise SourceError(
                f"{table.path}: says {table.declared_rows} in its first line but has {len(table.rows)} rows; "
                "download it again, or allow a subset (allow_subset)"
            )


def _require_agreement(landmarks: Table, files: Mapping[str, File]) -> None:
    missing = sorted(landmarks.rows.keys() - files.keys())
    if missing:
        raise SourceError(
            f"{landmarks.path}: lists {len(landmarks.rows)} pictures, but {len(missing)} are not in img_celeba "
            f"({first_few(missing)}); unpack all parts of img_celeba.7z, or allow a subset (allow_subset) "
            f"to use the {len(landmarks.rows) - len(missing)} that are there"
        )
    unlisted = sorted(files.keys() - landmarks.rows.keys())
    if unlisted:
        raise SourceError(
            f"{landmarks.path}: has no row for {len(unlisted)} of {len(files)} pictures in img_celeba "
            f"({first_few(unlisted)}); download it again, or allow a subset (allow_subset) to leave them out"
        )


def _joined(tables: list[Table], names: list[str]) -> tuple[tuple[str, ...], dict[str, Row]]:
    """Return all tables' columns, and each picture's numbers from all of them."""
    columns = tuple(column for table in tables for column in table.columns)
    for table in tables:
        missing = [name for name in names if name not in table.rows]
        if missing:
            raise SourceError(
                f"{table.path}: has no row for {len(missing)} of {len(names)} pictures ({first_few(missing)}); "
                "download it again, or move it away to build without its columns"
            )
    if len(set(columns)) != len(columns):
        raise SourceError(f"{tables[0].path}: a column is named twice among {', '.join(columns)}")
    return columns, {
        name: Row(columns, (*chain.from_iterable(table.rows[name] for table in tables),)) for name in names
    }


def _photo(file: File, numbers: tuple[float, ...], attributes: Row) -> PhotoRef:
    stem = file.path.rsplit("/", 1)[1].rsplit(".", 1)[0]
    return PhotoRef(
        id=stem,
        path=file.path,
        size_bytes=file.size_bytes,
        version=file.version,
        landmarks=tuple(zip(numbers[0::2], numbers[1::2], strict=True)),
        attributes=attributes,
    )
