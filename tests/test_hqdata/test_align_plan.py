import pickle

import numpy as np
import pytest

from hqdata.align import crop_quad, crop_side, plan_crop
from hqdata.record import Refused

FACE = np.array([(100.0, 100.0), (160, 100), (130, 130), (105, 170), (155, 170)])
TILTED = np.array([(300.0, 300.0), (360, 320), (320, 340), (285, 370), (330, 385)])
HUGE = np.array([(2000.0, 2000.0), (3200, 2000), (2600, 2600), (2100, 3300), (3100, 3300)])

GOLDEN = {
    "near the top": (
        FACE,
        (400, 400),
        {
            "quad": [(4.5, -18.5), (4.5, 233.5), (256.5, 233.5), (256.5, -18.5)],
            "side": 252.0,
            "zoom": 4.063492,
            "shrink": 1,
            "border": 25,
            "crop": (0, 0, 282, 259),
            "upscale": 8,
            "raw_padding": (0, 173, 0, 0),
            "padding": (605, 605, 605, 605),
            "sigma": 40.32,
            "canvas_quad": [(641.5, 457.5), (641.5, 2473.5), (2657.5, 2473.5), (2657.5, 457.5)],
            "canvas_size": (3282, 3466),
        },
    ),
    "tilted and inside": (
        TILTED,
        (700, 800),
        {
            "quad": [(247.25, 155.25), (166.25, 398.25), (409.25, 479.25), (490.25, 236.25)],
            "side": 256.1445,
            "zoom": 3.997744,
            "shrink": 1,
            "border": 26,
            "crop": (140, 129, 517, 506),
            "upscale": 4,
            "raw_padding": (0, 0, 0, 0),
            "padding": (0, 0, 0, 0),
            "sigma": 20.491559,
            "canvas_quad": [(429.5, 105.5), (105.5, 1077.5), (1077.5, 1401.5), (1401.5, 429.5)],
            "canvas_size": (1508, 1508),
        },
    ),
    "above 4096 px": (
        HUGE,
        (8984, 6732),
        {
            "quad": [(200.5, -269.5), (200.5, 4530.5), (5000.5, 4530.5), (5000.5, -269.5)],
            "side": 4800.0,
            "zoom": 0.213333,
            "shrink": 2,
            "border": 240,
            "crop": (0, 0, 2741, 2506),
            "upscale": 1,
            "raw_padding": (140, 375, 0, 0),
            "padding": (720, 720, 720, 720),
            "sigma": 48.0,
            "canvas_quad": [(820.75, 585.75), (820.75, 2985.75), (3220.75, 2985.75), (3220.75, 585.75)],
            "canvas_size": (3946, 4181),
        },
    ),
}


@pytest.mark.parametrize(
    ("case", "name"), [(case, name) for case, (_, _, expected) in GOLDEN.items() for name in expected]
)
def test_geometry_equals_the_reference_numbers(case, name):
    landmarks, image_size, expected = GOLDEN[case]
    plan = plan_crop(landmarks, image_size, 1024, "exact")
    found = getattr(plan, name, None) if hasattr(plan, name) else getattr(plan.recipe, name)
    assert np.asarray(found) == pytest.approx(np.asarray(expected[name]), abs=5e-5)


@pytest.mark.parametrize(
    ("case", "centre"), [("near the top", (130.5, 107.5)), ("tilted and inside", (328.25, 317.25))]
)
def test_centre_equals_the_reference_number(case, centre):
    assert crop_quad(GOLDEN[case][0]).mean(axis=0) == pytest.approx(centre, abs=1e-9)


def test_side_is_four_eye_distances_or_more_from_the_mouth():
    far_mouth = FACE + np.array([(0, 0), (0, 0), (0, 0), (0, 60), (0, 60)])
    assert crop_side(FACE) == 252.0  # 3.6 * 70 from eyes to mouth
    assert crop_side(far_mouth) == pytest.approx(3.6 * 130)


