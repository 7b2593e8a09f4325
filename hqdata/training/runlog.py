"""What a training run measures of itself, as one JSON line each: `runlog.jsonl`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hqdata.atomic import write_bytes

__all__ = ["RunLog", "read_log"]

DIGITS = 6
"""Significant digits of what is written."""


class RunLog:
    """Means over intervals of a run; lines beyond the state that a resumed run starts from are dropped.

    Args:
        path: of the file; created where missing.
        images: shown before this process began.
        seconds: spent before this process began.
        unfinished: what `unfinished` was then, so that the next line's means are those of a run without a break.
    """

    def __init__(
        self, path: Path, *, images: int = 0, seconds: float = 0.0, unfinished: Mapping[str, Any] | None = None
    ) -> None:
        self._path, self._earlier_s, self._begun_s = path, seconds, time.monotonic()
        begun = unfinished or {"images": images, "seconds": seconds, "sums": {}}
        self._interval: tuple[int, float] = (begun["images"], begun["seconds"])
        self._sums: dict[str, tuple[float, int]] = {name: (total, n) for name, (total, n) in begun["sums"].items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_log(path) if line["images"] <= images]
        write_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode("ascii"))

    @property
    def seconds(self) -> float:
        """Of training so far, in all processes."""
        return self._earlier_s + time.monotonic() - self._begun_s

    @property
    def unfinished(self) -> dict[str, Any]:
        """What has been added since the last line, as JSON values: sums and counts, and when that line was written."""
        images, seconds = self._interval
        return {"images": images, "seconds": seconds, "sums": {name: list(pair) for name, pair in self._sums.items()}}

    def add(self, terms: Mapping[str, float]) -> None:
        """Take in the values of one step.

        Raises:
            ValueError: when one is NaN or infinite: the run has failed, and its last saved state is still good.
        """
        for name, value in terms.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"{self._path.parent}: {name} has become {value}; begin a run with a lower rate,"
                    " the last saved state is from before that"
                )
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def write(self, images: int, figures: Mapping[str, float] | None = None) -> dict[str, float]:
        """Append the means since the last line and figures of this moment, and return them all."""
        now_s = self.seconds
        shown, passed_s = images - self._interval[0], now_s - self._interval[1]
        means = {name: _rounded(total / count) for name, (total, count) in self._sums.items()}
        line = {"images": images, "seconds": _rounded(now_s), "images_per_second": _rounded(shown / passed_s), **means}
        line |= {name: _rounded(value) for name, value in (figures or {}).items()}
        try:
            with self._path.open("a", encoding="ascii") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            error.filename = str(self._path)  # a full disk does not say where
            raise
        self._sums, self._interval = {}, (images, now_s)
        return line


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return a log's lines, without a last one that a kill has cut; none where there is no file.

    Raises:
        ValueError: when a line is no log's; the message names it.
    """
    whole = path.read_bytes().splitlines(True) if path.exists() else []
    return [_line(path, number, text) for number, text in enumerate(whole, 1) if text.endswith(b"\n")]


def _line(path: Path, number: int, text: bytes) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        line = None
    if not isinstance(line, dict) or not isinstance(line.get("images"), int):
        raise ValueError(f"{path}: line {number} is not that of a training's log; remove it from the file")
    return line


def _rounded(value: float) -> float:
    """Return the value with `DIGITS` significant digits.

    >>> _rounded(1234.56789)
    1234.57
    """
    return float(f"{value:.{DIGITS}g}")
