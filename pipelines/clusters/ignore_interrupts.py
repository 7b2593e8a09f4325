"""A preload of Dask for workers on the driver's machine: Ctrl-C in a terminal reaches them too, but is not for them.

The driver lets their tasks end and closes them. A worker that died of it would take its tasks along.
"""

from __future__ import annotations

import signal

from distributed import Worker

__all__ = ["dask_setup"]


def dask_setup(worker: Worker) -> None:
    """Called by Dask in a starting worker's main thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
