"""The demo source: reproducible photos in CelebA's layout, with a truth that holds for the pixels."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from hqdata.pixels import decode_photo
from hqdata.sources import open_source, read_bytes
from hqdata.sources.degradations import DEGRADATIONS
from hqdata.sources.demo import PORTRAIT_LANDMARKS, write_demo_source

NUM_PHOTOS = 24


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo_source(folder, num_photos=NUM_PHOTOS, seed=3)
    return folder


@pytest.fixture(scope="module")
def photos(demo):
    return json.loads((demo / "truth.json").read_text())["photos"]


@pytest.fixture(scope="module")
def source(demo):
    return open_source(str(demo))


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def from_photo_to_portrait(image, truth, size):
    """Return the photo mapped back onto the portrait's top left `size` (height, width) by the recorded geometry."""
    matrix = np.array(truth["portrait_to_photo"])
    return cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def test_it_opens_as_celeba_with_every_photo_and_column(source):
    assert (source.kind, len(source.refs())) == ("celeba", NUM_PHOTOS)
    assert list(source.attribute_names) == ["Blurry", "Eyeglasses", "Male", "Smiling", "Young", "identity", "partition"]


def test_annotations_are_the_truth_rounded(source, photos):
    annotated = np.array([ref.landmarks for ref in source.refs()])
    assert np.array_equal(annotated, np.rint([photo["landmarks"] for photo in photos]))


def test_recorded_sizes_are_the_photos_sizes(source, photos):
    shapes = [decode_photo(read_bytes(source.root, ref)).shape[:2] for ref in source.refs()]
    assert shapes == [(photo["height"], photo["width"]) for photo in photos]


def test_left_stays_left_in_the_picture_also_when_mirrored(photos):
    points = np.array([photo["landmarks"] for photo in photos])
    assert {photo["mirrored"] for photo in photos} == {True, False}
    assert (points[:, 0, 0] < points[:, 1, 0]).all()
    assert (points[:, 3, 0] < points[:, 4, 0]).all()


def test_geometry_leads_back_to_the_portraits_face(source, photos):
    sharp = [i for i, photo in enumerate(photos) if photo["degradation"] == "none" and 128 <= photo["crop_px"] < 400]
    index = sharp[0]
    image = decode_photo(read_bytes(source.root, source.refs()[index]))
    back = from_photo_to_portrait(image, photos[index], astronaut().shape[:2])[70:150, 190:260].astype(float)
    face = astronaut()[70:150, 190:260].astype(float)
    correlation = [np.corrcoef(back[:, :, c].ravel(), face[:, :, c].ravel())[0, 1] for c in range(3)]
    # The light differs, so correlation. Half a pixel of shift gives 0.985.
    assert min(correlation) > 0.988


def test_every_degradation_occurs_and_two_in_five_are_pristine(photos):
    counts = Counter(photo["degradation"] for photo in photos)
    pristine = [photo for photo in photos if photo["degradation"] == "none" and photo["effective_px"] >= 128]
    assert set(counts) == {"none", *DEGRADATIONS}
    assert len(pristine) == round(0.4 * NUM_PHOTOS)


def test_faces_reach_from_60_to_2000_pixels(photos):
    sizes = [photo["face_px"] for photo in photos]
    assert (min(sizes), max(sizes)) == (60.0, 2000.0)


def test_effective_pixels_never_exceed_the_portraits_or_the_photos(photos):
    points = np.array(PORTRAIT_LANDMARKS)
    most = 4 * np.linalg.norm(points[1] - points[0])
    assert all(photo["effective_px"] <= min(most, photo["crop_px"]) + 0.01 for photo in photos)


def test_some_faces_are_cut_by_the_frame_but_never_their_landmarks(photos):
    centres = np.array([np.mean(photo["landmarks"], axis=0) for photo in photos])
    halves = np.array([photo["crop_px"] / 2 for photo in photos])
    sizes = np.array([[photo["width"], photo["height"]] for photo in photos])
    room = np.minimum(centres, sizes - centres).min(axis=1)
    assert (room < 0.9 * halves).sum() >= 3
    points = np.array([photo["landmarks"] for photo in photos])
    assert (points >= 0).all()
    assert (points <= sizes[:, None] - 1).all()


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write_demo_source(tmp_path / name, num_photos=3, seed=seed)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a") != content(tmp_path / "c")


def test_a_finished_folder_is_left_as_it_is(demo):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    write_demo_source(demo, num_photos=NUM_PHOTOS, seed=3)
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*")} == before


def test_an_unfinished_demo_is_made_again(tmp_path, monkeypatch):
    write_demo_source(tmp_path / "whole", num_photos=2)
    monkeypatch.setattr("hqdata.sources.demo._write_tables", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_demo_source(tmp_path / "cut", num_photos=2)
    monkeypatch.undo()
    write_demo_source(tmp_path / "cut", num_photos=2)
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_folder_with_the_real_celeba_is_refused_untouched(tmp_path):
    picture = tmp_path / "img_celeba" / "000001.jpg"
    picture.parent.mkdir()
    picture.write_bytes(b"real")
    with pytest.raises(ValueError, match="img_celeba; name an empty or new folder"):
        write_demo_source(tmp_path)
    assert picture.read_bytes() == b"real"


@pytest.mark.parametrize("num_photos", [2, 4])
def test_another_demo_in_the_folder_is_refused(tmp_path, num_photos):
    write_demo_source(tmp_path, num_photos=3)
    with pytest.raises(ValueError, match="holds another demo"):
        write_demo_source(tmp_path, num_photos=num_photos)


def test_a_folder_with_anything_else_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holiday\.jpg"):
        write_demo_source(tmp_path)
    assert (tmp_path / "holiday.jpg").read_bytes() == b"mine"


def test_no_photos_are_refused(tmp_path):
    with pytest.raises(ValueError, match="num_photos must be at least 1, got 0"):
        write_demo_source(tmp_path, num_photos=0)
