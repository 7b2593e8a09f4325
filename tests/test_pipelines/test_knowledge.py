"""What is left to do follows from the rows, the photos' versions and today's settings."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hqdata.record import PhotoRef
from hqdata.sources import Source
from hqdata.storage import open_folder
from pipelines.config import BuildConfig, LandmarksConfig
from pipelines.job import make_job
from pipelines.knowledge import Knowledge, Quarantine
from pipelines.rows import Finding, FoundFace, FoundPhoto, PhotoTask, Score, ScoredFace
from pipelines.stopping import BuildStopped, SchedulerLost
from pipelines.wanted_faces import finding_of

ALL = LandmarksConfig(faces="all", min_face_px=20)


def ref(id: str, version: str = "1") -> PhotoRef:
    return PhotoRef(id=id, path=f"{id}.jpg", size_bytes=1, version=version)


def face(eyes_px: float) -> FoundFace:
    points = (
        (100, 100),
        (100 + eyes_px, 100),
        (100 + eyes_px / 2, 120),
        (100, 100 + eyes_px),
        (100 + eyes_px, 100 + eyes_px),
    )
    return FoundFace(landmarks=points, landmark_source="mtcnn", confidence=1.0)


def found(id: str, *faces: FoundFace, version: str = "1") -> FoundPhoto:
    return FoundPhoto(photo_id=id, version=version, height=500, width=500, faces=faces)


def scored(id: str, index: int = 0, version: str = "1", score: float = 0.5) -> ScoredFace:
    return ScoredFace(photo_id=id, version=version, index=index, score=score)


def knowledge(*refs: PhotoRef, settings: LandmarksConfig = ALL, rows: tuple = (), scores: tuple = ()) -> Knowledge:
    known = Knowledge(refs, settings)
    known.add_findings([finding_of(row, settings) for row in rows], "found.jsonl")
    known.add_scores([Score.of(row) for row in scores], "scored.jsonl")
    return known


def tasks(known: Knowledge) -> list[PhotoTask]:
    return [known.task(number) for number in known.to_do().tolist()]


def rated(known: Knowledge) -> list[str]:
    return [known.face_id(row) for row in known.rated_rows().tolist()]


def test_an_unknown_photo_is_to_be_found():
    assert tasks(knowledge(ref("a"))) == [PhotoTask(ref=ref("a"))]


def test_a_scored_photo_is_done():
    assert tasks(knowledge(ref("a"), rows=(found("a", face(40)),), scores=(scored("a"),))) == []


def test_a_photo_with_a_missing_face_keeps_its_landmarks():
    known = knowledge(ref("a"), rows=(found("a", face(40), face(30)),), scores=(scored("a", 0),))
    assert tasks(known) == [PhotoTask(ref=ref("a"), found_file="found.jsonl", skip=(0,))]


@pytest.mark.parametrize("settings", [replace(ALL, faces="largest"), replace(ALL, min_face_px=130.0)])
def test_faces_that_settings_leave_out_need_no_work_and_are_dropped_with_a_reason(settings: LandmarksConfig):
    known = knowledge(
        ref("a"), settings=settings, rows=(found("a", face(40), face(30)),), scores=(scored("a"), scored("a", 1))
    )
    assert tasks(known) == []
    assert rated(known) == ["a-0"]
    (dropped,) = known.dropped()
    assert (dropped.id, dropped.stage, dropped.source) == ("a-1", "landmarks", "a.jpg")
    assert dropped.reason


def test_a_replaced_photo_is_done_again():
    known = knowledge(ref("a", "2"), rows=(found("a", face(40)),), scores=(scored("a"),))
    assert tasks(known) == [PhotoTask(ref=ref("a", "2"))]
    assert rated(known) == []


def test_a_photo_that_is_gone_leaves_no_row():
    known = knowledge(ref("b"), rows=(found("a", face(40)), found("b", face(40))), scores=(scored("a"), scored("b")))
    assert rated(known) == ["b-0"]


def test_a_refused_photo_and_a_refused_face_are_done_and_listed():
    unreadable = FoundPhoto(photo_id="a", version="1", stage="read", reason="the file is empty")
    refused = ScoredFace(photo_id="b", version="1", index=0, stage="align", reason="too far outside")
    known = knowledge(ref("a"), ref("b"), rows=(unreadable, found("b", face(40))), scores=(refused,))
    assert tasks(known) == []
    assert {(row.id, row.stage) for row in known.dropped()} == {("a", "read"), ("b-0", "align")}
    assert known.num_dropped_by_reason() == {("read", "the file is empty"): 1, ("align", "too far outside"): 1}


def test_the_order_of_work_does_not_depend_on_the_order_of_listing():
    refs = [ref(str(number)) for number in range(20)]
    forwards, backwards = tasks(knowledge(*refs)), tasks(knowledge(*reversed(refs)))
    assert forwards == backwards
    assert [task.ref.id for task in forwards] != sorted(r.id for r in refs)


def test_a_photo_found_again_is_judged_again():
    known = knowledge(ref("a"), rows=(found("a", face(40)),), scores=(scored("a", 0),))
    known.add_findings([finding_of(found("a", face(40), face(30)), ALL)], "later.jsonl")
    assert tasks(known) == [PhotoTask(ref=ref("a"), found_file="later.jsonl")]
    assert rated(known) == []


def test_a_face_that_a_later_row_does_not_leave_out_is_to_be_done():
    known = Knowledge([ref("a")], ALL)
    row = Finding(photo_id="a", version="1", num_faces=2, unwanted=((1, "too small"),))
    known.add_findings([row], "found.jsonl")
    known.add_findings([replace(row, unwanted=((0, "too small"),))], "later.jsonl")
    assert tasks(known) == [PhotoTask(ref=ref("a"), found_file="later.jsonl", skip=(0,))]


def test_a_photo_may_have_more_faces_than_sixteen_bits_count():
    known = Knowledge([ref("a")], ALL)
    known.add_findings([Finding(photo_id="a", version="1", num_faces=65_536, unwanted=())], "found.jsonl")
    known.add_scores([Score.of(scored("a", 65_535))], "scored.jsonl")
    assert rated(known) == ["a-65535"]


def test_a_face_to_be_tried_again_is_in_no_file_though_others_of_its_chunk_are():
    refused = replace(scored("b"), score=None, stage="read", reason="it is missing", retry=True)
    known = knowledge(
        ref("a"), ref("b"), rows=(found("a", face(40)), found("b", face(40))), scores=(scored("a"), refused)
    )
    files = {known.face_id(row): known.scored_file(row) for row in known.rated_rows().tolist()}
    assert files == {"a-0": "scored.jsonl", "b-0": None}


def test_a_quarantined_photo_is_left_out_with_its_reason_until_it_is_replaced():
    known = knowledge(ref("a"), rows=(found("a", face(40)),))
    known.quarantine("a", "1", "the worker process died")
    assert tasks(known) == []
    assert [(row.id, row.stage, row.reason) for row in known.dropped()] == [("a", "worker", "the worker process died")]
    known = knowledge(ref("a", "2"))
    known.quarantine("a", "1", "the worker process died")
    assert len(tasks(known)) == 1


@pytest.mark.parametrize("error", [BuildStopped("broken"), SchedulerLost("gone"), KeyboardInterrupt(), None])
def test_who_was_accused_by_a_broken_environment_goes_free(error: BaseException | None, tmp_path: Path):
    source = Source(kind="photos", root=str(tmp_path), photos=(ref("a"),))
    job = make_job(BuildConfig(), source, open_folder(tmp_path / "run"), "cpu")
    with suppress(BaseException), Quarantine(job) as quarantine:
        quarantine.add(ref("a"), "the worker process died")
        if error is not None:
            raise error
    assert len(tasks(Knowledge.load(source.photos, job))) == int(isinstance(error, BuildStopped))


SOME_SCORES = st.lists(st.sampled_from([0.25, 0.5, 0.75]), max_size=30)


def knowledge_of(values: list[float]) -> Knowledge:
    ids = [f"p{number}" for number in range(len(values))]
    return knowledge(
        *map(ref, ids),
        rows=tuple(found(id, face(40)) for id in ids),
        scores=tuple(scored(id, score=value) for id, value in zip(ids, values, strict=True)),
    )


@given(SOME_SCORES, st.integers(0, 35))
def test_the_best_are_the_highest_scores_and_ties_go_by_id(values: list[float], count: int):
    ids = [f"p{number}" for number in range(len(values))]
    known = knowledge_of(values)
    chosen = [known.face_id(row) for row in known.best(count).tolist()]
    by_definition = sorted(zip(values, ids, strict=True), key=lambda pair: (-pair[0], f"{pair[1]}-0"))
    assert chosen == [f"{id}-0" for _, id in by_definition][:count]


@given(SOME_SCORES, st.integers(1, 35))
def test_ranks_runners_up_and_the_worst_belong_to_one_ranking(values: list[float], count: int):
    known = knowledge_of(values)
    ranking = known.best(len(values)).tolist()
    assert [known.rank_of(row) for row in ranking] == list(range(len(values)))
    assert known.runners_up(known.best(count), 5).tolist() == ranking[count : count + 5]
    assert known.worst(count).tolist() == ranking[-count:]


def test_faces_that_are_not_allowed_are_not_chosen():
    known = knowledge(
        *map(ref, "abc"),
        rows=tuple(found(id, face(40)) for id in "abc"),
        scores=tuple(scored(id, score=value) for id, value in zip("abc", (0.1, 0.9, 0.5), strict=True)),
    )
    allowed = np.array([known.face_id(row) != "b-0" for row in known.rated_rows().tolist()])
    assert [known.face_id(row) for row in known.best(2, allowed=allowed).tolist()] == ["c-0", "a-0"]
