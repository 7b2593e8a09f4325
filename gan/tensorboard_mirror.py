"""A training's log and sheets as TensorBoard shows them; `runlog.jsonl` remains what counts.

Needs the package of the extra "tensorboard".
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan.trainer import Trainer
from hqdata.png import decode_png
from hqdata.training.runlog import read_log

__all__ = ["FOLDER", "TensorBoardMirror", "has_tensorboard"]

FOLDER = "tensorboard"
"""Of the event files, in the training's folder."""


def has_tensorboard() -> bool:
    """Return whether the package is installed."""
    return importlib.util.find_spec("tensorboard") is not None


class TensorBoardMirror:
    """A `Look` that measures nothing: at every tick it shows TensorBoard the lines that the log holds by then.

    So the newest line follows one tick later, or when the mirror is closed.

    Args:
        run: the training's folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._writer: Any = None
        self._next = 0
        """Lines from this many images on are still to be shown."""

    def __call__(self, trainer: Trainer) -> Mapping[str, float]:
        """Show what is new in the log; return no figures."""
        self._show()
        return {}

    def close(self) -> None:
        """Show what is left, and close the event file."""
        self._show()
        if self._writer is not None:
            self._writer.close()

    def _show(self) -> None:
        lines = read_log(self._run / "runlog.jsonl")
        if not lines:
            return
        last = lines[-1]["images"]
        if self._writer is None:  # what an earlier process showed stays; its last line may be missing
            self._open(last if (self._run / FOLDER).exists() else 0)
        elif last + 1 < self._next:  # the training was rolled back
            self._writer.close()
            self._open(last + 1)
        for line in lines:
            if line["images"] >= self._next:
                self._show_line(line)
        self._next = last + 1
        self._writer.flush()  # pyright: ignore[reportOptionalMemberAccess]

    def _open(self, images: int) -> None:
        """Begin a file of events that takes back what earlier ones show from so many images on."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer, self._next = SummaryWriter(str(self._run / FOLDER), purge_step=images), images

    def _show_line(self, line: Mapping[str, float]) -> None:
        images = int(line["images"])
        for name, value in line.items():
            if name != "images":
                self._writer.add_scalar(name, value, images)
        sheet = self._run / "samples" / f"{images:012d}.png"
        if sheet.exists():
            self._writer.add_image("samples", decode_png(sheet.read_bytes()), images, dataformats="HWC")
