"""Pictures to look at: before and after, and the results that gained least, at the place where they went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from hqdata.atomic import write_bytes
from hqdata.png import encode_png
from pipelines.bench_restoration import Case, Scores

__all__ = ["JudgeSheets"]

PANEL_PX = 224
CAPTION_PX = 34
TITLE_PX = 22
INK, PAPER = (20, 20, 20), (255, 255, 255)
SHOWN_DAMAGES = {"restoration": ("jpeg10", "jpeg30"), "enlargement": ("clean", "jpeg50")}
SHOWN_PICTURES = 8
"""Rows of a before-and-after sheet: the first pictures of the set."""
WORST = 10
WORST_OF_A_PICTURE = 2
"""So that one difficult picture does not fill the sheet."""

Image8 = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strip:
    """One row of a sheet: the same window of every result."""

    title: str
    picture: str
    gain: float
    panels: tuple[tuple[str, Image8], ...]
    """(caption, pixels), baseline first, original last."""


@dataclass(slots=True)
class JudgeSheets:
    """Collects windows of the cases as they pass, and draws them in the end; whole pictures are not kept."""

    shown: dict[tuple[str, str, str], list[_Strip]] = field(default_factory=dict)
    worst: dict[str, list[_Strip]] = field(default_factory=dict)

    def add(self, set_name: str, case: Case) -> None:
        """Take what the sheets need from a case."""
        if case.damage in SHOWN_DAMAGES[case.task]:
            strips = self.shown.setdefault((set_name, case.task, case.damage), [])
            if len(strips) < SHOWN_PICTURES:
                strips.append(_strip(set_name, case, _middle(case.original)))
        strips = self.worst.setdefault(case.task, [])
        if len(strips) < WORST or case.gain < strips[-1].gain:
            strips.append(_strip(set_name, case, _worst_place(case)))
            self.worst[case.task] = _least(strips)

    def write(self, folder: Path) -> list[Path]:
        """Write all sheets as PNG and return their paths."""
        sheets = {f"{set_name}-{task}-{damage}.png": strips for (set_name, task, damage), strips in self.shown.items()}
        sheets |= {f"worst-{task}.png": strips for task, strips in self.worst.items()}
        for name, strips in sheets.items():
            write_bytes(folder / name, encode_png(_draw(strips)))
        return [folder / name for name in sheets]


def _least(strips: Sequence[_Strip]) -> list[_Strip]:
    """Return the strips of lowest gain, lowest first, with at most a few of one picture."""
    kept: list[_Strip] = []
    for strip in sorted(strips, key=lambda strip: (strip.gain, strip.title)):
        if sum(other.picture == strip.picture for other in kept) < WORST_OF_A_PICTURE:
            kept.append(strip)
    return kept[:WORST]


def _strip(set_name: str, case: Case, corner: tuple[int, int]) -> _Strip:
    top, left = corner
    window = (slice(top, top + PANEL_PX), slice(left, left + PANEL_PX))
    panels = [(_caption(method, case.scores[method]), image[window]) for method, image in case.results.items()]
    picture = f"{set_name}/{case.picture}"
    return _Strip(
        title=f"{picture}, {case.damage}: {case.judged} {case.gain:+.2f} dB",
        picture=picture,
        gain=case.gain,
        panels=(*panels, ("original", case.original[window])),
    )


def _caption(method: str, scores: Scores) -> str:
    distance = "" if scores.perceptual is None else f", distance {scores.perceptual:.3f}"
    return f"{method}\n{scores.psnr_y:.2f} dB{distance}"


def _middle(image: Image8) -> tuple[int, int]:
    top, left = (max(0, side - PANEL_PX) // 2 for side in image.shape[:2])
    return top, left


def _worst_place(case: Case) -> tuple[int, int]:
    """Return the (top, left) of the window in which the judged method added most squared error."""
    errors = [
        np.square(case.results[method].astype(np.float32) - case.original).sum(axis=2)
        for method in (case.judged, case.baseline)
    ]
    height, width = case.original.shape[:2]
    tall, wide = min(PANEL_PX, height), min(PANEL_PX, width)
    added = ndimage.uniform_filter1d(errors[0] - errors[1], tall, axis=0, mode="constant")
    added = ndimage.uniform_filter1d(added, wide, axis=1, mode="constant")
    inside = added[tall // 2 :][: height - tall + 1, wide // 2 :][:, : width - wide + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)


def _draw(strips: Sequence[_Strip]) -> Image8:
    columns = max(len(strip.panels) for strip in strips)
    pitch = TITLE_PX + PANEL_PX + CAPTION_PX
    sheet = Image.new("RGB", (columns * PANEL_PX, len(strips) * pitch), PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, strip in enumerate(strips):
        pen.text((4, row * pitch + 4), _plain(strip.title), fill=INK, font=ImageFont.load_default(13))
        for column, (caption, panel) in enumerate(strip.panels):
            corner = (column * PANEL_PX, row * pitch + TITLE_PX)
            sheet.paste(Image.fromarray(np.ascontiguousarray(panel)), corner)
            below = (corner[0] + 4, corner[1] + PANEL_PX + 2)
            pen.text(below, _plain(caption), fill=INK, font=ImageFont.load_default(11))
    return np.asarray(sheet)


def _plain(words: str) -> str:
    return words.encode("ascii", "replace").decode()
