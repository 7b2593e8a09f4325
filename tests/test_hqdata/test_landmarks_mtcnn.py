"""The embedded provider on a real portrait; expectations on accuracy are shares of the distance between the eyes."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from hqdata.landmarks import LandmarkProvider, open_provider
from hqdata.record import Photo, PhotoRef, Refused

BY_EYE = np.array([[202.9, 100.7], [246.4, 102.6], [223.5, 126.7], [202.6, 139.0], [244.4, 140.0]])
"""The astronaut's points as a person sees them in an enlargement, to about a pixel."""
MIRRORED = [1, 0, 2, 4, 3]


@pytest.fixture(scope="module")
def provider():
    return open_provider("mtcnn")


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


def photo(image):
    ref = PhotoRef(id="a", path="a.png", size_bytes=1, version="1")
    return Photo(ref=ref, image=np.ascontiguousarray(image))


def only_face(provider, image):
    (outcome,) = provider.find([photo(image)])
    assert [face.landmark_source for face in outcome] == ["mtcnn"]
    return outcome[0].landmarks


@pytest.fixture(scope="module")
def found(provider, astronaut):
    return only_face(provider, astronaut)


def error(landmarks, truth=BY_EYE):
    return np.linalg.norm(landmarks - truth, axis=1).max() / np.linalg.norm(truth[1] - truth[0])


def bits(outcomes):
    return [[(face.landmarks.tobytes(), face.confidence) for face in faces] for faces in outcomes]


def test_mtcnn_is_a_landmark_provider(provider):
    assert isinstance(provider, LandmarkProvider)


def test_the_portrait_has_one_face_where_a_person_sees_it(found):
    assert found.dtype == np.float64
    assert error(found) < 0.05


def test_confidence_is_a_probability_near_one(provider, astronaut):
    (faces,) = provider.find([photo(astronaut)])
    assert 0.99 < faces[0].confidence <= 1.0


@pytest.mark.parametrize("name", ["chelsea", "rocket", "coffee"])
def test_a_picture_without_people_has_no_face(provider, name):
    assert provider.find([photo(getattr(skimage.data, name)())]) == [[]]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (12, 12), (200, 300)])
def test_a_flat_picture_of_any_shape_has_no_face(provider, size):
    assert provider.find([photo(np.full((*size, 3), 128, np.uint8))]) == [[]]


def test_noise_has_no_face(provider):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert provider.find([photo(noise)]) == [[]]


def test_a_grey_looking_portrait_gives_the_same_points(provider, astronaut, found):
    grey = cv2.cvtColor(cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert error(only_face(provider, grey), found) < 0.05


def test_the_mirror_picture_gives_the_mirrored_points(provider, astronaut, found):
    mirrored = only_face(provider, astronaut[:, ::-1])[MIRRORED]
    mirrored[:, 0] = astronaut.shape[1] - 1 - mirrored[:, 0]
    assert np.abs((mirrored - found).mean(axis=0)).max() < 0.4  # pixels; a convention off by half would give 1
    assert error(mirrored, found) < 0.02


@pytest.mark.parametrize(
    ("factor", "interpolation"),
    [(2, cv2.INTER_NEAREST), (2, cv2.INTER_CUBIC), (4, cv2.INTER_NEAREST), (0.5, cv2.INTER_AREA), (3, cv2.INTER_CUBIC)],
)
def test_enlarging_or_reducing_the_picture_moves_no_point(provider, astronaut, found, factor, interpolation):
    resized = cv2.resize(astronaut, None, fx=factor, fy=factor, interpolation=interpolation)
    back = (only_face(provider, resized) + 0.5) / factor - 0.5
    assert np.abs((back - found).mean(axis=0)).max() < 0.1  # pixels; edges taken for centres would give 0.25 or more
    assert error(back, found) < 0.01


@pytest.mark.parametrize("degrees", [-60, -45, -30, -15, 15, 30, 45, 60])
def test_points_turn_with_the_head(provider, astronaut, found, degrees):
    centre = tuple(found.mean(axis=0))
    turn = cv2.getRotationMatrix2D(centre, degrees, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    assert error(only_face(provider, turned), found @ turn[:, :2].T + turn[:, 2]) < 0.03


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_quarter_turns_give_the_same_points_in_the_frame_of_the_turned_picture(
    provider, astronaut, found, quarter_turns
):
    landmarks = only_face(provider, np.rot90(astronaut[:400], quarter_turns))
    x, y = found.T
    expected = {1: (y, 511 - x), 2: (511 - x, 399 - y), 3: (399 - y, x)}[quarter_turns]
    assert error(landmarks, np.column_stack(expected)) < 0.03


def test_two_people_are_two_faces_the_larger_first(provider, astronaut):
    small = cv2.resize(astronaut[40:240, 120:320], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    both = np.full((240, 400, 3), 90, np.uint8)
    both[20:220, 180:380] = astronaut[40:240, 120:320]
    both[60:180, 20:140] = small
    (faces,) = provider.find([photo(both)])
    assert error(faces[0].landmarks, BY_EYE - [120, 40] + [180, 20]) < 0.06
    assert error(faces[1].landmarks, (BY_EYE - [120, 40] + 0.5) * 0.6 - 0.5 + [20, 60]) < 0.06
    assert len(faces) == 2


def test_a_small_face_in_a_large_photo_is_found_by_the_second_look(provider, astronaut):
    large = np.full((1600, 2400, 3), 90, np.uint8)
    large[700:800, 1000:1100] = cv2.resize(astronaut[40:240, 120:320], (100, 100), interpolation=cv2.INTER_AREA)
    expected = (BY_EYE - [120, 40] + 0.5) / 2 - 0.5 + [1000, 700]
    assert error(only_face(provider, large), expected) < 0.08


def test_a_batch_equals_single_photos_bit_for_bit(provider, astronaut):
    images = [astronaut, skimage.data.chelsea(), cv2.resize(astronaut, (300, 300)), np.zeros((1, 1, 3), np.uint8)]
    photos = [photo(image) for image in images]
    together, alone = provider.find(photos), [provider.find([one])[0] for one in photos]
    assert [len(faces) for faces in together] == [1, 0, 1, 0]
    assert bits(together) == bits(alone) == bits(provider.find(photos[::-1])[::-1])


def test_the_number_of_threads_does_not_change_a_bit(provider, astronaut):
    alone = bits(provider.find([photo(astronaut)]))
    torch.set_num_threads(2)
    try:
        assert bits(provider.find([photo(astronaut)])) == alone
    finally:
        torch.set_num_threads(1)


def test_a_picture_of_another_kind_is_refused_and_does_not_stop_its_batch_mates(provider, astronaut):
    outcomes = provider.find([photo(astronaut.astype(np.float32)), photo(astronaut[:, :, 0]), photo(astronaut)])
    assert [type(outcome) for outcome in outcomes] == [Refused, Refused, list]
    assert "expected a uint8 picture (h, w, 3), got float32" in str(outcomes[0])
