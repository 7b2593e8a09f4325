"""The sliced Wasserstein distance against its definition written out, closed forms, and its laws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import sliced as oracle
from scipy import ndimage
from skimage import data

from metrics.descriptors import PatchDescriptors
from metrics.intervals import group_labels
from metrics.patch_groups import patch_distances_without
from metrics.sliced import patch_distance, sliced_wasserstein, swd, unit_directions
from metrics.transport import counted_distances, sorted_distances


def crops(count: int, side: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    cut = []
    for _ in range(count):
        photo = photos[rng.integers(len(photos))]
        top, left = rng.integers(photo.shape[0] - side + 1), rng.integers(photo.shape[1] - side + 1)
        cut.append(photo[top : top + side, left : left + side].transpose(2, 0, 1))
    return np.stack(cut)


def gathered(images: np.ndarray, role: str = "reference", **settings) -> PatchDescriptors:
    descriptors = PatchDescriptors(role, **settings)
    descriptors.update(images)
    return descriptors


def corners(descriptors: PatchDescriptors, level: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    tops, lefts = descriptors._corners(level, 0, descriptors.count, side, side, torch.device("cpu"))
    return tops.numpy(), lefts.numpy()


def written_out(reference: np.ndarray, generated: np.ndarray, seed: int) -> dict[int, float]:
    sets = [gathered(reference, "reference", seed=seed), gathered(generated, "generated", seed=seed)]
    levels = {}
    for number, pair in enumerate(zip(oracle.pyramid(reference), oracle.pyramid(generated), strict=True)):
        side = pair[0].shape[2]
        drawn = [oracle.patches(level, *corners(each, number, side)) for level, each in zip(pair, sets, strict=True)]
        directions = unit_directions(512, 147, np.random.default_rng((seed, side))).numpy()
        repeats = [oracle.sliced(*map(oracle.normalised, drawn), some) for some in np.split(directions, 4)]
        levels[side] = 1000 * float(np.mean(repeats))
    return levels


def mean_projection(width: int) -> float:
    return math.exp(math.lgamma(width / 2) - math.lgamma((width + 1) / 2)) / math.sqrt(math.pi)


@pytest.mark.parametrize("method", ["auto", "exact"])
def test_swd_equals_the_definition_written_out(method):
    reference, generated = crops(25, 64, 0), crops(25, 64, 1)
    ours = swd(reference=reference, generated=generated, seed=3, method=method)
    theirs = written_out(reference, generated, seed=3)
    assert list(ours.levels) == list(theirs) == [64, 32, 16]
    assert list(ours.levels.values()) == pytest.approx(list(theirs.values()), rel=1e-5)  # float32 on both sides
    assert ours.mean == pytest.approx(np.mean(list(theirs.values())), rel=1e-5)


@pytest.mark.slow
def test_counting_stays_within_1e_5_of_sorting_on_photographs():
    reference, generated = crops(400, 64, 0), crops(300, 64, 1)
    counted = swd(reference=reference, generated=generated, method="histogram")
    exact = swd(reference=reference, generated=generated, method="exact")
    assert list(counted.levels.values()) == pytest.approx(list(exact.levels.values()), rel=1e-5)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (40, 60), (7, 91), (1, 5)])
def test_sorting_is_the_integral_between_the_two_distribution_functions(n, m):
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal((3, n)), np.round(rng.standard_normal((3, m)), 1)
    expected = [oracle.line_distance(*pair) for pair in zip(a, b, strict=True)]
    ours = sorted_distances(torch.from_numpy(a.copy()), torch.from_numpy(b.copy()))
    assert ours.numpy() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(5000, 5000), (3000, 4500)])
def test_counting_is_near_the_integral_between_the_two_distribution_functions(n, m):
    rng = np.random.default_rng(n)
    a, b = torch.from_numpy(rng.laplace(size=(4, n))), torch.from_numpy(rng.laplace(0.1, 2, size=(4, m)))
    counted = counted_distances(a, b).numpy()
    assert counted == pytest.approx(sorted_distances(a, b).numpy(), rel=1e-4)  # each line by itself


@pytest.mark.parametrize("shift", [0.0, 3.0, 1e4, 1e30])
def test_counting_survives_far_and_equal_values(shift):
    a, b = torch.zeros(1, 10), torch.full((1, 10), shift)
    assert counted_distances(a, b).item() == pytest.approx(shift, rel=2e-4)


@pytest.mark.parametrize(("width", "expected"), [(2, 0.636619772), (3, 0.5), (147, 0.065920423)])
def test_a_shift_moves_the_distance_by_its_mean_projection(width, expected):
    assert mean_projection(width) == pytest.approx(expected, abs=1e-9)
    rows = np.random.default_rng(0).standard_normal((40, width))
    shift = np.full(width, 0.7) / math.sqrt(width)
    directions = unit_directions(20_000, width, np.random.default_rng(1)).numpy()
    found = sliced_wasserstein(
        reference=rows, generated=rows + shift, rng=np.random.default_rng(1), num_directions=20_000
    )
    assert found == pytest.approx(np.abs(directions @ shift).mean(), rel=1e-9)
    assert found == pytest.approx(0.7 * expected, rel=0.02)  # 3 standard errors of 20,000 directions


def test_equal_rows_in_any_order_have_distance_zero():
    rows = np.random.default_rng(0).standard_normal((50, 9))
    shuffled = np.random.default_rng(1).permutation(rows)
    found = sliced_wasserstein(reference=rows, generated=shuffled, rng=np.random.default_rng(2))
    assert found == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("method", ["exact", "histogram"])
def test_rows_twice_over_change_nothing(method):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((50, 9)), rng.standard_normal((70, 9)) + 0.2
    once, twice = (
        sliced_wasserstein(reference=reference, generated=b, rng=np.random.default_rng(2), method=method)
        for reference in (a, np.concatenate([a, a]))
    )
    assert once == pytest.approx(twice, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.01, 100))
def test_the_distance_is_symmetric_and_scales_with_the_rows(n, m, scale):
    rng = np.random.default_rng(n * 31 + m)
    a, b = rng.standard_normal((n, 5)), rng.standard_normal((m, 5))
    there, back, scaled = (
        sliced_wasserstein(reference=x, generated=y, rng=np.random.default_rng(0), num_directions=16)
        for x, y in ((a, b), (b, a), (scale * a, scale * b))
    )
    assert there == pytest.approx(back, rel=1e-12)
    assert scaled == pytest.approx(scale * there, rel=1e-9)


def test_patches_of_one_role_have_distance_zero_to_themselves():
    images = crops(20, 32, 0)
    descriptors, again = gathered(images), gathered(images)
    again.role = "generated"
    result = patch_distance(reference=descriptors, generated=again)
    assert result.levels == {32: 0.0, 16: 0.0}


def test_batches_and_merging_do_not_change_the_distance():
    reference, generated = crops(70, 32, 0), crops(30, 32, 1)
    whole = swd(reference=reference, generated=generated, method="exact")
    late, early = PatchDescriptors("reference"), PatchDescriptors("reference")
    late.update(reference[41:], first_index=41)
    early.update(reference[:7])
    early.update(reference[7:41])
    late.merge(early)
    merged = patch_distance(reference=late, generated=gathered(generated, "generated"), method="exact")
    assert merged.levels == pytest.approx(whole.levels, rel=1e-9)  # sums in another order


def test_passes_of_few_levels_equal_one_pass(monkeypatch):
    pair = {"reference": crops(20, 64, 0), "generated": crops(20, 64, 1)}
    whole = swd(**pair, floor=True)
    monkeypatch.setattr("metrics.sliced.PASS_BYTES", 1)
    assert swd(**pair, floor=True) == whole


@pytest.mark.parametrize(
    "spoil",
    [
        lambda images: ndimage.gaussian_filter(images, (0, 0, 1, 1)),
        lambda images: np.clip(images + np.random.default_rng(5).normal(0, 12, images.shape), 0, 255).astype(np.uint8),
        lambda images: np.repeat(images[:4], len(images) // 4, axis=0),
    ],
    ids=["blur", "noise", "collapse"],
)
def test_spoiling_the_pictures_raises_the_distance(spoil, monkeypatch):
    monkeypatch.setattr("metrics.sliced.DIRECTIONS", 64)
    reference, generated = crops(100, 64, 0), crops(100, 64, 1)
    plain = swd(reference=reference, generated=generated)
    assert swd(reference=reference, generated=spoil(generated)).mean > 1.2 * plain.mean


def test_blur_shows_in_the_finest_level_most(monkeypatch):
    monkeypatch.setattr("metrics.sliced.DIRECTIONS", 64)
    reference, generated = crops(100, 64, 0), crops(100, 64, 1)
    plain = swd(reference=reference, generated=generated).levels
    blurred = swd(reference=reference, generated=ndimage.gaussian_filter(generated, (0, 0, 1, 1))).levels
    assert blurred[64] - plain[64] > blurred[16] - plain[16]


def test_a_change_of_brightness_and_contrast_is_invisible():
    reference = crops(30, 32, 0) // 2
    plain = swd(reference=reference, generated=crops(30, 32, 1) // 2 * 2, method="exact")
    bright = swd(reference=reference, generated=crops(30, 32, 1) // 2 + 100, method="exact")
    assert bright.levels == pytest.approx(plain.levels, rel=1e-4)


def test_the_floor_is_what_another_half_of_the_source_gets(monkeypatch):
    monkeypatch.setattr("metrics.sliced.DIRECTIONS", 64)
    reference, others = crops(80, 32, 0), crops(80, 32, 1)
    result = swd(reference=reference, generated=others, floor=True)
    assert result.floor is not None
    assert list(result.floor.levels) == [32, 16]
    assert result.floor.mean == pytest.approx(result.mean, rel=0.35)  # one draw each
    assert swd(reference=reference, generated=others // 2 + 64).floor is None


def test_the_same_seed_gives_the_same_number_and_another_another():
    pair = {"reference": crops(10, 32, 0), "generated": crops(12, 32, 1)}
    assert swd(**pair) == swd(**pair)
    assert swd(**pair).mean != swd(**pair, seed=1).mean


@pytest.mark.parametrize(("sides", "levels"), [((96, 96), [96, 48, 24]), ((33, 70), [33, 17]), ((64, 48), [48, 24])])
def test_any_side_works_and_levels_are_named_by_the_shorter(sides, levels):
    images = np.random.default_rng(0).integers(0, 256, (4, 3, *sides), dtype=np.uint8)
    assert list(swd(reference=images, generated=images[::-1].copy()).levels) == levels


def test_a_smaller_least_side_adds_a_level():
    images = crops(4, 32, 0)
    assert list(swd(reference=images, generated=images, min_size=8).levels) == [32, 16, 8]


def test_flat_pictures_have_a_finite_distance():
    flat = np.full((3, 3, 32, 32), 7, dtype=np.uint8)
    assert swd(reference=flat, generated=flat).levels == {32: 0.0, 16: 0.0}
    assert math.isfinite(swd(reference=crops(3, 32, 0), generated=flat).mean)


@pytest.mark.parametrize("role", ["reference", "generated"])
def test_leaving_a_group_out_equals_measuring_without_it(role, monkeypatch):
    monkeypatch.setattr("metrics.sliced.DIRECTIONS", 16)
    images = {"reference": crops(40, 32, 0), "generated": crops(30, 32, 1)}
    sets = {name: gathered(some, name) for name, some in images.items()}
    left_out = patch_distances_without(**sets, groups=4, num_directions=16)
    found = getattr(left_out, f"without_{role}")
    rest = PatchDescriptors(role)
    for index in np.flatnonzero(group_labels(0, len(images[role]), groups=4) != 2).tolist():
        rest.update(images[role][index : index + 1], first_index=index)
    assert len(found) == 4
    assert found[2].levels == pytest.approx(patch_distance(**sets | {role: rest}).levels, rel=1e-4)  # counting's error


def test_groups_of_too_few_pictures_are_refused():
    sets = {"reference": gathered(crops(8, 32, 0)), "generated": gathered(crops(7, 32, 1), "generated")}
    with pytest.raises(ValueError, match="4 groups need at least 8 generated pictures, got 7"):
        patch_distances_without(**sets, groups=4)


@pytest.mark.parametrize(
    ("reference", "generated", "error", "message"),
    [
        (np.zeros((0, 3, 32, 32), np.uint8), np.zeros((1, 3, 32, 32), np.uint8), ValueError, "at least 1 pictures"),
        (np.zeros((1, 3, 32, 32), np.uint8), np.zeros((1, 3, 64, 64), np.uint8), ValueError, "must be of one size"),
        (np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 3, 8, 8), np.uint8), ValueError, "at least 16 x 16"),
        (np.zeros((1, 3, 32, 32)), np.zeros((1, 3, 32, 32)), TypeError, "must be uint8"),
        (np.zeros((1, 2, 32, 32), np.uint8), np.zeros((1, 2, 32, 32), np.uint8), ValueError, "must have shape"),
    ],
)
def test_unfit_pictures_are_refused(reference, generated, error, message):
    with pytest.raises(error, match=message):
        swd(reference=reference, generated=generated)


def test_a_floor_of_one_picture_is_refused():
    images = crops(1, 32, 0)
    with pytest.raises(ValueError, match="the floor needs at least 2 reference pictures"):
        swd(reference=images, generated=images, floor=True)


def test_an_unknown_method_is_refused():
    images = crops(1, 32, 0)
    with pytest.raises(ValueError, match="method must be"):
        swd(reference=images, generated=images, method="fast")


def test_sets_gathered_with_other_seeds_are_refused():
    with pytest.raises(ValueError, match="must have the same seed, got 0 and 1"):
        patch_distance(reference=gathered(crops(2, 32, 0)), generated=gathered(crops(2, 32, 1), "generated", seed=1))


def test_rows_of_other_widths_are_refused():
    with pytest.raises(ValueError, match="rows of one length"):
        sliced_wasserstein(reference=np.zeros((2, 3)), generated=np.zeros((2, 4)), rng=np.random.default_rng(0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("method", ["auto", "exact", "histogram"])
def test_a_gpu_gives_the_same_distance(method):
    reference, generated = crops(200, 64, 0), crops(150, 64, 1)
    here = swd(reference=reference, generated=generated, method="exact", floor=True)
    there = swd(
        reference=torch.from_numpy(reference).cuda(),
        generated=torch.from_numpy(generated).cuda(),
        method=method,
        floor=True,
    )
    assert there.levels == pytest.approx(here.levels, rel=2e-5)
    assert there.floor.levels == pytest.approx(here.floor.levels, rel=2e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_leaves_out_the_same_groups():
    sets = [(role, crops(40, 32, seed)) for seed, role in enumerate(("reference", "generated"))]
    here = {role: gathered(images, role) for role, images in sets}
    there = {role: gathered(torch.from_numpy(images).cuda(), role) for role, images in sets}
    first, second = patch_distances_without(**here, groups=4), patch_distances_without(**there, groups=4)
    pairs = zip(first.without_generated, second.without_generated, strict=True)
    assert all(a.levels == pytest.approx(b.levels, rel=1e-3) for a, b in pairs)
