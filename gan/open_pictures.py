"""Real pictures from wherever they lie: a run of `hqdata build`, a folder or Parquet of pictures, or an array.

Only a run is read from the disk as it is needed. Everything else is decoded at once and held in memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from gan.pictures import ArrayPictures, Pictures, RunPictures, one_hot
from hqdata.pixels import decode_photo
from hqdata.record import Refused
from hqdata.shards.format import MANIFEST_PATH, WORK_FOLDER

__all__ = ["LIMIT_BYTES", "open_pictures"]

LIMIT_BYTES = 8 * 2**30
"""Of pictures held in memory, their smaller sizes included."""
PYRAMID = 4 / 3
"""All sizes of a picture take this much of the largest."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"})
ROWS = 256
"""Pictures that are decoded together."""
THREADS = 4

_Source: TypeAlias = tuple[str, Callable[[], bytes]]
"""What to call a picture, and how to get its file's content."""
_Labels: TypeAlias = "Sequence[object] | np.ndarray | None"


def open_pictures(
    path: Path | str,
    *,
    resolution: int | None = None,
    channels: int | None = None,
    label_column: str | None = None,
    base: tuple[int, int] = (4, 4),
    limit_bytes: int = LIMIT_BYTES,
) -> Pictures:
    """Return the pictures of a run folder, a folder or Parquet of pictures, or a .npy or .npz of uint8 (n, c, h, w).

    Args:
        path: a folder that `hqdata build` wrote; a folder of PNG, JPEG, WebP or TIFF files, subfolders included, in the
            order of their names; a .parquet file or a folder of them with pictures as bytes; a .npy or .npz file.
        resolution: nominal side that every picture must have, a power of two from 4; None for what the first one has.
            A run's pictures, and an array's, may be larger: smaller sizes are theirs as well.
        channels: 1 for grey or 3 for RGB, in files 3 by default; an array may have 4.
        label_column: of a run's or a Parquet's columns, or of a .npz's arrays; its values become one-hot labels.
        base: height and width of the pictures at level 2, for pictures that are not square.
        limit_bytes: refuse to hold more than this in memory, before it is filled.

    Raises:
        FileNotFoundError: when there is nothing at `path`, or a run that is not finished.
        TypeError: when an array is not uint8.
        ValueError: when a picture is damaged, of another size or in colour where grey is asked for (it is named), when
            there is no picture or no such column, or when they would not fit into `limit_bytes`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder of pictures")
    if (path / MANIFEST_PATH).is_file() or (path / WORK_FOLDER).is_dir():
        if base[0] != base[1]:
            raise ValueError(f"{path}: a run's pictures are square, networks.base is {base}; set it to (4, 4)")
        return RunPictures(path, label_column=label_column)
    wanted = _Wanted(resolution, channels, base, limit_bytes)
    if path.suffix in (".npy", ".npz"):
        images, values = _read_array(path, label_column, limit_bytes)
        return _held(path, images, values, wanted)
    tables = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if tables and all(table.suffix == ".parquet" for table in tables):
        return _open_tables(path, tables, label_column, wanted)
    if not path.is_dir():
        raise ValueError(f"{path}: give a folder, a .parquet, a .npy or a .npz file")
    return _open_folder(path, label_column, wanted)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What every picture must be."""

    resolution: int | None
    channels: int | None
    base: tuple[int, int]
    limit_bytes: int

    def check(self, name: str, height: int, width: int) -> None:
        if self.resolution is None:
            return
        size = tuple(side * self.resolution // 4 for side in self.base)
        if (height, width) != size:
            raise ValueError(
                f"{name}: has {width} x {height} pixels, wanted {size[1]} x {size[0]}; crop and resize the pictures"
                " (`hqdata build` does it with faces), or set networks.resolution"
            )

    def check_memory(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        needed = count * int(np.prod(shape)) * PYRAMID
        if needed > self.limit_bytes:
            raise ValueError(
                f"{path}: {count} pictures of {shape} need {needed / 2**30:.1f} GiB of memory, more than the limit of"
                f" {self.limit_bytes / 2**30:.1f}; make a run of them with `hqdata build`, which is read from the disk"
            )


def _held(path: Path, images: UInt8[np.ndarray, "n c h w"], values: _Labels, wanted: _Wanted) -> Pictures:
    labels = None if values is None else _labels(path, values)
    try:
        return ArrayPictures(images, labels=labels, base=wanted.base)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error


def _labels(path: Path, values: Sequence[object] | np.ndarray) -> Float32[Tensor, "n k"]:
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return torch.from_numpy(values.astype(np.float32))
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    empty = sum(value is None for value in listed)
    if empty:
        raise ValueError(f"{path}: labels are empty for {empty} pictures")
    return one_hot(listed)


def _open_folder(path: Path, label_column: str | None, wanted: _Wanted) -> Pictures:
    if label_column:
        raise ValueError(f"{path}: a folder of pictures has no column {label_column!r}; put them into a Parquet file")
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and not _hidden(file, path))
    pictures = ((str(file), file.read_bytes) for file in files)
    return _held(path, _decode_all(path, pictures, len(files), wanted), None, wanted)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _open_tables(path: Path, tables: Sequence[Path], label_column: str | None, wanted: _Wanted) -> Pictures:
    columns = [_image_column(table) for table in tables]
    values = [] if label_column else None
    for table in tables if label_column else ():
        if label_column not in pq.read_schema(table).names:
            known = ", ".join(pq.read_schema(table).names)
            raise ValueError(f"{table}: has no column {label_column!r} for labels; its columns are {known}")
        values += pq.read_table(table, columns=[label_column])[label_column].to_pylist()  # pyright: ignore
    count = sum(pq.read_metadata(table).num_rows for table in tables)
    pictures = chain.from_iterable(map(_cells, tables, columns))
    return _held(path, _decode_all(path, pictures, count, wanted), values, wanted)


def _image_column(table: Path) -> str:
    """Return the column of encoded pictures: binary, or a struct with bytes as Hugging Face's."""
    try:
        schema = pq.read_schema(table)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{table}: is no Parquet file that can be read ({error})") from error
    found = [field.name for field in schema if _holds_bytes(field.type)]
    if not found:
        raise ValueError(f"{table}: no column holds encoded pictures; its columns are {', '.join(schema.names)}")
    return "image" if "image" in found else found[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _cells(table: Path, column: str) -> Iterator[_Source]:
    row = 0
    with pq.ParquetFile(table) as file:
        for rows in file.iter_batches(batch_size=ROWS, columns=[column]):
            for cell in rows[column].to_pylist():
                data = cell["bytes"] if isinstance(cell, dict) else cell
                yield f"{table} row {row}", (data or b"").__bytes__
                row += 1


def _decode_all(path: Path, sources: Iterator[_Source], count: int, wanted: _Wanted) -> UInt8[np.ndarray, "n c h w"]:
    first = next(sources, None)
    if first is None:
        raise ValueError(f"{path}: holds no pictures; wanted are PNG, JPEG, WebP or TIFF files, or Parquet")
    channels = wanted.channels or 3
    if channels == 4:
        raise ValueError(f"{path}: pictures with alpha are read from .npy and .npz alone; files give 1 or 3 channels")
    example = _decode(first, channels)
    wanted.check(first[0], *example.shape[1:])
    wanted.check_memory(path, count, example.shape)
    images = np.empty((count, *example.shape), dtype=np.uint8)
    waiting, place = chain([first], sources), 0
    with ThreadPoolExecutor(THREADS) as threads:
        while some := list(islice(waiting, ROWS)):
            for (name, _), image in zip(some, threads.map(_decode, some, repeat(channels)), strict=True):
                if image.shape != example.shape:
                    raise ValueError(
                        f"{name}: has {image.shape[2]} x {image.shape[1]} pixels, {first[0]} {example.shape[2]} x"
                        f" {example.shape[1]}; all must have one size, so crop them first (faces: `hqdata build`)"
                    )
                images[place] = image
                place += 1
    return images


def _decode(source: _Source, channels: int) -> UInt8[np.ndarray, "c h w"]:
    name, read = source
    try:
        image = decode_photo(read())
    except Refused as error:
        raise ValueError(f"{name}: {error.reason}; remove or replace it") from error
    if channels == 1 and not (image == image[:, :, :1]).all():
        raise ValueError(f"{name}: is in colour, the networks are grey; set networks.channels to 3")
    return np.ascontiguousarray(image.transpose(2, 0, 1)[:channels])


def _read_array(path: Path, label_column: str | None, limit_bytes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return pictures, and values of labels where a .npz has them; a file too large is not loaded."""
    size = path.stat().st_size
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                size = sum(info.file_size for info in archive.infolist())
        if size * PYRAMID > limit_bytes:
            raise MemoryError
        arrays = _arrays(path)
    except MemoryError as error:
        raise ValueError(
            f"{path}: holds {size / 2**30:.1f} GiB, too much for the limit of {limit_bytes / 2**30:.1f} in memory; make"
            " a run of the pictures with `hqdata build`, which is read from the disk"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: is no array file that can be read ({error})") from error
    return _pictures_among(path, arrays, label_column), _labels_among(path, arrays, label_column)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        return {"images": np.load(path, allow_pickle=False)}
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def _pictures_among(path: Path, arrays: dict[str, np.ndarray], label_column: str | None) -> np.ndarray:
    fit = {name: array for name, array in arrays.items() if array.ndim == 4 and name != label_column}
    if len(fit) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{path}: wanted one array of pictures, uint8 of shape (n, c, h, w), got {shapes}")
    (images,) = fit.values()
    if images.shape[1] not in (1, 3, 4) and images.shape[3] in (1, 3, 4):
        raise ValueError(f"{path}: pictures of shape {images.shape} have channels last; transpose them to (n, c, h, w)")
    return images


def _labels_among(path: Path, arrays: dict[str, np.ndarray], label_column: str | None) -> np.ndarray | None:
    if label_column is None:
        return None
    labels = arrays.get(label_column) if path.suffix == ".npz" else None
    if labels is None:
        raise ValueError(f"{path}: has no array {label_column!r} for labels; it holds {', '.join(arrays)}")
    if labels.ndim not in (1, 2):
        raise ValueError(f"{path}: {label_column} must have shape (n,) or (n, k), got {labels.shape}")
    return labels