def test_nose_has_no_say():
    moved = FACE.copy()
    moved[2] += 40
    np.testing.assert_array_equal(crop_quad(moved), crop_quad(FACE))


@pytest.mark.parametrize("size", [128, 256, 512])
def test_recipe_scales_with_the_size(size):
    part = size / 1024
    large, small = plan_crop(FACE, (400, 400), 1024), plan_crop(FACE * part, (400, 400), size)
    assert small.zoom == pytest.approx(large.zoom, rel=1e-12)
    assert small.recipe.upscale == large.recipe.upscale
    assert small.recipe.sigma == pytest.approx(large.recipe.sigma * part)


@pytest.mark.parametrize(("side", "upscale"), [(1024, 1), (1023, 2), (512, 2), (511, 4), (256, 4), (255, 8), (2048, 1)])
def test_enlargement_brings_the_side_to_between_one_and_two_sizes(side, upscale):
    eyes = side / 4
    points = np.array([(-eyes / 2, 0), (eyes / 2, 0), (0, 0), (-eyes / 4, eyes), (eyes / 4, eyes)]) + 3000.0
    assert plan_crop(points, (6000, 6000), 1024).recipe.upscale == upscale


@pytest.mark.parametrize(("side", "shrink"), [(4095, 1), (4096, 2), (6144, 3)])
def test_only_crops_of_four_sizes_and_more_are_reduced_first(side, shrink):
    eyes = side / 4
    points = np.array([(-eyes / 2, 0), (eyes / 2, 0), (0, 0), (-eyes / 4, eyes), (eyes / 4, eyes)]) + 8000.0
    assert plan_crop(points, (16000, 16000), 1024).recipe.shrink == shrink


def test_fast_modes_read_less_than_exact():
    exact, accurate = plan_crop(TILTED, (700, 800), 1024, "exact"), plan_crop(TILTED, (700, 800), 1024)
    assert exact.box == (140, 129, 517, 506)
    assert accurate.box == (160, 149, 497, 486)


def test_box_lies_in_the_picture_when_a_huge_one_is_reduced():
    left, top, right, bottom = plan_crop(HUGE, (8984, 6732), 1024, "fast").box
    assert (left, top) == (0, 0)
    assert 5482 < right < 5500
    assert 5012 < bottom < 5030


def test_plan_survives_pickling():
    plan = plan_crop(FACE, (400, 400))
    copy = pickle.loads(pickle.dumps(plan))
    assert (copy.box, copy.part, copy.recipe.padding) == (plan.box, plan.part, plan.recipe.padding)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (FACE[:4], r"shape \(5, 2\), got shape \(4, 2\)"),
        (FACE.T, "shape"),
        (FACE.astype(str), "dtype"),
        (np.where(FACE == 130, np.nan, FACE), "finite"),
    ],
)
def test_wrong_landmarks_are_named(landmarks, message):
    with pytest.raises(ValueError, match=message):
        crop_quad(landmarks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 15}, "size must be 16..4096"),
        ({"size": 5000}, "size must be 16..4096"),
        ({"mode": "slow"}, "mode must be one of exact, accurate, fast, got 'slow'"),
        ({"image_size": (0, 10)}, "image_size"),
    ],
)
def test_wrong_requests_are_named(changes, message):
    request = {"landmarks": FACE, "image_size": (400, 400)} | changes
    with pytest.raises(ValueError, match=message):
        plan_crop(**request)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.full((5, 2), 50.0), "span no square"),
        (np.array([(0.0, 0), (10, 0), (5, 5), (0, -10), (10, -10)]), "span no square"),
        (FACE / 50, "px wide in the picture, less than 8"),
        (FACE + 1000, "covers 0% of the crop"),
        (FACE + np.array([310.0, 0.0]), "covers 17% of the crop, less than 20%"),
    ],
)
def test_faces_that_cannot_be_cropped_are_refused_with_the_reason(landmarks, message):
    with pytest.raises(Refused, match=message) as refusal:
        plan_crop(landmarks, (400, 360))
    assert refusal.value.stage == "align"
