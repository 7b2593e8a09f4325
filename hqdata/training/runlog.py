"""What a training run measures of itself, as one JSON line each: `runlog.jsonl`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

from hqdata.atomic import write_bytes

__all__ = ["RunLog"]

DIGITS = 6
"""Significant digits of what is written."""


class RunLog:
    """Means over intervals of a run; lines beyond the state that a resumed run starts from are dropped.

    Args:
        path: of the file; created where missing.
        images: shown before this process began.
        seconds: spent before this process began.
    """

    def __init__(self, path: Path, *, images: int = 0, seconds: float = 0.0) -> None:
        self._path, self._earlier_s, self._begun_s = path, seconds, time.monotonic()
        self._values: dict[str, list[float]] = {}
        self._interval = (images, seconds)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, b"".join(line for line in _lines(path) if _images(line) <= images))

    @property
    def seconds(self) -> float:
        """Of training so far, in all processes."""
        return self._earlier_s + time.monotonic() - self._begun_s

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
            self._values.setdefault(name, []).append(value)

    def write(self, images: int, figures: Mapping[str, float] | None = None) -> dict[str, float]:
        """Append the means since the last line and figures of this moment, and return them all."""
        now_s = self.seconds
        shown, passed_s = images - self._interval[0], now_s - self._interval[1]
        means = {name: _rounded(math.fsum(values) / len(values)) for name, values in self._values.items()}
        line = {"images": images, "seconds": _rounded(now_s), "images_per_second": _rounded(shown / passed_s), **means}
        line |= {name: _rounded(value) for name, value in (figures or {}).items()}
        with self._path.open("a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")
        self._values, self._interval = {}, (images, now_s)
        return line


def _lines(path: Path) -> list[bytes]:
    """Return the whole lines; a kill may have cut the last."""
    return [line for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")] if path.exists() else []


def _images(line: bytes) -> int:
    return json.loads(line)["images"]


def _rounded(value: float) -> float:
    """Return the value with `DIGITS` significant digits.

    >>> _rounded(1234.56789)
    1234.57
    """
    return float(f"{value:.{DIGITS}g}")
