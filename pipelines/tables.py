"""The run folder's tables: every face's score, the chosen ones, and what was dropped and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hqdata.atomic import atomic_path
from hqdata.quality import SpectralParts
from hqdata.record import Dropped
from pipelines.knowledge import Knowledge
from pipelines.rows import ScoredFace

__all__ = ["DROPPED_PATH", "SCORES_PATH", "SCORE_PARTS", "SELECTED_PATH", "write_tables"]

SCORES_PATH = "scores.parquet"
SELECTED_PATH = "selected.parquet"
DROPPED_PATH = "dropped.parquet"
SCORE_PARTS = tuple(field.name for field in dataclasses.fields(SpectralParts) if field.name != "score")
"""What the score is made of, in the order of the columns."""
ROWS_AT_ONCE = 10_000
"""A row with CelebA's attributes takes some kilobytes as Python values, a few hundred bytes as a table."""
ARROW_TYPES = {bool: pa.bool_(), float: pa.float64(), int: pa.int64(), str: pa.string()}


def write_tables(run: Path, known: Knowledge, chosen: Sequence[ScoredFace], columns: Mapping[str, type]) -> None:
    """Write scores.parquet, selected.parquet and dropped.parquet.

    Args:
        run: the run folder.
        known: all that was found out.
        chosen: the selected faces, best first.
        columns: names and types of the source's attributes.
    """
    faces = known.faces()
    _write(run / SCORES_PATH, _score_rows(known, faces), _scores_schema(columns))
    selected = ({"rank": rank, "id": face.id, "score": face.score} for rank, face in enumerate(chosen))
    schema = pa.schema([("rank", pa.int64()), ("id", pa.string()), ("score", pa.float64())])
    _write(run / SELECTED_PATH, selected, schema)
    _write(run / DROPPED_PATH, map(_dropped_row, known.dropped()), _dropped_schema())


def _scores_schema(columns: Mapping[str, type]) -> pa.Schema:
    return pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("face_index", pa.int64()),
            ("status", pa.string()),
            ("reason", pa.string()),
            ("score", pa.float64()),
            *((part, pa.float64()) for part in SCORE_PARTS),
            ("landmarks", pa.list_(pa.float64(), 10)),
            ("landmark_source", pa.string()),
            ("landmark_confidence", pa.float64()),
            ("quad", pa.list_(pa.float64(), 8)),
            ("zoom", pa.float64()),
            ("restored", pa.bool_()),
            ("upscaled", pa.bool_()),
            ("padded", pa.bool_()),
            ("source_width", pa.int64()),
            ("source_height", pa.int64()),
            ("pixel_sha256", pa.string()),
            *((name, ARROW_TYPES[kind]) for name, kind in columns.items()),
        ]
    )


def _score_rows(known: Knowledge, faces: Iterable[ScoredFace]) -> Iterable[dict[str, Any]]:
    for face in faces:
        ref, photo = known.refs[face.photo_id], known.found[face.photo_id]
        found = photo.faces[face.index]
        refused = bool(face.stage)
        yield {
            "id": face.id,
            "source": ref.path,
            "face_index": face.index,
            "status": "dropped" if refused else "ok",
            "reason": f"{face.stage}: {face.reason}" if refused else "",
            "score": face.score,
            **face.parts,
            "landmarks": [value for point in found.landmarks for value in point],
            "landmark_source": found.landmark_source,
            "landmark_confidence": found.confidence,
            "quad": [value for corner in face.quad for value in corner] or None,
            "zoom": None if refused else face.zoom,
            "restored": None if refused else face.restored,
            "upscaled": None if refused else face.upscaled,
            "padded": None if refused else face.padded,
            "source_width": photo.width,
            "source_height": photo.height,
            "pixel_sha256": face.pixel_sha256 or None,
            **ref.attributes,
        }


def _dropped_schema() -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in ("id", "source", "stage", "reason")])


def _dropped_row(row: Dropped) -> dict[str, str]:
    return {"id": row.id, "source": row.source, "stage": row.stage, "reason": row.reason}


def _write(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    remaining = iter(rows)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(islice(remaining, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(batch, schema))
