"""How far the run is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

__all__ = ["Progress"]

logger = logging.getLogger(__name__)

LINE_EVERY_S = 10.0


class Progress:
    """Counts items of one phase; use as a context manager.

    Args:
        label: what is being done, such as "score".
        total: items to do.
        unit: what an item is.
    """

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0
        self._dropped = 0
        self._start = time.monotonic()
        self._last_line = self._start
        self._bar = tqdm(total=total, desc=label, unit=unit, disable=not sys.stderr.isatty())

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._bar.disable and self._total and error is None:
            logger.info("%s: %s", self._label, self._line())

    def advance(self, items: int, dropped: int = 0) -> None:
        """Count `items` as done, `dropped` of them refused."""
        self._done += items
        self._dropped += dropped
        self._bar.update(items)
        if self._dropped:
            self._bar.set_postfix(dropped=self._dropped, refresh=False)
        now = time.monotonic()
        if self._bar.disable and now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            logger.info("%s: %s", self._label, self._line())

    def _line(self) -> str:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / elapsed
        remaining = (self._total - self._done) / rate if rate else 0.0
        return (
            f"{self._done}/{self._total} {self._unit}, {rate:.2f} {self._unit}/s, ETA {remaining:.0f} s,"
            f" {self._dropped} dropped"
        )
