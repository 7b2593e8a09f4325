from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from hqdata.align import crop_face, crop_quad, plan_crop, render_crop
from hqdata.sources.degradations import DEGRADATIONS
from hqdata.sources.demo import PORTRAIT_LANDMARKS, STRENGTHS

ASTRONAUT = data.astronaut()
EYES_AND_MOUTH = np.array([(202.9, 100.7), (246.4, 102.6), (223.5, 126.7), (202.6, 139.0), (244.4, 140.0)])
WARPED = ["accurate", "fast"]


def psnr(first, second):
    return 10 * np.log10(255**2 / max(np.mean((first.astype(float) - second) ** 2), 1e-9))


def rotated(points, degrees, centre=(224.0, 120.0)):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - centre) @ turn.T + centre


def framed(left, top, right, bottom, degrees=0.0):
    """The astronaut cut to a box, and the landmarks of the tilted face in it."""
    return np.ascontiguousarray(ASTRONAUT[top:bottom, left:right]), rotated(EYES_AND_MOUTH, degrees) - [left, top]


SCENES = {
    "inside": framed(60, 0, 400, 300),
    "tilted": framed(60, 0, 400, 300, 8),
    "upside down": framed(60, 0, 400, 300, 180),
    "cut on one side": framed(170, 0, 400, 300, 10),
    "cut on two sides": framed(170, 60, 400, 300, -20),
    "cut on all sides": framed(165, 60, 270, 170, 5),
}


@cache
def reference(scene, size):
    image, landmarks = SCENES[scene]
    return crop_face(image, landmarks, size, "exact")


@pytest.mark.parametrize("mode", WARPED)
@pytest.mark.parametrize("size", [64, 128, 150, 256, 384])
@pytest.mark.parametrize("scene", SCENES)
def test_one_warp_is_within_48_db_of_the_reference(scene, size, mode):
    image, landmarks = SCENES[scene]
    assert psnr(crop_face(image, landmarks, size, mode), reference(scene, size)) >= 48


@pytest.mark.parametrize("mode", WARPED)
@pytest.mark.parametrize("scene", ["tilted", "cut on all sides"])
def test_one_warp_is_within_48_db_of_the_reference_at_full_size(scene, mode):
    image, landmarks = SCENES[scene]
    assert psnr(crop_face(image, landmarks, 1024, mode), reference(scene, 1024)) >= 50


def test_accurate_is_never_off_by_more_than_three_levels_at_full_size():
    image, landmarks = SCENES["tilted"]
    difference = crop_face(image, landmarks).astype(int) - reference("tilted", 1024)
    assert np.abs(difference).max() <= 3


@pytest.mark.parametrize("mode", WARPED)
@pytest.mark.parametrize("size", [128, 256, 512])
def test_picture_smaller_than_a_stamp_is_within_48_db(size, mode):
    image, landmarks = framed(150, 40, 300, 190, 5)
    image = cv2.resize(image, (43, 43), interpolation=cv2.INTER_AREA)
    landmarks = (landmarks + 0.5) * 43 / 150 - 0.5
    assert psnr(crop_face(image, landmarks, size, mode), crop_face(image, landmarks, size, "exact")) >= 48


@pytest.mark.parametrize("mode", WARPED)
@pytest.mark.parametrize("shape", [(600, 600), (601, 599)])
def test_reduced_pictures_are_within_48_db(shape, mode):
    image = cv2.copyMakeBorder(ASTRONAUT, 0, shape[0] - 512, 0, shape[1] - 512, cv2.BORDER_REFLECT_101)
    landmarks = (EYES_AND_MOUTH - 224) * 1.9 + [250, 240]
    assert plan_crop(landmarks, shape, 32).recipe.shrink == 5
    assert psnr(crop_face(image, landmarks, 32, mode), crop_face(image, landmarks, 32, "exact")) >= 48


