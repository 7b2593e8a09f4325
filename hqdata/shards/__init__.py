"""The finished data set on disk: Parquet for interchange, raw tensors at every resolution for training.

Writing: `write_shard` for each shard on any worker, then `prune`, `write_index` and, last of all, `write_manifest`.
Reading: `open_dataset`. Checking: `verify_run`. The formats are specified in docs/formats.md, and every file can be
read without this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hqdata.shards.format import FileRecord, Problem, ShardFiles
from hqdata.shards.index import write_index
from hqdata.shards.manifest import read_manifest, remove_manifest, write_manifest
from hqdata.shards.rows import ShardLayout, ShardRow
from hqdata.shards.verify import verify_run
from hqdata.shards.writer import prune, whole_shards, write_shard

if TYPE_CHECKING:
    from hqdata.shards.reader import ShardDataset, open_dataset

__all__ = [
    "FileRecord",
    "Problem",
    "ShardDataset",
    "ShardFiles",
    "ShardLayout",
    "ShardRow",
    "open_dataset",
    "prune",
    "read_manifest",
    "remove_manifest",
    "verify_run",
    "whole_shards",
    "write_index",
    "write_manifest",
    "write_shard",
]


def __getattr__(name: str) -> Any:
    """Import the reader on first use: it alone needs torch, which takes seconds that a writer need not spend."""
    if name in ("ShardDataset", "open_dataset"):
        from hqdata.shards import reader

        return getattr(reader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
