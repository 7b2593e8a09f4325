"""The driver's columns say the same as dictionaries of whole rows, whatever comes in, and the same after a restart."""

import tempfile
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.knowing import SimpleKnowledge

from hqdata.record import PhotoRef
from hqdata.sources import Source
from hqdata.storage import open_folder
from pipelines import knowledge
from pipelines.config import BuildConfig, LandmarksConfig
from pipelines.job import Job, make_job
from pipelines.knowledge import Knowledge
from pipelines.ledger import append_rows
from pipelines.rows import ChunkResult, Finding, FoundFace, FoundPhoto, Score, ScoredFace, to_dict
from pipelines.wanted_faces import finding_of, wanted_faces

IDS = ("a", "B", "a-0", "a-1", "10", "9", "%FF.jpg", "é", "a'\"b", "\udcff")
REASONS = st.sampled_from(["too small", "too far outside", "it is missing"])
VERSIONS = st.sampled_from(["1", "1", "1", "2"])


def ref(id: str) -> PhotoRef:
    return PhotoRef(id=id, path=id, size_bytes=1, version="1")


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    refused = draw(st.booleans()) and draw(st.booleans())
    num_faces = 0 if refused else draw(st.integers(1, 3))
    unwanted = draw(st.dictionaries(st.integers(0, num_faces - 1), REASONS)) if num_faces else {}
    return Finding(
        photo_id=draw(st.sampled_from(IDS)),
        version=draw(VERSIONS),
        num_faces=num_faces,
        unwanted=tuple(unwanted.items()),
        stage="read" if refused else "",
        reason=draw(REASONS) if refused else "",
    )


@st.composite
def scores(draw: st.DrawFn) -> Score:
    refused = draw(st.booleans()) and draw(st.booleans())
    return Score(
        photo_id=draw(st.sampled_from(IDS)),
        version=draw(VERSIONS),
        index=draw(st.integers(0, 3)),
        score=None if refused else draw(st.sampled_from([-np.inf, 0.0, 0.5, 0.5, np.inf])),
        upscaled=draw(st.booleans()),
        padded=draw(st.booleans()),
        stage="align" if refused else "",
        reason=draw(REASONS) if refused else "",
    )


ACCUSATIONS = st.tuples(st.sampled_from(IDS), VERSIONS, st.just("the worker process died"))
FILES = st.lists(findings(), max_size=6, unique_by=lambda row: row.photo_id) | st.lists(scores(), max_size=9)
EVENTS = st.lists(FILES | ACCUSATIONS, max_size=30)


def require_equal(known: Knowledge, simple: SimpleKnowledge) -> None:
    tasks = [known.task(number) for number in known.to_do().tolist()]
    assert [(task.ref.id, task.found_file, task.skip) for task in tasks] == simple.to_do()
    assert [known.face_id(row) for row in known.rated_rows().tolist()] == simple.rated()
    for count in (0, 1, 3, 99):
        assert [known.face_id(row) for row in known.best(count).tolist()] == simple.best(count)
    assert known.num_scored() == len(simple.best(99))
    for column in ("upscaled", "padded"):
        assert known.count_of(column, known.best(3)) == simple.count_of(column, simple.best(3))
    assert [(row.id, row.stage, row.reason) for row in known.dropped()] == list(simple.dropped())
    assert known.num_dropped_by_reason() == simple.counts()


def feed(known: Knowledge, simple: SimpleKnowledge, events: Sequence[Any]) -> None:
    for number, event in enumerate(events):
        file = f"{number}.jsonl"
        if isinstance(event, tuple):
            known.quarantine(*event)
            simple.quarantine(*event)
        elif event and isinstance(event[0], Finding):
            known.add_findings(event, file)
            for finding in event:
                simple.add_finding(finding, file)
        else:
            known.add_scores(event, file)
            for score in event:
                simple.add_score(score)


