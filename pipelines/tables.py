"""The run folder's tables: every face's score, the chosen ones, and what was dropped and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from hqdata.quality import SpectralParts
from hqdata.record import Dropped
from hqdata.storage import Folder
from pipelines.face_rows import FaceRows
from pipelines.job import Job
from pipelines.knowledge import Knowledge

__all__ = [
    "DROPPED_PATH",
    "SCORES_PATH",
    "SCORE_PARTS",
    "SELECTED_PATH",
    "scores_schema",
    "write_rated",
    "write_selected",
]

SCORES_PATH = "scores.parquet"
SELECTED_PATH = "selected.parquet"
DROPPED_PATH = "dropped.parquet"
SCORE_PARTS = tuple(field.name for field in dataclasses.fields(SpectralParts) if field.name != "score")
"""What the score is made of, in the order of the columns."""
ROWS_AT_ONCE = 500
"""A row with CelebA's attributes takes some kilobytes as Python values, a few hundred bytes as a table."""
TABLES_A_GROUP = 20
"""So many tables make one row group of the file."""
ARROW_TYPES = {bool: pa.bool_(), float: pa.float64(), int: pa.int64(), str: pa.string()}


def write_rated(run: Folder, known: Knowledge, job: Job, columns: Mapping[str, type]) -> None:
    """Write scores.parquet, a row for each face of `Knowledge.rated_rows`, and dropped.parquet; by photo number.

    Args:
        run: the run folder.
        known: all that was found out.
        job: whose ledger has the rest.
        columns: names and types of the source's attributes.
    """
    _write(run, SCORES_PATH, _score_rows(known, FaceRows(known, job)), scores_schema(columns))
    _write(run, DROPPED_PATH, map(_dropped_row, known.dropped()), _dropped_schema())


def write_selected(run: Folder, known: Knowledge, chosen: Int64[np.ndarray, " k"]) -> None:
    """Write selected.parquet: the chosen faces, best first."""
    selected = (
        {"rank": rank, "id": known.face_id(row), "score": known.score_of(row)}
        for rank, row in enumerate(chosen.tolist())
    )
    _write(
        run, SELECTED_PATH, selected, pa.schema([("rank", pa.int64()), ("id", pa.string()), ("score", pa.float64())])
    )


def scores_schema(columns: Mapping[str, type]) -> pa.Schema:
    """Return the columns of scores.parquet for a source with these attributes."""
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


def _score_rows(known: Knowledge, ledger: FaceRows) -> Iterator[dict[str, Any]]:
    for row in map(int, known.rated_rows()):
        number = known.photo_of(row)
        ref = known.photos[number]
        photo = ledger.found(number)
        found = photo["faces"][known.index_of(row)]
        scored = ledger.scored(row) or {}
        stage, reason = known.reason_of(row)
        yield {
            "id": known.face_id(row),
            "source": ref.path,
            "face_index": known.index_of(row),
            "status": "dropped" if stage else "ok",
            "reason": f"{stage}: {reason}" if stage else "",
            "score": scored.get("score"),
            **scored.get("parts", {}),
            "landmarks": [value for point in found["landmarks"] for value in point],
            "landmark_source": found["landmark_source"],
            "landmark_confidence": found["confidence"],
            "quad": [value for corner in scored.get("quad", ()) for value in corner] or None,
            **{name: None if stage else scored[name] for name in ("zoom", "restored", "upscaled", "padded")},
            "source_width": photo["width"],
            "source_height": photo["height"],
            "pixel_sha256": scored.get("pixel_sha256") or None,
            **ref.attributes,
        }


def _dropped_schema() -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in ("id", "source", "stage", "reason")])


def _dropped_row(row: Dropped) -> dict[str, str]:
    return {"id": row.id, "source": row.source, "stage": row.stage, "reason": row.reason}


def _write(run: Folder, name: str, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    tables = _tables(rows, schema)
    with run.writing(name) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while group := list(islice(tables, TABLES_A_GROUP)):
            writer.write_table(pa.concat_tables(group))


def _tables(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    remaining = iter(rows)
    while batch := list(islice(remaining, ROWS_AT_ONCE)):
        yield pa.Table.from_pylist(batch, schema)
