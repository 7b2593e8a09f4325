"""Why a face was chosen or not: its score, its rank, the cut, its shard, or the reason why it was dropped.

A finished run answers from its tables, so work/ may be gone. Of a run that is not finished the same tables are made in
scratch from the ledger, as if the build ended now.
"""

from __future__ import annotations

import difflib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool

from hqdata.record import PhotoRef
from hqdata.settings import ConfigError
from hqdata.shards.format import INDEX_PATH, MANIFEST_PATH
from hqdata.storage import Folder, open_folder, scratch_folder
from pipelines.config import BuildConfig
from pipelines.known_run import KnownRun, config_of, know_run, ledger_of
from pipelines.photo_index import PhotoIndex
from pipelines.select_phase import select
from pipelines.tables import DROPPED_PATH, SCORE_PARTS, SCORES_PATH, SELECTED_PATH, write_rated, write_selected
from pipelines.where import parse_condition

__all__ = ["Explanation", "explain"]

NEAREST_SHOWN = 3
FACE_ID = re.compile(r"(.+)-[0-9]+", re.DOTALL)
COMPARED = 2000
"""Ids that are compared letter by letter to find the nearest ones."""
SHOWN = ("zoom", "restored", "upscaled", "padded", "landmark_source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of one face, or of a photo of which no face got that far."""

    id: str
    source: str
    """The photo's path relative to the source's root."""
    fate: str
    """In words: chosen, not chosen and by how much, dropped and why, or not done yet."""
    score: float | None = None
    rank: int | None = None
    """Among all scored faces, 0 for the best."""
    of: int | None = None
    """Scored faces."""
    cut: float | None = None
    """Score of the last chosen face; None while none is chosen."""
    place: str | None = None
    """Shard and row of a chosen face that is packed."""
    details: Mapping[str, Any] | None = None
    """Parts of the score, and how the crop was made."""
    ledger: tuple[str, ...] = ()
    """Files of the ledger that know of its photo, where those were asked for."""

    def lines(self) -> Iterator[str]:
        """Yield it as text."""
        yield f"{self.id}  {self.source}"
        yield f"  {self.fate}"
        if self.score is not None:
            cut = "nothing is chosen" if self.cut is None else f"the last chosen face has {self.cut:.4f}"
            yield f"  score {self.score:.4f}, rank {self.rank} of {self.of} (0 is the best); {cut}"
        if self.details:
            yield "  " + ", ".join(f"{name} {_short(value)}" for name, value in self.details.items())
        if self.place:
            yield f"  {self.place}"
        for file in self.ledger:
            yield f"  {file}"


def explain(run: Folder | Path | str, names: Sequence[str], *, ledger: bool = False) -> list[Explanation]:
    """Return what became of some faces.

    Args:
        run: the run folder.
        names: ids of faces, or ids or paths of photos, which mean all faces of the photo.
        ledger: also name the files of the ledger, for which all of them are read.

    Raises:
        ConfigError: for a name that the run does not know, naming the nearest ids; or if no build began there.
    """
    folder = open_folder(run)
    stories = _stories(folder, names)
    return _with_ledger(folder, stories) if ledger else stories


def _stories(folder: Folder, names: Sequence[str]) -> list[Explanation]:
    config = config_of(folder)
    if folder.exists(MANIFEST_PATH):
        tables = _Tables(folder, config)
        return [story for name in names for story in _required(tables, name, tables.about(name))]
    unfinished = know_run(config, folder)
    with _as_if_it_ended_now(unfinished) as tables:
        return [
            story for name in names for story in _required(tables, name, _so_far(tables.about(name), unfinished, name))
        ]


def _required(tables: _Tables, name: str, found: list[Explanation]) -> list[Explanation]:
    if not found:
        nearest = ", ".join(tables.nearest(name)) or "none at all"
        raise ConfigError(f"{name!r}: neither a face nor a photo of this run; the nearest ids: {nearest}")
    return found


def _with_ledger(run: Folder, stories: list[Explanation]) -> list[Explanation]:
    marks = [
        [f'"photo_id":{json.dumps(id)}'.encode() for id in (story.id, story.id.rpartition("-")[0])] for story in stories
    ]
    files: list[list[str]] = [[] for _ in stories]
    for part in ledger_of(run):
        for name, data in part.read_many(file.name for file in part.files()):
            for found, wanted in zip(files, marks, strict=True):
                if any(mark in data for mark in wanted):
                    found.append(f"{part}/{name}")
    return [replace(story, ledger=tuple(found)) for story, found in zip(stories, files, strict=True)]


@contextmanager
def _as_if_it_ended_now(run: KnownRun) -> Iterator[_Tables]:
    with tempfile.TemporaryDirectory(prefix="hqdata-", dir=scratch_folder()) as place:
        folder = open_folder(place)
        write_rated(folder, run.known, run.job, run.source.attribute_names)
        write_selected(folder, run.known, select(run.known, run.config, folder))
        yield _Tables(folder, run.config)


def _so_far(told: list[Explanation], run: KnownRun, name: str) -> list[Explanation]:
    """Return what the tables tell, and that the photo is not done yet where it, or one of its faces, is not."""
    ref = _photo_named(run.known.photos, name)
    if ref is None or name in {story.id for story in told} or run.known.photos.find(ref.id) not in run.known.to_do():
        return told
    return [*told, Explanation(id=ref.id, source=ref.path, fate="not done yet; the same command goes on")]


def _photo_named(photos: PhotoIndex, name: str) -> PhotoRef | None:
    """Return the photo with this id, path or face."""
    paths = _endings(name)
    face = FACE_ID.fullmatch(name)
    ids = [name, *([face[1]] if face else []), *paths, Path(name).stem]
    refs = [photos[number] for number in photos.find_all(ids) if number is not None]
    return next((ref for ref in refs if ref.id in ids[:2] or ref.path in paths), None)


def _endings(path: str) -> list[str]:
    """Return a path and what remains of it without its first folders."""
    parts = Path(path).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]


