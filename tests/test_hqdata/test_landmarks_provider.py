import subprocess
import sys

import numpy as np
import pytest

from hqdata.landmarks import LandmarkProvider, open_provider, to_five_points
from hqdata.record import Photo, PhotoRef, Refused

POINTS = ((30.0, 40.0), (60.0, 41.0), (45.0, 55.0), (34.0, 70.0), (57.0, 71.0))


def photo(landmarks=POINTS):
    ref = PhotoRef(id="000001", path="000001.jpg", size_bytes=1, version="1", landmarks=landmarks)
    return Photo(ref=ref, image=np.zeros((100, 90, 3), np.uint8))


def test_annotations_are_handed_on_unchanged():
    (faces,) = open_provider("annotations").find([photo()])
    np.testing.assert_array_equal(faces[0].landmarks, POINTS)
    assert faces[0].landmarks.dtype == np.float64
    assert (faces[0].landmark_source, faces[0].confidence) == ("annotations", 1.0)


def test_a_photo_without_annotation_is_refused_and_does_not_stop_its_batch_mates():
    outcomes = open_provider("annotations").find([photo(), photo(None), photo()])
    assert [type(outcome) for outcome in outcomes] == [list, Refused, list]
    assert str(outcomes[1]) == "landmarks: the source has no annotation for this photo"


def test_a_degenerate_annotation_is_refused_with_the_reason():
    (outcome,) = open_provider("annotations").find([photo(((0.0, 0.0),) * 5)])
    assert str(outcome).startswith("landmarks: bad annotation: the landmarks coincide")


def test_annotations_are_a_landmark_provider():
    assert isinstance(open_provider("annotations"), LandmarkProvider)


def test_an_unknown_provider_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown landmark provider 'dlib'; choose one of annotations, mtcnn"):
        open_provider("dlib")


def test_annotations_do_not_import_torch():
    code = "import sys, hqdata.landmarks as l; l.open_provider('annotations'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_68_points_give_eye_centres_nose_tip_and_mouth_corners():
    points = np.zeros((68, 2), np.float32)
    points[36:42] = [[20, 30], [22, 28], [26, 28], [28, 30], [26, 32], [22, 32]]
    points[42:48] = points[36:42] + np.array([30, 1])
    points[30], points[48], points[54] = (39, 50), (27, 66), (52, 67)
    assert to_five_points(points).tolist() == [[24, 30], [54, 31], [39, 50], [27, 66], [52, 67]]


def test_another_number_of_points_is_refused():
    with pytest.raises(ValueError, match=r"must have shape \(68, 2\), got \(5, 2\)"):
        to_five_points(np.zeros((5, 2)))
