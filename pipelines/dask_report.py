"""Dask's own view of a build: the dashboard while it runs, and a page of all its tasks when it has run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from distributed import Client, performance_report

from hqdata.storage import Folder

__all__ = ["DASK_REPORT_PATH", "watched"]

logger = logging.getLogger(__name__)

DASK_REPORT_PATH = "report/dask.html"


@contextmanager
def watched(client: Client, run: Folder, *, wanted: bool) -> Iterator[None]:
    """Say where the dashboard is, and write RUN/report/dask.html at the end of the block where that is wanted.

    A page that cannot be written costs a warning: the data set does not depend on it.
    """
    if client.dashboard_link and _has_bokeh(client):
        logger.info("dashboard  %s", client.dashboard_link)
    if not wanted:
        yield
        return
    if not _has_bokeh(client):
        logger.warning(
            "no %s: the scheduler lacks bokeh; install progan-hq[dashboard] there, or leave run.performance_report off",
            DASK_REPORT_PATH,
        )
        yield
        return
    report = performance_report(filename="")
    report.__enter__()
    yield
    try:
        with run.writing(DASK_REPORT_PATH) as path:
            report.filename = str(path)
            report.__exit__(None, None, None)
    except Exception as error:  # whatever a foreign scheduler answers
        logger.warning("no %s: %r", DASK_REPORT_PATH, error)


def _has_bokeh(client: Client) -> bool:
    return client.run_on_scheduler(find_spec, "bokeh") is not None