@pytest.mark.parametrize("mode", WARPED)
def test_grey_pictures_stay_grey(mode):
    image, landmarks = SCENES["cut on one side"]
    grey = np.repeat(image[:, :, 1:2], 3, axis=2)
    crop = crop_face(grey, landmarks, 256, mode)
    np.testing.assert_array_equal(crop[:, :, 0], crop[:, :, 1])
    np.testing.assert_array_equal(crop[:, :, 0], crop[:, :, 2])


@pytest.mark.parametrize("mode", WARPED)
@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_flat_picture_stays_flat(size, mode):
    image = np.full((200, 180, 3), (0, 101, 255), np.uint8)
    crop = crop_face(image, EYES_AND_MOUTH - [140, 60], size, mode)
    np.testing.assert_array_equal(crop, np.broadcast_to(np.uint8([0, 101, 255]), crop.shape))


@pytest.mark.parametrize("mode", ["exact", "accurate", "fast"])
@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("scene", ["tilted", "cut on two sides"])
def test_rendering_a_plan_equals_cropping_the_picture(scene, size, mode):
    image, landmarks = SCENES[scene]
    plan = plan_crop(landmarks, image.shape[:2], size, mode)
    left, top, right, bottom = plan.box
    rendered = render_crop(image[top:bottom, left:right].copy(), plan)
    np.testing.assert_array_equal(rendered, crop_face(image, landmarks, size, mode))


@pytest.mark.parametrize("mode", WARPED)
def test_pixels_outside_the_box_have_no_say(mode):
    image, landmarks = SCENES["tilted"]
    left, top, right, bottom = plan_crop(landmarks, image.shape[:2], 256, mode).box
    other = np.zeros_like(image)
    other[top:bottom, left:right] = image[top:bottom, left:right]
    np.testing.assert_array_equal(crop_face(other, landmarks, 256, mode), crop_face(image, landmarks, 256, mode))


@pytest.mark.parametrize("mode", ["exact", "accurate", "fast"])
@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("scene", ["tilted", "cut on two sides"])
def test_floats_are_rounded_once_at_the_end(scene, size, mode):
    image, landmarks = SCENES[scene]
    plan = plan_crop(landmarks, image.shape[:2], size, mode)
    left, top, right, bottom = plan.box
    pixels = image[top:bottom, left:right]
    assert psnr(render_crop(pixels.astype(np.float32), plan), render_crop(pixels, plan)) >= 52


@pytest.mark.parametrize("size", [64, 256])
def test_exact_rounds_floats_first(size):
    image, landmarks = SCENES["tilted"]
    plan = plan_crop(landmarks, image.shape[:2], size, "exact")
    left, top, right, bottom = plan.box
    pixels = image[top:bottom, left:right]
    jitter = np.random.default_rng(0).uniform(-0.45, 0.45, pixels.shape).astype(np.float32)
    np.testing.assert_array_equal(render_crop(pixels + jitter, plan), render_crop(pixels, plan))


@pytest.mark.parametrize("mode", WARPED)
@pytest.mark.parametrize("scene", ["tilted", "cut on two sides"])
@pytest.mark.parametrize("size", [64, 256, 512])
def test_bytes_do_not_depend_on_the_number_of_threads(size, scene, mode):
    image, landmarks = SCENES[scene]
    alone = crop_face(image, landmarks, size, mode)
    cv2.setNumThreads(3)
    try:
        together = crop_face(image, landmarks, size, mode)
    finally:
        cv2.setNumThreads(1)
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("mode", WARPED)
@settings(max_examples=15, deadline=None)
@given(shift=st.tuples(st.integers(0, 90), st.integers(0, 90)), degrees=st.floats(-8, 8))
def test_growing_the_canvas_moves_the_crop_along(mode, shift, degrees):
    image, landmarks = framed(60, 0, 400, 300, degrees)
    right, down = shift
    grown = np.zeros((420, 460, 3), np.uint8)
    grown[down : down + 300, right : right + 340] = image
    first = crop_face(image, landmarks, 128, mode)
    second = crop_face(grown, landmarks + np.array(shift), 128, mode)
    assert np.abs(first.astype(int) - second).max() <= 1  # sums of unlike coordinates round apart by 1e-13 px


