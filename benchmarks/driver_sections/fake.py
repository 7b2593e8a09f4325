"""Photos that are nowhere, a stage that computes nothing, and a worker that runs it beside the driver."""

import hashlib
import os
import pickle
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path

from hqdata.sources import Source
from hqdata.sources.files import File
from hqdata.sources.photo_table import PhotoTable
from hqdata.storage import open_folder
from pipelines.config import BuildConfig, load_config
from pipelines.dask_map import Done
from pipelines.job import Job, make_job
from pipelines.ledger import append_rows
from pipelines.rows import ChunkResult, Finding, FoundPhoto, PhotoTask, Score, ScoredFace, to_dict
from pipelines.tables import SCORE_PARTS

PHOTOS_A_FOLDER = 5000
FACELESS, TWO_FACES, REFUSED = 0.03, 0.05, 0.01
"""Shares of photos."""
STAGE_S = 0.001
EMPTY_PHOTO = to_dict(FoundPhoto(photo_id="", version="", height=1024, width=768))
EMPTY_FACE = to_dict(ScoredFace(photo_id="", version="", index=0))
IN_FLIGHT = 4


def files(count: int) -> Iterator[File]:
    """What listing a folder or a bucket gives: 43 characters a path, half of them random, which saves no memory."""
    for first in range(0, count, PHOTOS_A_FOLDER):
        numbers = range(first, min(first + PHOTOS_A_FOLDER, count))
        names = sorted(hashlib.md5(str(number).encode()).hexdigest()[:20] for number in numbers)
        for number, name in zip(numbers, names, strict=True):
            size = 100_000 + number * 7919 % 900_000
            version = f"{size}-{1_700_000_000_000_000_000 + number * 1_234_567}"
            path = f"photos/batch-{first // PHOTOS_A_FOLDER:05d}/{name}.jpg"
            yield File(path=path, size_bytes=size, version=version)


def source(count: int) -> Source:
    return Source(kind="photos", root="/nowhere", photos=PhotoTable.of(files(count)))


def settings(count: int, chunk_photos: int) -> BuildConfig:
    return load_config(
        source={"root": "/nowhere"},
        landmarks={"provider": "mtcnn"},
        restore={"when": "never"},
        upscale={"when": "never"},
        select={"count": count},
        run={"chunk_photos": chunk_photos, "device": "cpu"},
    )


def job_in(run: Path, config: BuildConfig, photos: Source) -> Job:
    (run / "work").mkdir(parents=True, exist_ok=True)
    return make_job(config, photos, open_folder(run), "cpu")


def score_and_write(tasks: list[PhotoTask], job: Job, threshold: float) -> ChunkResult:
    """`stages.score_chunk` without pictures: the same rows into the same ledger, the same answer."""
    return _answer(tasks, job, threshold, append_rows)


def score_only(tasks: list[PhotoTask], job: Job, threshold: float) -> ChunkResult:
    """The same without a ledger, after the stage's millisecond."""
    time.sleep(STAGE_S)
    return _answer(tasks, job, threshold, _no_file)


def _answer(tasks: list[PhotoTask], job: Job, threshold: float, write: Callable) -> ChunkResult:
    """Rows made directly as plain values: a worker that is slower than the driver would only cost waiting."""
    luck = {task.ref.id: _luck(task.ref.id) for task in tasks}
    found = [_found(task, luck[task.ref.id]) for task in tasks]
    scored = [_scored(row, index, luck[row["photo_id"]]) for row in found for index in range(len(row["faces"]))]
    return ChunkResult(
        found=tuple(map(_finding, found)),
        found_file=write(job.folder("found", job.find_key), found),
        scored=tuple(map(Score.from_dict, scored)),
        scored_file=write(job.folder("scored", job.score_key), scored),
        to_retry=(),
        last_error="",
        cached=sum(1 for row in scored if row["score"] is not None and row["score"] >= threshold),
        seconds={"read": 0.1, "find": 0.2, "networks": 0.3, "align": 0.1, "score": 0.1, "encode": 0.1, "write": 0.1},
    )


