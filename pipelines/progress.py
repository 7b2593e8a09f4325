"""How far the run is: a bar on a terminal, plain lines elsewhere, and RUN/work/progress.jsonl for others to read.

The file gets a line every ten seconds; on an object store, which cannot append, it holds the last line alone.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from tqdm import tqdm

from hqdata.shards.format import WORK_FOLDER
from hqdata.storage import Folder

__all__ = ["PROGRESS_PATH", "Progress"]

logger = logging.getLogger(__name__)

LINE_EVERY_S = 10.0
PROGRESS_PATH = f"{WORK_FOLDER}/progress.jsonl"


class Progress:
    """Counts items of one phase; use as a context manager.

    Args:
        label: what is being done, such as "score".
        total: items to do.
        unit: what an item is.
        log: the run folder; None writes no file.
        details: asked for what else a line of the file tells, at most every ten seconds.
    """

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        *,
        log: Folder | None = None,
        details: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._log = log
        self._details = details
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0
        self._dropped = 0
        self._start = time.monotonic()
        self._last_line = self._start
        self._bar = tqdm(total=total, desc=label, unit=unit, disable=not sys.stderr.isatty())

    def __enter__(self) -> Progress:
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._bar.disable and self._total and error is None:
            logger.info("%s: %s", self._label, self._line())
        if error is None:
            self._write()

    def advance(self, items: int, dropped: int = 0) -> None:
        """Count `items` as done, `dropped` of them refused."""
        self._done += items
        self._dropped += dropped
        self._bar.update(items)
        if self._dropped:
            self._bar.set_postfix(dropped=self._dropped, refresh=False)
        now = time.monotonic()
        if now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self._write()
            if self._bar.disable:
                logger.info("%s: %s", self._label, self._line())

    def _write(self) -> None:
        if self._log is not None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            numbers = {"phase": self._label, "unit": self._unit, "done": self._done, "total": self._total}
            timing = {"dropped": self._dropped, "seconds": round(time.monotonic() - self._start, 1), "at": now}
            line = (json.dumps(numbers | timing | dict(self._details())) + "\n").encode()
            if self._log.is_local:
                with (self._log.path / PROGRESS_PATH).open("ab") as file:
                    file.write(line)
            else:
                self._log.write(PROGRESS_PATH, line)

    def _line(self) -> str:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / elapsed
        remaining = (self._total - self._done) / rate if rate else 0.0
        return (
            f"{self._done}/{self._total} {self._unit}, {rate:.2f} {self._unit}/s, ETA {remaining:.0f} s,"
            f" {self._dropped} dropped"
        )
