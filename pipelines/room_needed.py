"""How many bytes pictures take: in the run folder, in its cache, and in a worker's scratch."""

from __future__ import annotations

from hqdata.storage import Folder
from pipelines.config import BuildConfig

__all__ = ["PNG_SHARE", "parquet_bytes", "raw_bytes", "scratch_bytes", "tensor_bytes"]

PNG_SHARE = 0.45
"""Of raw bytes, for crops of photos; measured 0.42-0.53 at 1024 px."""
PYRAMID_FACTOR = 4 / 3


def raw_bytes(config: BuildConfig) -> int:
    """Return the bytes of one crop's pixels."""
    return 3 * config.align.size**2


def tensor_bytes(config: BuildConfig, faces: float) -> int:
    """Return what the tensor shards of so many crops take, all levels."""
    return round(faces * raw_bytes(config) * PYRAMID_FACTOR)


def parquet_bytes(config: BuildConfig, faces: float) -> int:
    """Return about what so many crops take as PNG, in Parquet shards or in the cache."""
    return round(faces * raw_bytes(config) * PNG_SHARE)


def scratch_bytes(config: BuildConfig, run: Folder) -> int:
    """Return what a task puts into its worker's scratch: a whole shard for an object store, nothing for a disk."""
    rows = min(config.pack.rows_per_shard, config.select.count)
    return 0 if run.is_local else tensor_bytes(config, rows) + parquet_bytes(config, rows)
