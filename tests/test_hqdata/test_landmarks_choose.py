import numpy as np
import pytest

from hqdata.landmarks import choose_faces, distinct_faces, face_side_px, landmark_fault, largest_first
from hqdata.record import Face

UPRIGHT = np.array([[100.0, 100.0], [160.0, 100.0], [130.0, 130.0], [105.0, 170.0], [155.0, 170.0]])
SIZE = (400, 500)


def face(landmarks, confidence=0.9):
    return Face(landmarks=np.asarray(landmarks, dtype=np.float64), landmark_source="test", confidence=confidence)


def around(x, y, scale=1.0):
    return face((UPRIGHT - UPRIGHT.mean(axis=0)) * scale + [x, y])


def test_face_side_is_the_side_of_the_official_rectangle():
    assert face_side_px(UPRIGHT) == pytest.approx(2 * 126.0)


def test_face_side_follows_the_eyes_when_these_are_wider_than_the_face_is_long():
    wide = UPRIGHT * [2.0, 1.0]
    assert face_side_px(wide) == pytest.approx(2 * 2.0 * 120.0)


def test_largest_face_comes_first_and_ties_go_from_top_to_bottom():
    faces = [around(100, 300), around(300, 100), around(200, 200, scale=2.0), around(100, 100)]
    ordered = largest_first(faces)
    assert [tuple(f.landmarks.mean(axis=0).round()) for f in ordered] == [
        (200, 200),
        (100, 100),
        (300, 100),
        (100, 300),
    ]


def test_order_does_not_depend_on_the_order_given():
    faces = [around(x, y, scale=s) for x, y, s in [(100, 300, 1), (300, 100, 1), (200, 200, 2), (150, 150, 0.5)]]
    assert largest_first(faces) == largest_first(faces[::-1])


def test_all_keeps_every_face():
    faces = [around(100, 100), around(300, 300, scale=0.8)]
    kept, dropped = choose_faces(faces, image_size=SIZE, which="all")
    assert kept == faces
    assert dropped == []


def test_largest_keeps_one_face_and_says_why_not_the_others():
    small, large = around(100, 100), around(300, 200, scale=1.5)
    kept, dropped = choose_faces([small, large], image_size=SIZE, which="largest")
    assert kept == [large]
    assert dropped == [(small, "not the largest face of its photo")]


def test_a_small_face_is_dropped_with_its_size_and_the_limit():
    kept, dropped = choose_faces([around(100, 100, scale=0.25)], image_size=SIZE, min_face_px=64)
    assert kept == []
    assert dropped[0][1] == "the face's crop has a side of 63.0 px, less than 64 px"


def test_an_unusable_face_does_not_count_as_the_largest():
    good, nowhere = around(100, 100), around(-5000, 100, scale=3.0)
    kept, dropped = choose_faces([nowhere, good], image_size=SIZE, which="largest")
    assert kept == [good]
    assert "outside the photo" in dropped[0][1]


def test_an_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="'all' or 'largest', got 'best'"):
        choose_faces([], image_size=SIZE, which="best")


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (np.full((5, 2), 50.0), "coincide"),
        (np.where(np.arange(10).reshape(5, 2) == 3, np.nan, UPRIGHT), "not a finite number"),
        (np.where(np.arange(10).reshape(5, 2) == 3, np.inf, UPRIGHT), "not a finite number"),
        (UPRIGHT + np.array([5000.0, 0.0]), "outside the photo of 500 x 400 px"),
        (UPRIGHT - [0.0, 300.0], "outside the photo"),
        (np.array([[170.0, 100], [100, 100], [135, 130], [160, 170], [110, 170]]), "no direction"),
        (np.zeros((4, 2)), "shape"),
    ],
    ids=["equal", "nan", "infinite", "far right", "above", "mirrored", "four points"],
)
def test_points_without_a_crop_are_refused_with_the_reason(landmarks, reason):
    assert reason in landmark_fault(landmarks, SIZE)


@pytest.mark.parametrize("landmarks", [UPRIGHT, UPRIGHT[:, ::-1] * [1, -1] + [0, 400], UPRIGHT - [100.0, 90.0]])
def test_usable_points_have_no_fault(landmarks):
    assert landmark_fault(landmarks, SIZE) is None


def test_of_faces_on_one_place_the_surest_stays_whichever_way_up():
    sure = around(200, 200)
    upside_down = face(400 - sure.landmarks, confidence=0.8)
    shifted = face(sure.landmarks + 10.0, confidence=0.85)
    neighbour = face(sure.landmarks + np.array([150.0, 0.0]), confidence=0.7)
    assert distinct_faces([upside_down, neighbour, shifted, sure]) == [sure, neighbour]
