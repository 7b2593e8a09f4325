"""RUN/report/contact_sheet.png: what was chosen, what nearly was, what was not, and what was dropped, at a glance."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from distributed import Client
from jaxtyping import Int64, UInt8
from PIL import Image, ImageDraw, ImageFont

from hqdata.png import decode_png, encode_png
from hqdata.record import Dropped, PhotoRef
from hqdata.storage import Folder
from pipelines.dask_map import Done, map_bounded
from pipelines.face_rows import FaceRows
from pipelines.job import Job
from pipelines.knowledge import Knowledge
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


def write_contact_sheet(
    client: Client, run: Folder, known: Knowledge, chosen: Int64[np.ndarray, " k"], job: Job
) -> None:
    """Draw the best, the ones on both sides of the cut, the worst and the dropped, with ids, scores and reasons."""
    per_section = COLUMNS * ROWS_A_SECTION
    left_out, worst = known.runners_up(chosen, COLUMNS), known.worst(per_section)
    around = np.concatenate([chosen[-COLUMNS:], left_out]) if len(left_out) else chosen[:0]
    shown = np.unique(np.concatenate([chosen[:per_section], around, worst])).tolist()
    pictures = _thumbnails(client, shown, known, job)
    ranks = {row: known.rank_of(row) for row in shown}

    def tiles(rows: Int64[np.ndarray, " t"]) -> list[_Tile]:
        captions = (f"#{ranks[row]}  {known.score_of(row):.3f}\n{known.face_id(row)}" for row in rows.tolist())
        return [_Tile(pictures[row], caption) for row, caption in zip(rows.tolist(), captions, strict=True)]

    num_dropped = known.num_dropped_by_reason().total()
    sections = [
        (f"Best of {known.num_scored()} faces", tiles(chosen[:per_section])),
        (f"Around the cut: the last of {len(chosen)} chosen, then the first left out", tiles(around)),
        ("Worst", tiles(worst)),
        (f"Dropped: {num_dropped} photos and faces", _dropped_tiles(client, known, job, per_section)),
    ]
    sheet = _draw([(heading, section) for heading, section in sections if section])
    run.write(CONTACT_SHEET_PATH, encode_png(sheet))


def _thumbnails(
    client: Client, faces: Sequence[int], known: Knowledge, job: Job
) -> dict[int, UInt8[np.ndarray, "tile tile 3"]]:
    ledger = FaceRows(known, job)
    chunks = (
        [ledger.pack_row(row, rank=0) for row in faces[start : start + COLUMNS]]
        for start in range(0, len(faces), COLUMNS)
    )
    pictures = {known.face_id(row): _blank() for row in faces}
    for outcome in map_bounded(client, draw_thumbnails, chunks, arguments=lambda: (job, TILE_PX)):
        if isinstance(outcome, Done):
            drawn = zip(outcome.items, outcome.result, strict=True)
            pictures |= {row.scored.id: decode_png(png) for row, png in drawn if png is not None}
    return {row: pictures[known.face_id(row)] for row in faces}


def _dropped_tiles(client: Client, known: Knowledge, job: Job, most: int) -> list[_Tile]:
    shown = list(islice(known.dropped(), most))
    pictures = {row.id: _blank() for row in shown}
    chunks = ([(row.id, PhotoRef(id=row.id, path=row.source, size_bytes=0, version=""))] for row in shown)
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