def _no_file(_folder, _rows: Iterable) -> str:
    name = os.urandom(16).hex()
    return f"{name[:2]}/{name}.jsonl"


def _found(task: PhotoTask, luck: list[float]) -> dict:
    x, y = 200 + 100 * luck[3], 300 + 100 * luck[4]
    points = [[x, y], [x + 150 + luck[5], y], [x + 75, y + 80], [x + 10, y + 150 + luck[6]], [x + 140, y + 150]]
    face = {"landmarks": points, "landmark_source": "mtcnn", "confidence": 0.99 + luck[5] / 100}
    faces = 0 if luck[0] < FACELESS else 2 if luck[0] > 1 - TWO_FACES else 1
    return EMPTY_PHOTO | {
        "photo_id": task.ref.id,
        "version": task.ref.version,
        "faces": [face] * faces,
        "stage": "" if faces else "landmarks",
        "reason": "" if faces else "no face found",
    }


def _finding(row: dict) -> Finding:
    return Finding(
        photo_id=row["photo_id"],
        version=row["version"],
        num_faces=len(row["faces"]),
        unwanted=(),
        stage=row["stage"],
        reason=row["reason"],
    )


def _scored(photo: dict, index: int, luck: list[float]) -> dict:
    names = {"photo_id": photo["photo_id"], "version": photo["version"], "index": index}
    if luck[1] < REFUSED:
        return EMPTY_FACE | names | {"stage": "align", "reason": "the face reaches too far outside of its photo"}
    return (
        EMPTY_FACE
        | names
        | {
            "score": 100 * (luck[2] if index == 0 else luck[3]),
            "parts": {name: luck[4] * number for number, name in enumerate(SCORE_PARTS)},
            "quad": [[600 * luck[5], 800 * luck[6]], [600 * luck[5], 900], [700.5, 900.25], [700.5, 800 * luck[6]]],
            "zoom": 1 + luck[4],
            "restored": True,
            "upscaled": luck[3] < 0.5,
            "padded": luck[4] < 0.2,
            "pixel_sha256": f"{int(2**64 * luck[2]):064x}",
        }
    )


def _luck(id: str) -> list[float]:
    """Seven numbers in [0, 1) that depend on nothing but the id."""
    digest = hashlib.sha512(id.encode()).digest()
    return [number / 2**64 for number in struct.unpack("<7Q", digest[:56])]


class WorkerBeside:
    """A process that runs a stage: all that reaches the driver are bytes, as from a cluster; as a context.

    Its `map_bounded` and `scheduler_info` stand for Dask's, so that what is measured is the driver without Dask.
    """

    def __init__(self, function: Callable) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function), daemon=True)

    def __enter__(self) -> "WorkerBeside":
        self._process.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._pipe.send_bytes(b"")
        self._process.join()

    def scheduler_info(self, **_options) -> dict:
        """One worker."""
        return {"workers": {"beside": {}}}

    def map_bounded(self, _client, _function, chunks, *, arguments, expected=None) -> Iterator[Done]:
        """Yield what the other process answers, in order."""
        flight: deque = deque()
        for chunk in chunks:
            flight.append(chunk)
            self._pipe.send_bytes(pickle.dumps((chunk, *arguments())))
            if len(flight) >= IN_FLIGHT:
                yield Done(flight.popleft(), pickle.loads(self._pipe.recv_bytes()), STAGE_S)
        while flight:
            yield Done(flight.popleft(), pickle.loads(self._pipe.recv_bytes()), STAGE_S)


def _serve(pipe, function: Callable) -> None:
    """Answer until an empty message; answers wait in a thread of their own, so that nobody blocks the other."""
    answers: deque = deque()
    waiting = threading.Semaphore(0)

    def send() -> None:
        while True:
            waiting.acquire()
            answer = answers.popleft()
            if answer is None:
                return
            pipe.send_bytes(answer)

    sender = threading.Thread(target=send)
    sender.start()
    while data := pipe.recv_bytes():
        answers.append(pickle.dumps(function(*pickle.loads(data))))
        waiting.release()
    answers.append(None)
    waiting.release()
    sender.join()
