"""The one way in: whatever holds pictures becomes an `ImageSource`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from metrics.sources.files import PICTURE_EXTENSIONS, from_folder, from_paths, from_pattern, from_zip
from metrics.sources.options import Options
from metrics.sources.ordered import default_threads
from metrics.sources.shards import INDEX, from_parquet, from_run, from_tensor_shards
from metrics.sources.source import ImageSource, Pictures
from metrics.sources.stacks import StackedPictures, read_npy, read_npz
from metrics.sources.streams import GeneratedPictures, IndexedPictures, StreamedPictures

__all__ = ["open_source"]

PICKLES = (".pt", ".pth", ".pkl", ".pickle")
TRAINING = ("checkpoints", "runlog.jsonl")
"""What tells a folder that `hqdata train` writes."""


def open_source(
    x: object,
    *,
    size: int | tuple[int, int] | None = None,
    value_range: tuple[float, float] | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
    num_threads: int | None = None,
    chunk: int = 64,
    name: str | None = None,
) -> ImageSource:
    """Return pictures to be measured, from nearly anything that holds them.

    | x | pictures |
    |---|---|
    | folder, glob pattern, list of paths | files by name: folder by folder, numbers by their value |
    | .zip | the same, without unpacking |
    | .npz, .npy | `arr_0` or the only array, (n, h, w, 3) or (n, 3, h, w) |
    | run folder of `hqdata build` | its largest level, or its stored level of `size` pixels |
    | .safetensors, .parquet, or a folder of them | tensor shards; the column `image` |
    | array, tensor | (n, 3, h, w) or (n, h, w, 3), on their own device |
    | torch Dataset, list of pictures | one picture an item; of tuples the first entry, of mappings `image` |
    | DataLoader, any iterable | pictures or batches |
    | function generate(count, seed) | `count` pictures, the same for the same seed; needs `limit` |

    How files become 8-bit RGB: `metrics.sources.decoding`. Floats need `value_range`; uint8 is 0..255 whatever it says.

    Args:
        x: see the table; an ImageSource is returned as it is.
        size: bring all pictures to this side, or (height, width), by stretching; None leaves them as they are.
        value_range: of float pictures, the values that mean black and white, such as (-1, 1) or (0, 1).
        limit: use no more pictures than this: a random choice, drawn by `seed`, in the source's order; of an iterable
            the first ones. A generator makes this many.
        seed: for the choice and for the generator.
        skip_unreadable: leave out files that cannot be decoded, and say so in the notes, instead of refusing them.
        num_threads: decoders at work at the same time; by default one for each core, at most 16.
        chunk: pictures that a generator makes in one call; another number gives other pictures.
        name: what to call the source in messages; by default its path or type.

    Raises:
        FileNotFoundError: when there is nothing at the path.
        NoPictures: when it holds none.
        ValueError: when it is damaged, or an option does not fit; decoding errors come with the pictures.
        TypeError: when it is nothing that can hold pictures.
    """
    if isinstance(x, ImageSource):
        if size is not None or limit is not None:
            raise ValueError("size and limit must be said where a source is opened, not of an open one")
        return x
    options = Options(
        name=name,
        size=size if size is None or isinstance(size, tuple) else (size, size),
        value_range=value_range,
        limit=limit,
        seed=seed,
        skip_unreadable=skip_unreadable,
        num_threads=default_threads() if num_threads is None else num_threads,
        chunk=chunk,
    )
    if isinstance(x, str | Path):
        return _stored(x, options)
    if isinstance(x, list | tuple) and x and all(isinstance(path, str | Path) for path in x):
        paths = [Path(path) for path in x]
        return _chosen(from_paths(paths, name=name or f"{len(paths)} files", options=options), options)
    return _chosen(_held(x, options), options)


def _chosen(pictures: Pictures, options: Options) -> ImageSource:
    """Return the source with the pictures that are to be used, drawn where there are more than wanted."""
    count, limit = pictures.count, options.limit
    if count is None or limit is None or count <= limit:
        return ImageSource(pictures, chosen=range(count or 0), size=options.size)
    drawn = np.sort(np.random.default_rng(options.seed).choice(count, limit, replace=False)).tolist()
    note = f"{pictures.name}: {limit} of {count} pictures, drawn with seed {options.seed}"
    return ImageSource(pictures, chosen=drawn, size=options.size, note=note)


def _stored(x: str | Path, options: Options) -> ImageSource:
    """Return pictures from the disk."""
    path = Path(x).expanduser()
    name = options.name or str(x)
    if (path / INDEX).is_file():
        return _run(path, options)
    if path.is_dir():
        return _chosen(_folder(path, name, options), options)
    if path.exists():
        return _chosen(_file(path, name, options), options)
    if any(sign in str(x) for sign in "*?["):
        return _chosen(from_pattern(str(path), name=name, options=options), options)
    remote = "; only local paths are read, so copy it first" if "://" in str(x) else ""
    raise FileNotFoundError(f"{x}: no such file or folder{remote}")


def _run(path: Path, options: Options) -> ImageSource:
    """Return a run folder's pictures, at the stored level that is wanted where there is one."""
    wanted = options.size
    side = wanted[0] if wanted and wanted[0] == wanted[1] else None
    pictures, resolution = from_run(path, name=options.name, side=side)
    return _chosen(pictures, replace(options, size=None) if resolution == side else options)


