"""Rendering a face from its region equals rendering it from the whole photo."""

import numpy as np
import pytest
import torch

from hqdata import restore, upscale
from hqdata.align import crop_face, render_crop
from hqdata.pixels import to_pixel_values, to_tensor
from hqdata.render import enlarged_landmarks, face_pixels, plan_face
from hqdata.tiling import TiledPicture, chain_for

FACE = np.array([[150.0, 120.0], [186.0, 126.0], [168.0, 142.0], [150.0, 158.0], [182.0, 163.0]])


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 40, 3)).astype(np.float32)
    smooth = np.kron(coarse, np.ones((12, 12, 1), np.float32))
    return np.clip(smooth[:270, :451] + rng.normal(0, 8, (270, 451, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def networks():
    return restore.load(), upscale.load()


def crop_of(picture, plan):
    left, top, right, bottom = plan.crop.box
    return render_crop(to_pixel_values(picture.whole())[top:bottom, left:right], plan.crop)


@pytest.mark.parametrize("landmarks", [FACE, FACE - 130, FACE + 100], ids=["inside", "corner", "other-corner"])
def test_the_region_equals_the_whole_photo(photo: np.ndarray, networks, landmarks: np.ndarray):
    plan = plan_face(landmarks, photo.shape[:2], size=128, upscale_when="always")
    crop = render_crop(face_pixels(photo, plan, restorer=networks[0], upscaler=networks[1]), plan.crop)
    same_lattice = crop_of(chain_for(plan.source_box, to_tensor(photo), networks), plan)
    assert np.array_equal(crop, same_lattice)
    other_lattice = crop_of(TiledPicture(TiledPicture(to_tensor(photo), networks[0]), networks[1]), plan)
    assert np.abs(crop.astype(int) - other_lattice).max() <= 1
    assert (crop != other_lattice).mean() < 1e-3


def test_without_networks_the_crop_is_the_plain_one(photo: np.ndarray):
    plan = plan_face(FACE, photo.shape[:2], size=64, restore_when="never", upscale_when="never")
    crop = render_crop(face_pixels(photo, plan, restorer=None, upscaler=None), plan.crop)
    assert np.array_equal(crop, crop_face(photo, FACE, 64))


def test_enlarging_does_not_move_the_face(photo: np.ndarray, networks):
    plain = crop_face(photo, FACE, 128).astype(float)
    plan = plan_face(FACE, photo.shape[:2], size=128, restore_when="never", upscale_when="always")
    crop = render_crop(face_pixels(photo, plan, restorer=None, upscaler=networks[1]), plan.crop).astype(float)

    def difference(dy: int, dx: int) -> float:
        return float(np.abs(np.roll(crop, (dy, dx), (0, 1)) - plain)[8:-8, 8:-8].mean())

    shifts = {(dy, dx): difference(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    assert min(shifts, key=shifts.__getitem__) == (0, 0)


@pytest.mark.parametrize(
    ("when", "size", "scale"), [("needed", 256, 4), ("needed", 64, 1), ("always", 64, 4), ("never", 256, 1)]
)
def test_the_upscaler_runs_where_it_is_asked_for(photo: np.ndarray, when: str, size: int, scale: int):
    assert plan_face(FACE, photo.shape[:2], size=size, upscale_when=when).scale == scale


def test_the_plan_keeps_the_photo_frame(photo: np.ndarray):
    plain = plan_face(FACE, photo.shape[:2], size=64, upscale_when="never")
    enlarged = plan_face(FACE, photo.shape[:2], size=64, upscale_when="always")
    assert np.array_equal(plain.quad, enlarged.quad)
    assert plain.zoom == enlarged.zoom


@pytest.mark.parametrize(
    ("when", "size", "restored"), [("needed", 128, True), ("needed", 32, False), ("always", 32, True)]
)
def test_the_restorer_runs_unless_its_work_would_be_averaged_away(
    photo: np.ndarray, when: str, size: int, restored: bool
):
    assert plan_face(FACE, photo.shape[:2], size=size, restore_when=when).restored is restored


@pytest.mark.parametrize("missing", ["restorer", "upscaler"])
def test_a_missing_network_is_named(photo: np.ndarray, networks, missing: str):
    given = dict(zip(("restorer", "upscaler"), networks, strict=True)) | {missing: None}
    with pytest.raises(ValueError, match=f"{missing} is None"):
        face_pixels(photo, plan_face(FACE, photo.shape[:2], size=256), **given)


def test_landmarks_keep_pointing_at_pixel_centres():
    points = np.array([[0.0, 0.0], [10.0, 3.0]])
    assert np.array_equal(enlarged_landmarks(points, 4), [[1.5, 1.5], [41.5, 13.5]])


def test_the_threads_do_not_matter(photo: np.ndarray, networks):
    plan = plan_face(FACE, photo.shape[:2], size=128)
    one = face_pixels(photo, plan, restorer=networks[0], upscaler=networks[1])
    torch.set_num_threads(2)
    try:
        two = face_pixels(photo, plan, restorer=networks[0], upscaler=networks[1])
    finally:
        torch.set_num_threads(1)
    assert np.array_equal(one, two)


@pytest.mark.gpu
def test_a_gpu_renders_what_the_cpu_renders(photo: np.ndarray, networks):
    plan = plan_face(FACE, photo.shape[:2], size=128)
    crop = render_crop(face_pixels(photo, plan, restorer=networks[0], upscaler=networks[1]), plan.crop)
    restorer, upscaler = restore.load(device="cuda"), upscale.load(device="cuda")
    on_gpu = render_crop(face_pixels(photo, plan, restorer=restorer, upscaler=upscaler), plan.crop)
    assert np.abs(crop.astype(int) - on_gpu).max() <= 1
