"""One Parquet shard: the crops as PNGs with all that is known of them, in the layout of Hugging Face `datasets`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from hqdata.shards.format import DATA_FORMAT, VERSION
from hqdata.shards.hashing import HashedFile
from hqdata.shards.rows import ShardLayout, ShardRow

__all__ = ["ROW_GROUP_ROWS", "ParquetShard", "schema_of"]

ROW_GROUP_ROWS = 64
"""At 1024 px about 90 MB: what a writer holds in memory and what a random access reads."""
PAGE_ROWS = 8
"""Rows after which a page may end, so that a page index leads to a few pictures and not to a whole row group."""
NUM_LANDMARK_VALUES = 10
NUM_QUAD_VALUES = 8
STORED_PLAIN = ("image.bytes", "image.path")
WITH_STATISTICS = ["id", "score", "rank"]
LIST_LEAF = ".list.element"
TYPES: Mapping[type, pa.DataType] = {bool: pa.bool_(), float: pa.float64(), int: pa.int64(), str: pa.string()}


def schema_of(layout: ShardLayout) -> pa.Schema:
    """Return the columns, with the metadata from which `datasets` learns that `image` is a picture."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [
        ("image", image),
        ("id", pa.string()),
        ("rank", pa.int64()),
        ("score", pa.float64()),
        *((name, pa.float64()) for name in layout.parts),
        ("source", pa.string()),
        ("face_index", pa.int64()),
        ("landmarks", pa.list_(pa.float64(), NUM_LANDMARK_VALUES)),
        ("landmark_source", pa.string()),
        ("quad", pa.list_(pa.float64(), NUM_QUAD_VALUES)),
        ("source_width", pa.int64()),
        ("source_height", pa.int64()),
        ("pixel_sha256", pa.string()),
        *((name, TYPES[kind]) for name, kind in layout.attributes.items()),
    ]
    features = {name: _feature(kind) for name, kind in fields}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "progan_hq": json.dumps({"format": DATA_FORMAT, "version": VERSION}),
    }
    return pa.schema(fields, metadata=metadata)


class ParquetShard:
    """Writes rows group by group; use it as a context manager, since the file is whole only after the exit.

    Fixed options and no dictionary make the bytes depend on nothing but the rows and the version of pyarrow.
    """

    def __init__(self, file: HashedFile, layout: ShardLayout) -> None:
        self._layout = layout
        self._schema = schema_of(layout)
        self._num_rows = 0
        self._rows: list[dict[str, Any]] = []
        self._pages: list[pa.Table] = []
        self._writer = pq.ParquetWriter(file, self._schema, **_options(self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def add(self, row: ShardRow, pixel_sha256: str) -> None:
        """Append one row; its PNG is stored as it is.

        Raises:
            ValueError: if a part of the score or an attribute is missing, or has another type than the layout says.
        """
        self._rows.append(_columns(row, pixel_sha256, self._layout))
        self._num_rows += 1
        if self._num_rows % PAGE_ROWS == 0:
            self._gather()
        if self._num_rows % ROW_GROUP_ROWS == 0:
            self._flush()

    def _flush(self) -> None:
        self._gather()
        if self._pages:
            self._writer.write_table(pa.concat_tables(self._pages), row_group_size=ROW_GROUP_ROWS)
            self._pages.clear()

    def _gather(self) -> None:
        """Pack the last rows into Arrow's columns; few at a time, since its buffers double as they grow."""
        if self._rows:
            self._pages.append(pa.Table.from_pylist(self._rows, self._schema))
            self._rows.clear()


def _columns(row: ShardRow, pixel_sha256: str, layout: ShardLayout) -> dict[str, Any]:
    height, width = row.source_size
    own = {
        "image": {"bytes": row.png, "path": f"{row.rank:06d}.png"},
        "id": row.id,
        "rank": row.rank,
        "score": row.score,
        "source": row.source,
        "face_index": row.face_index,
        "landmarks": row.landmarks.ravel().tolist(),
        "landmark_source": row.landmark_source,
        "quad": row.quad.ravel().tolist(),
        "source_width": width,
        "source_height": height,
        "pixel_sha256": pixel_sha256,
    }
    parts = _named(row, "part of the score", row.parts, layout.parts, lambda name: float)
    return own | parts | _named(row, "attribute", row.attributes, layout.attributes, layout.attributes.__getitem__)


def _named(
    row: ShardRow, what: str, values: Mapping[str, Any], names: Any, type_of: Callable[[str], type]
) -> dict[str, Any]:
    """Return the values under exactly these names, each None or of its type."""
    if set(values) != set(names):
        raise ValueError(f"row {row.id!r}: {what} must be given for {sorted(names)}, got {sorted(values)}")
    for name, value in values.items():
        if value is not None and not isinstance(value, type_of(name)):
            raise ValueError(f"row {row.id!r}: {what} {name!r} must be of type {type_of(name).__name__}, got {value!r}")
    return dict(values)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """Return the type in the words of `datasets`; "Sequence" is read by all its versions, "List" only since 4."""
    if pa.types.is_struct(kind):
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    return {"dtype": "float64" if kind == pa.float64() else str(kind), "_type": "Value"}


def _options(schema: pa.Schema) -> dict[str, Any]:
    """Return fixed writer options: PNG does not compress further, and a dictionary would depend on the rows' order."""
    leaves = _leaves(schema)
    return {
        "compression": {name: "none" if name in STORED_PLAIN else "zstd" for name in leaves},
        "use_dictionary": False,
        "column_encoding": dict.fromkeys(leaves, "PLAIN"),
        "write_statistics": WITH_STATISTICS,
        "write_page_index": True,
        "write_batch_size": PAGE_ROWS,
    }


def _leaves(schema: pa.Schema) -> list[str]:
    """Return the Parquet leaf column of every field."""
    flat = [field for field in schema if not pa.types.is_struct(field.type)]
    suffixes = [LIST_LEAF if pa.types.is_fixed_size_list(field.type) else "" for field in flat]
    return [*STORED_PLAIN, *(field.name + suffix for field, suffix in zip(flat, suffixes, strict=True))]