def _folder(path: Path, name: str, options: Options) -> Pictures:
    if all((path / name).exists() for name in TRAINING):
        raise ValueError(
            f"{path}: is a training, whose sheets are no pictures to be measured; `hqdata score` measures its generator"
        )
    tables, tensors = (sorted(path.glob(pattern)) for pattern in ("*.parquet", "*.safetensors"))
    if tables:
        return from_parquet(tables, name=name, options=options)
    if tensors:
        return from_tensor_shards(tensors, name=name)
    return from_folder(path, name=name, options=options)


def _file(path: Path, name: str, options: Options) -> Pictures:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return StackedPictures([read_npz(path)], name=name, value_range=options.value_range)
    if suffix == ".npy":
        return StackedPictures([read_npy(path)], name=name, value_range=options.value_range)
    if suffix == ".safetensors":
        return from_tensor_shards([path], name=name)
    if suffix == ".parquet":
        return from_parquet([path], name=name, options=options)
    if suffix in PICKLES:
        raise ValueError(f"{path}: is a pickle, which is never opened here; save the pictures as .npy or .npz")
    if suffix == ".zip":
        return from_zip(path, name=name, options=options)
    if suffix in PICTURE_EXTENSIONS:
        return from_paths([path], name=name, options=options)
    raise ValueError(f"{path}: is neither a folder nor .zip, .npz, .npy, .safetensors or .parquet; give one of these")


def _held(x: object, options: Options) -> Pictures:
    """Return pictures that are in memory or come from somebody's code."""
    name = options.name or getattr(x, "__name__", type(x).__name__)
    if isinstance(x, np.ndarray | Tensor):
        return StackedPictures([x], name=name, value_range=options.value_range)
    if isinstance(x, dict | bytes):
        raise TypeError(f"{name} cannot be read as pictures; give its pictures as an array or a list")
    if isinstance(x, DataLoader | IterableDataset):
        return StreamedPictures(x, name=name, options=options)
    if hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        return _indexed(x, name, options)
    if isinstance(x, Iterable):
        return StreamedPictures(x, name=name, options=options)
    if not callable(x):
        raise TypeError(
            f"{name} holds no pictures; give a folder, an archive, an array, a data set, an iterable or a function"
            " generate(count, seed)"
        )
    if options.limit is None:
        raise ValueError(f"{name} is a function and draws without end; say how many pictures with limit=")
    return GeneratedPictures(x, name=name, limit=options.limit, options=options)


def _indexed(x: Any, name: str, options: Options) -> Pictures:
    """Return a data set; a list of batches is a stream, since its items are not single pictures."""
    if isinstance(x, Sequence) and len(x) and getattr(x[0], "ndim", 3) == 4:
        return StreamedPictures(x, name=name, options=options)
    return IndexedPictures(x, name=name, options=options)