class _Tables:
    """The tables of a run, read once for all questions."""

    def __init__(self, folder: Folder, config: BuildConfig) -> None:
        self._folder = folder
        self._where = config.select.where
        self._faces = _read(folder, SCORES_PATH, also=parse_condition(self._where).columns if self._where else ())
        self._dropped = _read(folder, DROPPED_PATH)
        chosen = _read(folder, SELECTED_PATH)
        self._cut = chosen["score"][-1].as_py() if len(chosen) else None
        self._ranks = dict(zip(chosen["id"].to_pylist(), chosen["rank"].to_pylist(), strict=True))
        self._places = _places(folder)

    def about(self, name: str) -> list[Explanation]:
        """Return what is known of a face or photo; nothing where it is not in the tables."""
        faces = self._faces.filter(_matches(self._faces, name))
        told = [self._face(faces.slice(row, 1)) for row in range(len(faces))]
        ids = {story.id for story in told}
        dropped = self._dropped.filter(_matches(self._dropped, name)).to_pylist()
        return told + [_of_dropped(row) for row in dropped if row["id"] not in ids]

    def nearest(self, name: str) -> list[str]:
        """Return known ids that look like a name."""
        known = pa.chunked_array([*self._faces["id"].chunks, *self._dropped["id"].chunks], pa.string())
        for length in range(len(name), -1, -1):
            alike = known.filter(pc.call_function("starts_with", [known], pc.MatchSubstringOptions(name[:length])))
            if len(alike):
                return difflib.get_close_matches(name, alike[:COMPARED].to_pylist(), n=NEAREST_SHOWN, cutoff=0.0)
        return []

    def _face(self, table: pa.Table) -> Explanation:
        (row,) = table.to_pylist()
        if row["status"] != "ok":
            return Explanation(id=row["id"], source=row["source"], fate=f"dropped, {row['reason']}")
        scores = self._faces["score"].drop_null().to_numpy()
        better = int(np.count_nonzero(scores > row["score"])) + self._ties_before(row)
        return Explanation(
            id=row["id"],
            source=row["source"],
            fate=self._fate(row, table),
            score=row["score"],
            rank=better,
            of=len(scores),
            cut=self._cut,
            place=self._places.get(row["id"]),
            details={name: row[name] for name in (*SCORE_PARTS, *SHOWN)},
        )

    def _ties_before(self, row: Mapping[str, Any]) -> int:
        ties = pc.call_function("equal", [self._faces["score"], pa.scalar(row["score"])]).fill_null(False)
        return sum(id < row["id"] for id in self._faces["id"].filter(ties).to_pylist())

    def _fate(self, row: Mapping[str, Any], table: pa.Table) -> str:
        rank = self._ranks.get(row["id"])
        if rank is not None:
            return f"chosen, rank {rank} of {len(self._ranks)} chosen faces"
        if self._where and not parse_condition(self._where).mask(table).all():
            return f"not chosen: select.where {self._where!r} leaves it out"
        if self._cut is None:
            return "not chosen: nothing is"
        short = self._cut - row["score"]
        return f"not chosen: {short:.4f} below the last of {len(self._ranks)} chosen faces"


def _of_dropped(row: Mapping[str, str]) -> Explanation:
    return Explanation(id=row["id"], source=row["source"], fate=f"dropped, {row['stage']}: {row['reason']}")


def _matches(table: pa.Table, name: str) -> Bool[np.ndarray, " rows"]:
    """Return which rows are the face, or of the photo, with this id or path."""
    of_photo = f"^{re.escape(name)}-[0-9]+$"
    paths = pa.array(_endings(name), pa.string())
    answers = [
        pc.call_function("equal", [table["id"], pa.scalar(name)]),
        pc.call_function("match_substring_regex", [table["id"]], pc.MatchSubstringOptions(of_photo)),
        pc.call_function("is_in", [table["source"]], pc.SetLookupOptions(paths)),
    ]
    return np.logical_or.reduce([answer.to_numpy() for answer in answers])


def _places(folder: Folder) -> dict[str, str]:
    """Return the shard and row of every packed face; nothing while shards are not indexed."""
    if not folder.exists(INDEX_PATH):
        return {}
    index = folder.read_json(INDEX_PATH)
    places = (f"row {row} of {file['path']}" for file in index["data"] for row in range(file["rows"]))
    return dict(zip(index["ids"], places, strict=True))


def _read(folder: Folder, name: str, *, also: Sequence[str] = ()) -> pa.Table:
    """Return a table without its lists, which take most of its room, but for the columns in `also`."""
    with folder.reading(name) as path:
        schema = pq.read_schema(path)
        return pq.read_table(
            path, columns=[f.name for f in schema if f.name in also or not pa.types.is_fixed_size_list(f.type)]
        )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
