"""What the driver holds of millions of photos: some hundred bytes each, and no rows."""

import gc
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

import numpy as np
import pytest

from hqdata.sources.files import File
from hqdata.sources.photo_table import PhotoTable
from pipelines import photo_index
from pipelines.config import LandmarksConfig
from pipelines.knowledge import Knowledge
from pipelines.photo_index import PHOTOS_HELD, PhotoIndex
from pipelines.rows import ChunkResult, Finding, FoundPhoto, PhotoTask, Score, ScoredFace

PHOTOS, CHUNK = 30_000, 50
BYTES_A_PHOTO = 200


def files(count: int) -> Iterator[File]:
    """Names and versions as a folder of downloads has them: nothing in common but the folder."""
    for number, name in enumerate(np.random.default_rng(0).integers(2**62, size=count).tolist()):
        yield File(
            path=f"photos/{number % 7}/{name:016x}.jpg", size_bytes=10**5 + number, version=f"{10**5 + number}-{name}"
        )


def answer(tasks: list[PhotoTask], chunk: int) -> ChunkResult:
    names = [{"photo_id": task.ref.id, "version": task.ref.version} for task in tasks]
    return ChunkResult(
        found=tuple(Finding(**name, num_faces=1, unwanted=()) for name in names),
        found_file=f"ab/{chunk:032x}.jsonl",
        scored=tuple(Score(**name, index=0, score=float(chunk), upscaled=True, padded=False) for name in names),
        scored_file=f"cd/{chunk:032x}.jsonl",
        to_retry=(),
        last_error="",
        cached=0,
        seconds={},
    )


def scored_all(table: PhotoTable) -> Knowledge:
    """Know a score of every photo, as the score phase learns them."""
    known = Knowledge(table, LandmarksConfig())
    numbers = known.to_do()
    for chunk in range(len(numbers) // CHUNK):
        tasks = [known.task(number) for number in numbers[CHUNK * chunk : CHUNK * (chunk + 1)].tolist()]
        known.add_result(answer(tasks, chunk))
    return known


def bytes_held(root: object) -> int:
    """Memory of everything that can be reached from an object, but for code."""
    seen, waiting, total = set(), [root], 0
    while waiting:
        thing = waiting.pop()
        if id(thing) not in seen and not isinstance(thing, type | ModuleType | FunctionType):
            seen.add(id(thing))
            total += sys.getsizeof(thing)
            waiting += gc.get_referents(thing)
    return total


def test_a_photo_and_its_face_take_less_than_two_hundred_bytes_of_the_driver():
    known = scored_all(PhotoTable.of(files(PHOTOS)))
    assert known.num_scored() == PHOTOS
    assert 50 * PHOTOS < bytes_held(known) < BYTES_A_PHOTO * PHOTOS


def test_the_driver_holds_no_rows_and_few_photos_as_objects():
    known = scored_all(PhotoTable.of(files(4 * PHOTOS_HELD)))
    gc.collect()
    kinds = [type(thing).__name__ for thing in gc.get_objects()]
    rows = {kind.__name__: kinds.count(kind.__name__) for kind in (Finding, Score, FoundPhoto, ScoredFace, PhotoTask)}
    assert known.num_scored() > 0
    assert set(rows.values()) == {0}, rows
    assert kinds.count("PhotoRef") < 2 * PHOTOS_HELD


def test_photos_whose_keys_are_equal_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(photo_index, "_key", lambda id: np.uint64(5))
    table = PhotoTable.of(files(20))
    index = PhotoIndex(table)
    numbers = [number for number in index.find_all([ref.id for ref in table]) if number is not None]
    assert [index[number] for number in numbers] == list(table)
    assert index.find("another") is None
