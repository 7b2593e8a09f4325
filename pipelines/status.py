"""How a run fares: what it does, how fast, who drives it, what it dropped. Reads a few small files and writes none."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from hqdata.settings import ConfigError
from hqdata.shards.format import MANIFEST_PATH
from hqdata.storage import Folder, open_folder
from pipelines.build_dataset import STATS_PATH
from pipelines.durations import in_words
from pipelines.progress import PROGRESS_PATH
from pipelines.run_folder import RUN_PATH, previous_run
from pipelines.run_lock import holder_of

__all__ = ["RunStatus", "run_status"]

TAIL_BYTES = 1 << 16
RECENT_LINES = 60
"""Ten minutes, by which the speed of now is judged."""
SILENT_S = 120.0
"""A driver at work writes a line every ten seconds, except while it writes the tables."""
REASONS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """A run at one moment."""

    run: str
    state: Literal["running", "interrupted", "finished"]
    holder: str | None
    """Who builds in it now."""
    phase: str | None
    """`score` or `pack`, the last one that was begun; None where neither was, by the present driver if there is one."""
    unit: str | None
    done: int | None
    total: int | None
    per_second: float | None
    """Lately; None where too little is known."""
    eta_s: float | None
    """Of this phase, while it runs."""
    silent_s: float | None
    """Since the last line of progress."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """As in stats.json, as far as they are known by now."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dataclasses.asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield it as text."""
        yield f"run         {self.run}: {self.state}"
        if self.holder:
            yield f"driver      {self.holder}"
        if self.state == "running" and not self.phase:
            yield "            gets ready; nothing is scored or packed yet"
        elif self.phase and self.state != "finished":
            yield f"{self.phase:<11} {self._progress()}"
        if self.silent_s is not None and self.state == "interrupted":
            yield f"            last heard of {in_words(self.silent_s)} ago; the same command goes on"
        elif self.silent_s is not None and self.state == "running" and self.silent_s > SILENT_S:
            yield f"            no sign of progress for {in_words(self.silent_s)}"
        if self.counts:
            names = ("photos", "faces", "selected", "dropped", "quarantined")
            yield "counts      " + ", ".join(f"{self.counts[name]} {name}" for name in names if name in self.counts)
        reasons = sorted(self.counts.get("dropped_by_reason", {}).items(), key=lambda pair: (-pair[1], pair[0]))
        for reason, count in reasons[:REASONS_SHOWN]:
            yield f"dropped     {count} x {reason}"
        if len(reasons) > REASONS_SHOWN:
            yield f"            and {len(reasons) - REASONS_SHOWN} more reasons; `hqdata retry RUN` lists them all"

    def _progress(self) -> str:
        speed = "" if self.per_second is None else f", {self.per_second:.2f} {self.unit}/s"
        rest = "" if self.eta_s is None else f", about {in_words(self.eta_s)} to go"
        return f"{self.done} of {self.total} {self.unit}{speed}{rest}"


def run_status(run: Folder | Path | str) -> RunStatus:
    """Return how a run fares.

    Args:
        run: a folder or URL.

    Raises:
        ConfigError: if it is no run folder.
    """
    folder = open_folder(run)
    lines = _progress_lines(folder)
    holder = holder_of(folder)
    if previous_run(folder) is None and not lines and holder is None:
        raise ConfigError(f"{folder}: neither {RUN_PATH} nor a ledger is there, so no build began; give a run folder")
    counts = lines[-1].get("counts", {}) if lines else {}
    if holder is not None:
        lines = [line for line in lines if _written(line) >= int(holder.started)]
    finished = folder.exists(MANIFEST_PATH)
    state = "running" if holder else "finished" if finished else "interrupted"
    last = lines[-1] if lines else {}
    speed = _speed(lines)
    return RunStatus(
        run=str(folder),
        state=state,
        holder=None if holder is None else str(holder),
        phase=last.get("phase"),
        unit=last.get("unit"),
        done=last.get("done"),
        total=last.get("total"),
        per_second=speed,
        eta_s=(last["total"] - last["done"]) / speed if speed and state == "running" else None,
        silent_s=max(0.0, time.time() - _written(last)) if last else None,
        counts=folder.read_json(STATS_PATH)["counts"] if finished else counts,
    )


def _progress_lines(folder: Folder) -> list[dict[str, Any]]:
    """Return the last lines that the driver wrote; the last one may be cut off while it is written."""
    if folder.is_local:
        try:
            with (folder.path / PROGRESS_PATH).open("rb") as file:
                file.seek(0, 2)
                start = max(0, file.tell() - TAIL_BYTES)
                file.seek(start)
                data = file.read()
        except FileNotFoundError:
            return []
        if start:
            data = data.partition(b"\n")[2]
    else:
        data = folder.read_if_there(PROGRESS_PATH) or b""
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def _written(line: Mapping[str, Any]) -> float:
    """Return when a line was written, in whole seconds since 1970."""
    return datetime.fromisoformat(line["at"]).timestamp()


def _speed(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Return items a second over the last minutes of the last phase, as far as one driver wrote them."""
    if not lines:
        return None
    last, first = lines[-1], None
    for line in reversed(lines[-RECENT_LINES:-1]):
        if line["phase"] != last["phase"] or line["seconds"] >= last["seconds"]:
            break
        first = line
    done, seconds = (0, 0.0) if first is None else (first["done"], first["seconds"])
    if last["seconds"] <= seconds or last["done"] <= done:
        return None
    return (last["done"] - done) / (last["seconds"] - seconds)
