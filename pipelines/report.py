"""RUN/report/contact_sheet.png: what was chosen, what nearly was, what was not, and what was dropped, at a glance."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distributed import Client
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from hqdata.atomic import write_bytes
from hqdata.png import decode_png, encode_png
from hqdata.ranking import best
from hqdata.record import Dropped
from pipelines.dask_map import Done, map_bounded
from pipelines.job import Job
from pipelines.knowledge import Knowledge
from pipelines.rows import PackRow, ScoredFace
from pipelines.stages import draw_photo_thumbnail, draw_thumbnails

__all__ = ["CONTACT_SHEET_PATH", "write_contact_sheet"]

CONTACT_SHEET_PATH = "report/contact_sheet.png"
COLUMNS = 10
ROWS_A_SECTION = 2
TILE_PX = 128
CAPTION_PX = 28
HEADING_PX = 30
INK, PAPER, PALE = (20, 20, 20), (255, 255, 255), (205, 205, 205)


@dataclass(frozen=True, slots=True)
class _Tile:
    picture: UInt8[np.ndarray, "tile tile 3"]
    caption: str


def write_contact_sheet(client: Client, run: Path, known: Knowledge, chosen: Sequence[ScoredFace], job: Job) -> None:
    """Draw the best, the ones on both sides of the cut, the worst and the dropped, with ids, scores and reasons."""
    per_section = COLUMNS * ROWS_A_SECTION
    scores = {face.id: face.score for face in known.faces() if face.score is not None}
    ranked = [known.scored[id] for id in best(scores, len(scores))]
    cut = len(chosen)
    around = ranked[max(0, cut - COLUMNS) : cut + COLUMNS] if cut < len(ranked) else []
    wanted = {face.id: face for face in (*ranked[:per_section], *around, *ranked[-per_section:])}
    pictures = _thumbnails(client, [wanted[id] for id in sorted(wanted)], known, job)
    ranks = {face.id: rank for rank, face in enumerate(ranked)}

    def tiles(faces: Iterable[ScoredFace]) -> list[_Tile]:
        return [_Tile(pictures[face.id], f"#{ranks[face.id]}  {face.score:.3f}\n{face.id}") for face in faces]

    sections = [
        (f"Best of {len(ranked)} faces", tiles(ranked[:per_section])),
        (f"Around the cut: the last chosen is #{cut - 1}, the first left out #{cut}", tiles(around)),
        ("Worst", tiles(ranked[-per_section:])),
        (f"Dropped: {len(known.dropped())} photos and faces", _dropped_tiles(client, known, job, per_section)),
    ]
    sheet = _draw([(heading, section) for heading, section in sections if section])
    write_bytes(run / CONTACT_SHEET_PATH, encode_png(sheet))


def _thumbnails(
    client: Client, faces: Sequence[ScoredFace], known: Knowledge, job: Job
) -> dict[str, UInt8[np.ndarray, "tile tile 3"]]:
    rows = [PackRow(ref=known.refs[f.photo_id], found=known.found[f.photo_id], scored=f, rank=0) for f in faces]
    chunks = ([*rows[start : start + COLUMNS]] for start in range(0, len(rows), COLUMNS))
    pictures = {face.id: _blank() for face in faces}
    for outcome in map_bounded(client, draw_thumbnails, chunks, arguments=lambda: (job, TILE_PX)):
        if isinstance(outcome, Done):
            drawn = zip(outcome.items, outcome.result, strict=True)
            pictures |= {row.scored.id: decode_png(png) for row, png in drawn if png is not None}
    return pictures


def _dropped_tiles(client: Client, known: Knowledge, job: Job, most: int) -> list[_Tile]:
    shown = known.dropped()[:most]
    by_path = {ref.path: ref for ref in known.refs.values()}
    pictures = {row.id: _blank() for row in shown}
    chunks = ([(row.id, by_path[row.source])] for row in shown)
    for outcome in map_bounded(client, draw_photo_thumbnail, chunks, arguments=lambda: (job, TILE_PX)):
        if isinstance(outcome, Done) and outcome.result is not None:
            pictures[outcome.items[0][0]] = decode_png(outcome.result)
    return [_tile_of(row, pictures[row.id]) for row in shown]


def _tile_of(row: Dropped, picture: UInt8[np.ndarray, "tile tile 3"]) -> _Tile:
    return _Tile(picture, f"{row.id}\n{row.reason}")


def _blank() -> UInt8[np.ndarray, "tile tile 3"]:
    return np.full((TILE_PX, TILE_PX, 3), PALE, dtype=np.uint8)


def _draw(sections: Sequence[tuple[str, Sequence[_Tile]]]) -> UInt8[np.ndarray, "h w 3"]:
    rows = [-(-len(tiles) // COLUMNS) for _, tiles in sections]
    height = sum(HEADING_PX + count * (TILE_PX + CAPTION_PX) for count in rows)
    sheet = Image.new("RGB", (COLUMNS * TILE_PX, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    top = 0
    for (heading, tiles), count in zip(sections, rows, strict=True):
        pen.text((6, top + 8), heading, fill=INK, font=ImageFont.load_default(16))
        for position, tile in enumerate(tiles):
            corner = (position % COLUMNS * TILE_PX, top + HEADING_PX + position // COLUMNS * (TILE_PX + CAPTION_PX))
            sheet.paste(Image.fromarray(tile.picture), corner)
            pen.text(
                (corner[0] + 3, corner[1] + TILE_PX + 1),
                _short(tile.caption),
                fill=INK,
                font=ImageFont.load_default(10),
            )
        top += HEADING_PX + count * (TILE_PX + CAPTION_PX)
    return np.asarray(sheet)


def _short(caption: str) -> str:
    lines = [textwrap.shorten(line, 24, placeholder="...") or line[:24] for line in caption.splitlines()]
    return "\n".join(line.encode("ascii", "replace").decode() for line in lines[:2])