@given(st.data())
@settings(max_examples=10, deadline=None)
def test_a_restarted_driver_knows_what_the_first_one_knew(data: st.DataObject):
    refs = [ref(id) for id in IDS]
    with tempfile.TemporaryDirectory() as place:
        job = make_job(BuildConfig(), Source(kind="photos", root=place, photos=refs), open_folder(place), "cpu")
        known = Knowledge(refs, job.landmarks)
        ids = data.draw(st.permutations(IDS))
        while ids:
            size = data.draw(st.integers(1, 4))
            chunk, ids = ids[:size], ids[size:]
            known.add_result(chunk_result(job, [data.draw(worked_on(id)) for id in chunk]))
        accused = data.draw(st.sets(st.sampled_from(IDS), max_size=2))
        for id in sorted(accused):
            append_rows(job.folder("quarantined", job.score_key), [{"photo_id": id, "version": "1", "reason": "died"}])
            known.quarantine(id, "1", "died")
        again = Knowledge.load(refs, job)
    assert [again.task(number) for number in again.to_do()] == [known.task(number) for number in known.to_do()]
    assert faces(again, again.rated_rows()) == faces(known, known.rated_rows())
    assert faces(again, again.best(5)) == faces(known, known.best(5))
    assert list(again.dropped()) == list(known.dropped())
    assert again.num_dropped_by_reason() == known.num_dropped_by_reason()


def faces(known: Knowledge, rows: np.ndarray) -> list[tuple[str, str, str | None]]:
    return [(known.face_id(row), str(known.score_of(row)), known.scored_file(row)) for row in rows.tolist()]


@st.composite
def worked_on(draw: st.DrawFn, id: str) -> tuple[FoundPhoto, list[ScoredFace]]:
    """A photo and the scores of some of its wanted faces: a worker may have died before it wrote the others."""
    num_faces = draw(st.integers(0, 3))
    photo = FoundPhoto(
        photo_id=id,
        version="1",
        height=500,
        width=500,
        faces=tuple(a_face(draw(st.sampled_from([40.0, 130.0, 150.0]))) for _ in range(num_faces)),
        stage="" if num_faces else "landmarks",
        reason="" if num_faces else "no face found",
    )
    kept = [n for n in range(num_faces) if draw(st.integers(0, 3))]
    values = [draw(st.sampled_from([None, 0.25, 0.5])) for _ in kept]
    return photo, [
        ScoredFace(
            photo_id=id,
            version="1",
            index=n,
            score=value,
            stage="" if value else "align",
            reason="" if value else "odd",
        )
        for n, value in zip(kept, values, strict=True)
    ]


def a_face(eyes_px: float) -> FoundFace:
    points = (
        (100.0, 100.0),
        (100 + eyes_px, 100.0),
        (100 + eyes_px / 2, 120.0),
        (100.0, 200.0),
        (100 + eyes_px, 200.0),
    )
    return FoundFace(landmarks=points, landmark_source="mtcnn", confidence=1.0)


def chunk_result(job: Job, done: Sequence[tuple[FoundPhoto, list[ScoredFace]]]) -> ChunkResult:
    """Write rows down as a worker does."""
    found = [photo for photo, _ in done]
    wanted = {(row.photo_id, n) for row in found for n in wanted_faces(row, job.landmarks)[0]}
    scored = [row for _, rows in done for row in rows if (row.photo_id, row.index) in wanted]
    return ChunkResult(
        found=tuple(finding_of(row, job.landmarks) for row in found),
        found_file=append_rows(job.folder("found", job.find_key), map(to_dict, found)),
        scored=tuple(map(Score.of, scored)),
        scored_file=append_rows(job.folder("scored", job.score_key), map(to_dict, scored)),
        to_retry=(),
        last_error="",
        cached=0,
        seconds={},
    )


@given(EVENTS, st.permutations(IDS), st.integers(0, len(IDS)))
@settings(max_examples=150, deadline=None)
def test_columns_agree_with_the_definition_whatever_comes_in(events: list[Any], ids: list[str], there: int):
    refs = [ref(id) for id in ids[:there]]
    known, simple = Knowledge(refs, LandmarksConfig()), SimpleKnowledge(refs)
    feed(known, simple, events)
    with patch.object(knowledge, "PHOTOS_AT_ONCE", 4):
        require_equal(known, simple)
