"""What is left to do follows from the rows, the photos' versions and today's settings."""

from dataclasses import replace

import pytest

from hqdata.record import PhotoRef
from pipelines.config import LandmarksConfig
from pipelines.knowledge import Knowledge
from pipelines.rows import FoundFace, FoundPhoto, ScoredFace

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


def scored(id: str, index: int = 0, version: str = "1", **values) -> ScoredFace:
    return ScoredFace(photo_id=id, version=version, index=index, score=0.5, **values)


def knowledge(*refs: PhotoRef, settings: LandmarksConfig = ALL, rows: tuple = (), scores: tuple = ()) -> Knowledge:
    known = Knowledge({r.id: r for r in refs}, settings)
    known.add(found=rows, scored=scores)
    return known


def test_an_unknown_photo_is_to_be_found():
    (task,) = knowledge(ref("a")).to_do()
    assert (task.ref.id, task.found) == ("a", None)


def test_a_scored_photo_is_done():
    assert knowledge(ref("a"), rows=(found("a", face(40)),), scores=(scored("a"),)).to_do() == []


def test_a_photo_with_a_missing_face_keeps_its_landmarks():
    rows = (found("a", face(40), face(30)),)
    (task,) = knowledge(ref("a"), rows=rows, scores=(scored("a", 0),)).to_do()
    assert task.found == rows[0]
    assert task.skip == (0,)


@pytest.mark.parametrize("settings", [replace(ALL, faces="largest"), replace(ALL, min_face_px=130.0)])
def test_faces_that_settings_leave_out_need_no_work_and_are_dropped_with_a_reason(settings: LandmarksConfig):
    known = knowledge(ref("a"), settings=settings, rows=(found("a", face(40), face(30)),), scores=(scored("a"),))
    assert known.to_do() == []
    assert [row.id for row in known.faces()] == ["a-0"]
    (dropped,) = known.dropped()
    assert (dropped.id, dropped.stage, dropped.source) == ("a-1", "landmarks", "a.jpg")
    assert dropped.reason


def test_a_replaced_photo_is_done_again():
    known = knowledge(ref("a", "2"), rows=(found("a", face(40)),), scores=(scored("a"),))
    assert [task.found for task in known.to_do()] == [None]
    assert known.faces() == []


def test_a_photo_that_is_gone_leaves_no_row():
    known = knowledge(ref("b"), rows=(found("a", face(40)), found("b", face(40))), scores=(scored("a"), scored("b")))
    assert [row.id for row in known.faces()] == ["b-0"]


def test_a_refused_photo_and_a_refused_face_are_done_and_listed():
    unreadable = FoundPhoto(photo_id="a", version="1", stage="read", reason="the file is empty")
    refused = ScoredFace(photo_id="b", version="1", index=0, stage="align", reason="too far outside")
    known = knowledge(ref("a"), ref("b"), rows=(unreadable, found("b", face(40))), scores=(refused,))
    assert known.to_do() == []
    assert [(row.id, row.stage) for row in known.dropped()] == [("a", "read"), ("b-0", "align")]


def test_the_order_of_work_does_not_depend_on_the_order_of_listing():
    refs = [ref(str(number)) for number in range(20)]
    forwards, backwards = knowledge(*refs).to_do(), knowledge(*reversed(refs)).to_do()
    assert forwards == backwards
    assert [task.ref.id for task in forwards] != sorted(r.id for r in refs)


def test_a_photo_found_again_is_judged_again():
    known = knowledge(ref("a"), rows=(found("a", face(40)),), scores=(scored("a", 0), scored("a", 1)))
    assert [row.index for row in known.faces()] == [0]
    known.add(found=(found("a", face(40), face(30)),), scored=())
    assert [row.index for row in known.faces()] == [0, 1]
