"""What goes into a shard: one row per chosen face, and the columns that all rows of a run share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from hqdata.shards.format import levels_of

__all__ = ["OWN_COLUMNS", "ShardLayout", "ShardRow"]

OWN_COLUMNS = (
    "image",
    "id",
    "rank",
    "score",
    "source",
    "face_index",
    "landmarks",
    "landmark_source",
    "quad",
    "source_width",
    "source_height",
    "pixel_sha256",
)
"""Columns of every Parquet shard; a source's attributes and the score's parts follow under names of their own."""
ATTRIBUTE_TYPES = (bool, float, int, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRow:
    """One chosen face."""

    id: str
    rank: int
    """0 for the best."""
    score: float
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the score is made of, one value for each of the layout's parts."""
    source: str
    """The photo's path relative to the source's root."""
    face_index: int
    landmarks: Float64[np.ndarray, "5 2"]
    """In the photo's pixels, see `hqdata.record`."""
    landmark_source: str
    quad: Float64[np.ndarray, "4 2"]
    """The crop's corners in the photo: north-west, south-west, south-east, north-east."""
    source_size: tuple[int, int]
    """The photo's (height, width)."""
    png: bytes
    """The crop, lossless: an 8-bit RGB PNG of the layout's size."""
    pixel_sha256: str | None = None
    """Hash of the crop's uint8 (size, size, 3) bytes, which the decoded PNG must have; None skips the check."""
    attributes: Mapping[str, bool | float | int | str | None] = field(default_factory=dict)
    """One value for each of the layout's attributes; None where the source has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLayout:
    """What all shards of a run have in common.

    Raises:
        ValueError: if `size` is no power of two >= 4, a column name comes twice or an attribute's type is unknown.
    """

    size: int
    """Pixels of the crop's side."""
    num_shards: int
    parts: tuple[str, ...] = ()
    """Names of the score's parts, each a float64 column."""
    attributes: Mapping[str, type] = field(default_factory=dict)
    """Names and types (bool, float, int or str) of the columns that the source carries along."""

    def __post_init__(self) -> None:
        levels_of(self.size)
        if self.num_shards < 1:
            raise ValueError(f"num_shards must be at least 1, got {self.num_shards}")
        self._check_columns()

    def _check_columns(self) -> None:
        taken: set[str] = set(OWN_COLUMNS)
        for name in (*self.parts, *self.attributes):
            if name in taken:
                raise ValueError(f"column {name!r} exists twice; rename the attribute or the part of the score")
            taken.add(name)
        for name, kind in self.attributes.items():
            if kind not in ATTRIBUTE_TYPES:
                raise ValueError(f"attribute {name!r} has type {kind!r}; use one of bool, float, int and str")
