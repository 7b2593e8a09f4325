"""Mean and covariance of a reference set as pytorch-fid, clean-fid and TTUR keep them: `mu` and `sigma` in an .npz."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from metrics.arrays import ArrayLike
from metrics.moments import checked_statistics
from metrics.whole_files import DAMAGED, whole_file

__all__ = ["SavedStatistics", "load_statistics", "save_statistics"]

END_BYTES = 22
"""Length of a zip archive's end record; bytes 10 and 11 count its entries, 0xFFFF stands for more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedStatistics:
    """What a statistics file holds."""

    mean: Float64[np.ndarray, " d"]
    covariance: Float64[np.ndarray, "d d"]
    """Exactly symmetric; other libraries' files divide by n - 1, StyleGAN's by n."""
    count: int | None
    """Pictures behind it; None where the file does not say, as other libraries' do not."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """What `save_statistics` was told, such as extractor and protocol; empty in other libraries' files."""


def save_statistics(
    path: str | Path,
    *,
    mean: ArrayLike,
    covariance: ArrayLike,
    count: int | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a statistics file that pytorch-fid and clean-fid read too; whole or not at all.

    Args:
        path: ends in .npz; an existing file is replaced.
        mean: (d,).
        covariance: (d, d).
        count: pictures behind it.
        provenance: anything that JSON can say: extractor, weights' sha256, protocol, ddof, source.

    Raises:
        TypeError, ValueError: when the statistics are none (see `metrics.moments.checked_statistics`), the name ends
            otherwise, or JSON cannot say the provenance.
    """
    target = Path(path)
    if target.suffix != ".npz":
        raise ValueError(f"statistics files end in .npz, got {target.name}; other libraries know them by it")
    row, matrix = checked_statistics(target.name, mean, covariance)
    entries = {"mu": row.cpu().numpy(), "sigma": matrix.cpu().numpy()}
    if count is not None:
        entries["count"] = np.array(_count(np.array(count)), dtype=np.int64)
    if provenance:
        entries["provenance"] = np.array(json.dumps(dict(provenance), sort_keys=True))
    with whole_file(target) as file:
        np.savez(file, allow_pickle=False, **entries)


def load_statistics(path: str | Path) -> SavedStatistics:
    """Read mean and covariance from an .npz file with `mu` and `sigma`; other entries of other libraries are left.

    Nothing is unpickled. The file must be its writer's protocol: resize, weights and ddof are not in other libraries'
    files, so nobody can notice a mixture.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is damaged, holds something else, or the numbers are no mean and covariance.
    """
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"no statistics file at {source}; write one with `python -m metrics stats`")
    entries = _read_entries(source)
    missing = {"mu", "sigma"} - set(entries)
    if missing:
        raise ValueError(f"{source}: holds no {' and no '.join(sorted(missing))}; {_REMEDY}")
    try:
        mean, covariance = checked_statistics("this file", entries["mu"], entries["sigma"])
        return SavedStatistics(
            mean=mean.numpy(),
            covariance=covariance.numpy(),
            count=_count(entries.get("count")),
            provenance=_provenance(entries.get("provenance")),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {error}") from error


_REMEDY = "give an .npz of pytorch-fid, clean-fid or `python -m metrics stats`"
_ENTRIES = ("mu", "sigma", "count", "provenance")


def _read_entries(source: Path) -> dict[str, np.ndarray]:
    """Return our entries, without unpickling anything; large foreign entries, such as pictures, are not read."""
    if not zipfile.is_zipfile(source):
        raise ValueError(f"{source}: is no .npz archive, or its end is missing; {_REMEDY}")
    try:
        with zipfile.ZipFile(source) as archive:
            _check_directory(source, archive)
            present = [name for name in archive.namelist() if name.removesuffix(".npy") in _ENTRIES]
            return {name.removesuffix(".npy"): _read_entry(archive, name) for name in present}
    except DAMAGED as error:
        raise ValueError(f"{source}: cannot be read as .npz ({error}); {_REMEDY}") from error


def _check_directory(source: Path, archive: zipfile.ZipFile) -> None:
    """Refuse a directory in which damage hides entries or renames them; zip checksums data alone."""
    with source.open("rb") as file:
        file.seek(-END_BYTES - len(archive.comment), os.SEEK_END)
        promised = int.from_bytes(file.read(END_BYTES)[10:12], "little")
    if promised not in (len(archive.infolist()), 0xFFFF):
        raise ValueError(f"{promised} entries promised, {len(archive.infolist())} found")
    for entry in archive.infolist():
        archive.open(entry).close()  # compares the name with the one beside the data


def _read_entry(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _count(entry: np.ndarray | None) -> int | None:
    if entry is None:
        return None
    if entry.shape != () or entry.dtype.kind not in "iu" or entry < 1:
        raise ValueError(f"count must be one positive whole number, got {entry!r}")
    return int(entry)


def _provenance(entry: np.ndarray | None) -> dict[str, Any]:
    """Return the mapping that was saved; json.JSONDecodeError is a ValueError."""
    if entry is None:
        return {}
    told = json.loads(str(entry))
    if not isinstance(told, dict):
        raise ValueError(f"provenance must be a JSON object, got {entry!r}")
    return told
