"""Where the work runs: one file a kind of cluster, all behind `open_cluster`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

from pipelines.clusters.local import open_local

__all__ = ["open_cluster"]


@contextmanager
def open_cluster(*, workers: int, scratch: Path) -> Iterator[Client]:
    """Yield a client connected to `workers` single-threaded processes on this machine; 0 means one a core."""
    with open_local(workers=workers, scratch=scratch) as client:
        yield client
