"""MS-SSIM against its definition in float64, published figures and laws; the diversity of a set."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import multiscale as oracle
from PIL import Image
from skimage import data

from metrics.multiscale import ms_ssim, ms_ssim_diversity, ms_ssim_progan


def photos(side: int) -> np.ndarray:
    four = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    small = [np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS)) for photo in four]
    return np.stack(small).transpose(0, 3, 1, 2).copy()


def noisy(images: np.ndarray) -> np.ndarray:
    levels = images + np.random.RandomState(0).randn(*images.shape) * 25
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("side", [161, 182, 193, 255, 256])
def test_any_size_equals_the_definition_in_float64(side):
    images = photos(side)[:2]
    spoilt = noisy(images)
    expected = [oracle.wang(*pair) for pair in zip(images, spoilt, strict=True)]
    assert ms_ssim(images, spoilt).numpy() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("levels", [(100, 200), (0, 255), (10, 11), (250, 5)])
@pytest.mark.parametrize("measure", [ms_ssim, ms_ssim_progan])
def test_flat_pictures_equal_the_definition_too(measure, levels):
    flat = [np.full((1, 3, 176, 176), level, dtype=np.uint8) for level in levels]
    assert measure(*flat).item() == pytest.approx(oracle.wang(flat[0][0], flat[1][0]), abs=2e-6)


def test_four_photographs_get_their_known_values():
    images = photos(256)
    known = [0.8972697268, 0.8358614660, 0.8395174535, 0.6816410312]
    assert ms_ssim(images, noisy(images)).numpy() == pytest.approx(known, abs=2e-6)


def test_an_oblong_picture_equals_the_definition():
    images = photos(256)[:1, :, 20:190, :]
    assert ms_ssim(images, noisy(images)).item() == pytest.approx(oracle.wang(images[0], noisy(images)[0]), abs=2e-6)


@pytest.mark.parametrize("sides", [(16, 16), (32, 32), (33, 47), (64, 20), (128, 128), (161, 161)])
def test_the_small_variant_equals_progans_definition(sides):
    images = photos(161)[:2, :, : sides[0], : sides[1]]
    spoilt = noisy(images)
    expected = [oracle.progan(*pair) for pair in zip(images, spoilt, strict=True)]
    assert ms_ssim_progan(images, spoilt).numpy() == pytest.approx(expected, abs=2e-6)


def test_the_variants_differ_by_the_order_of_averaging_alone():
    images = photos(256)
    gap = (ms_ssim(images, noisy(images)) - ms_ssim_progan(images, noisy(images))).abs()
    assert 1e-6 < float(gap.max()) < 2e-4


@pytest.mark.parametrize("measure", [ms_ssim, ms_ssim_progan])
def test_equal_pictures_have_one(measure):
    images = photos(161)
    assert measure(images, images).numpy() == pytest.approx([1, 1, 1, 1], abs=1e-6)


@pytest.mark.parametrize("measure", [ms_ssim, ms_ssim_progan])
def test_a_negative_has_zero_not_nan(measure):
    images = noise(2, 3, 161, 161)
    assert torch.equal(measure(images, 255 - images), torch.zeros(2, dtype=torch.float64))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_are_wholly_alike(level):
    flat = np.full((1, 3, 161, 161), level, dtype=np.uint8)
    assert ms_ssim(flat, flat).item() == pytest.approx(1, abs=1e-6)


def test_it_is_symmetric_and_each_pair_has_its_own_number():
    images = photos(161)
    spoilt = noisy(images)
    together = ms_ssim(images, spoilt)
    assert torch.equal(together, ms_ssim(spoilt, images))
    alone = [ms_ssim(a[None], b[None]).item() for a, b in zip(images, spoilt, strict=True)]
    assert together.tolist() == pytest.approx(alone, abs=1e-8)  # products of other sizes round otherwise


def test_more_noise_lowers_it():
    images = photos(161)
    half = ((images.astype(int) + noisy(images)) // 2).astype(np.uint8)
    assert bool((ms_ssim(images, half) > ms_ssim(images, noisy(images))).all())


def test_floats_of_another_range_give_the_same():
    images = photos(161)
    expected = ms_ssim(images, noisy(images)).numpy()
    small = ms_ssim(images / 255, torch.from_numpy(noisy(images)).double() / 255, data_range=1)
    assert small.numpy() == pytest.approx(expected, abs=2e-6)


def test_uniform_noise_darkened_by_a_quarter_has_its_known_value():
    images = np.random.default_rng(0).random((2, 3, 256, 256), dtype=np.float32)
    assert ms_ssim(images, images * np.float32(0.75), data_range=1).numpy() == pytest.approx([0.963, 0.963], abs=1e-3)


def test_grey_pictures_equal_colour_ones_with_three_like_channels():
    grey = photos(161)[:, :1]
    coloured = ms_ssim(grey.repeat(3, axis=1), noisy(grey).repeat(3, axis=1))
    assert ms_ssim(grey, noisy(grey)).numpy() == pytest.approx(coloured.numpy(), abs=1e-7)


@pytest.mark.parametrize(
    ("a", "b", "data_range", "error", "message"),
    [
        (noise(1, 3, 160, 200), noise(1, 3, 160, 200), 255, ValueError, "at least 161 x 161 .* metrics.ms_ssim_progan"),
        (noise(1, 2, 161, 161), noise(1, 2, 161, 161), 255, ValueError, "shape .n, 1 or 3, height, width."),
        (noise(1, 3, 161, 161), noise(2, 3, 161, 161), 255, ValueError, "must have the same shape"),
        (noise(0, 3, 161, 161), noise(0, 3, 161, 161), 255, ValueError, "got .0, 3, 161, 161."),
        (noise(1, 3, 161, 161), noise(1, 3, 161, 161), 1, ValueError, "must lie in 0..1, got 0..255"),
        (-np.ones((1, 3, 161, 161)), np.ones((1, 3, 161, 161)), 2, ValueError, "must lie in 0..2, got -1..-1"),
        (np.full((1, 3, 161, 161), np.nan), np.ones((1, 3, 161, 161)), 1, ValueError, "a holds NaN or infinity"),
        (noise(1, 3, 161, 161).astype(int), noise(1, 3, 161, 161), 255, TypeError, "must be uint8, or float"),
        (noise(1, 3, 161, 161), noise(1, 3, 161, 161), 0, ValueError, "data_range must be a positive number"),
    ],
)
def test_unfit_pictures_are_refused(a, b, data_range, error, message):
    with pytest.raises(error, match=message):
        ms_ssim(a, b, data_range)


def test_the_small_variant_refuses_what_five_scales_cannot_halve():
    with pytest.raises(ValueError, match="at least 16 x 16 pixels, got 15 x 32"):
        ms_ssim_progan(noise(1, 3, 15, 32), noise(1, 3, 15, 32))


def smooth(count: int, seed: int = 0) -> np.ndarray:
    coarse = noise(count, 3, 2, 2, seed=seed)
    return coarse.repeat(16, axis=2).repeat(16, axis=3) // 8 + noise(count, 3, 32, 32, seed=seed + 1) // 16


def test_all_pairs_of_a_small_set_are_averaged():
    images = smooth(6)
    pairs = [oracle.progan(images[i], images[j]) for i, j in itertools.combinations(range(6), 2)]
    result = ms_ssim_diversity(images)
    assert result.pairs == 15
    assert result.mean == pytest.approx(np.mean(pairs), abs=2e-6)


def test_a_collapsed_set_is_less_varied():
    images = smooth(40)
    collapsed = images[:2].repeat(20, axis=0)
    assert ms_ssim_diversity(collapsed, pairs=100).mean > ms_ssim_diversity(images, pairs=100).mean + 0.1


def test_the_same_seed_deals_the_same_pairs():
    images = smooth(30)
    assert ms_ssim_diversity(images, pairs=20, seed=4) == ms_ssim_diversity(images, pairs=20, seed=4)
    assert ms_ssim_diversity(images, pairs=20, seed=4).mean != ms_ssim_diversity(images, pairs=20, seed=5).mean


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 12), st.integers(2, 40))
def test_pairs_are_different_and_as_many_as_asked_for(count, pairs):
    result = ms_ssim_diversity(noise(count, 3, 16, 16), pairs=pairs)
    assert result.pairs == min(pairs, count * (count - 1) // 2)


@pytest.mark.parametrize("pairs", [10, 100, 190])
def test_the_standard_error_is_the_spread_over_many_sets(pairs):
    results = [ms_ssim_diversity(smooth(20, seed=2 * draw), pairs=pairs, seed=draw) for draw in range(60)]
    spread = np.std([result.mean for result in results], ddof=1)
    stated = np.sqrt(np.mean([result.standard_error**2 for result in results]))
    assert stated == pytest.approx(spread, rel=0.3)  # three standard errors of a spread of 60


@pytest.mark.parametrize(
    ("count", "pairs", "message"), [(2, 10, "at least 3 pictures"), (5, 1, "pairs must be at least 2")]
)
def test_sets_without_an_error_are_refused(count, pairs, message):
    with pytest.raises(ValueError, match=message):
        ms_ssim_diversity(noise(count, 3, 16, 16), pairs=pairs)


@pytest.mark.reference
def test_even_sizes_agree_with_pytorch_msssim():
    theirs = pytest.importorskip("pytorch_msssim")
    images = photos(256)
    pair = (torch.from_numpy(some).float() for some in (images, noisy(images)))
    assert ms_ssim(images, noisy(images)).numpy() == pytest.approx(
        theirs.ms_ssim(*pair, data_range=255, size_average=False).numpy(), abs=3e-6
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("measure", [ms_ssim, ms_ssim_progan])
def test_a_gpu_gives_the_same_and_keeps_it(measure):
    images = photos(193)
    there = measure(*(torch.from_numpy(some).cuda() for some in (images, noisy(images))))
    assert there.is_cuda
    assert there.cpu().numpy() == pytest.approx(measure(images, noisy(images)).numpy(), abs=2e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_finds_the_same_diversity():
    images = smooth(30)
    here, there = ms_ssim_diversity(images, pairs=40), ms_ssim_diversity(torch.from_numpy(images).cuda(), pairs=40)
    assert there.mean == pytest.approx(here.mean, abs=2e-6)
    assert there.standard_error == pytest.approx(here.standard_error, rel=1e-3)