@pytest.mark.parametrize("mode", ["exact", "accurate", "fast"])
@settings(max_examples=10, deadline=None)
@given(turns=st.integers(1, 3), degrees=st.floats(-30, 30), seed=st.integers(0, 5))
def test_turning_picture_and_landmarks_gives_the_same_crop(mode, turns, degrees, seed):
    image = smooth_texture(seed)
    height, width = image.shape[:2]
    landmarks = rotated(EYES_AND_MOUTH - [74, 0], degrees, centre=(150.0, 130.0))
    turned, points = image, landmarks
    for _ in range(turns):
        turned, points = np.rot90(turned), np.column_stack([points[:, 1], turned.shape[1] - 1 - points[:, 0]])
    first = crop_face(image, landmarks, 256, mode)
    second = crop_face(np.ascontiguousarray(turned), points, 256, mode)
    # The recipe adds its second half pixel towards the picture's lower right, whichever way the face looks.
    assert psnr(first, second) >= 40
    assert (height, width) == (260, 300)


def smooth_texture(seed):
    noise = np.random.default_rng(seed).uniform(0, 255, (260, 300, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 8, borderType=cv2.BORDER_REFLECT_101)
    return np.clip((blurred - 127) * 12 + 127, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("mode", ["exact", "accurate", "fast"])
def test_landmarks_land_where_the_square_says(mode):
    image = np.zeros((300, 300, 3), np.uint8)
    landmarks = np.array([(120.0, 130), (180, 120), (150, 150), (125, 190), (180, 182)])
    image[130, 120] = image[129:132, 119:122] = 255
    crop = crop_face(image, landmarks, 256, mode)[:, :, 0].astype(float)
    rows, columns = np.indices(crop.shape) + 0.5
    found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
    quad = crop_quad(landmarks)
    axes = np.column_stack([quad[3] - quad[0], quad[1] - quad[0]]) / 256
    expected = np.linalg.solve(axes, landmarks[0] + 0.5 - quad[0])
    assert np.abs(found - expected).max() <= 1.1  # the second half pixel: half an enlarged one


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((10, 10), np.uint8), r"shape \(h, w, 3\), got \(10, 10\)"),
        (np.zeros((10, 10, 4), np.uint8), "shape"),
        (np.zeros((10, 10, 3), np.float32), "image must be uint8 in 0..255, got float32"),
        (np.zeros((0, 10, 3), np.uint8), "shape"),
    ],
)
def test_wrong_pictures_are_named(image, message):
    with pytest.raises(ValueError, match=message):
        crop_face(image, EYES_AND_MOUTH)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda pixels: pixels[1:], "must fill plan.box"),
        (lambda pixels: pixels.astype(np.float64), "uint8 or float32"),
        (lambda pixels: np.where(pixels > 0, np.nan, 1).astype(np.float32), "finite"),
    ],
)
def test_pixels_that_do_not_fit_the_plan_are_named(change, message):
    image, landmarks = SCENES["tilted"]
    plan = plan_crop(landmarks, image.shape[:2], 64)
    left, top, right, bottom = plan.box
    with pytest.raises(ValueError, match=message):
        render_crop(change(image[top:bottom, left:right]), plan)


@pytest.mark.parametrize("name", ["halftone", "scan_lines", "gaussian_noise"])
@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize("mode", ["accurate", "fast"])
def test_small_crops_keep_patterns_as_the_recipe_does(mode: str, size: int, name: str):
    strongest = STRENGTHS[name][1]
    photo = DEGRADATIONS[name](data.astronaut(), strongest, np.random.default_rng(0))
    landmarks = np.array(PORTRAIT_LANDMARKS)
    exact = crop_face(photo, landmarks, size, "exact").astype(float)
    error = np.mean((crop_face(photo, landmarks, size, mode) - exact) ** 2)
    assert 10 * np.log10(255**2 / error) >= 45.5  # at most 45.4 with fewer samples
