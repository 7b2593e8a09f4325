"""Squared discrepancies, KID and CMMD: known values, slow sums, and their laws."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import discrepancy as oracle

from metrics.discrepancy import cmmd, cmmd_left_out, kid, kid_left_out, mmd, mmd_left_out
from metrics.intervals import jackknife_interval
from metrics.kernel_sums import cross_forms, kernel_sums, own_forms
from metrics.kernels import energy, polynomial, rational_quadratic, rbf

KERNELS = {
    "rbf": (rbf((1.0, 3.0)), oracle.rbf(1.0, 3.0)),
    "rational quadratic": (rational_quadratic(), oracle.rational_quadratic(0.1, 1, 10)),
    "polynomial": (polynomial(), oracle.polynomial(3, 1 / 4, 1.0)),
    "energy": (energy(), oracle.energy()),
}


def known_pair():
    random = np.random.RandomState(0)
    return {"reference": random.randn(200, 16), "generated": random.randn(200, 16) + 0.5}


def small_pair(n=13, m=11, width=4, shift=0.5, seed=0):
    rng = np.random.default_rng(seed)
    return {"reference": rng.normal(size=(n, width)), "generated": rng.normal(size=(m, width)) + shift}


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


# known values


def test_full_kid_has_the_known_value():
    assert kid(**known_pair(), estimator="full")[0] == pytest.approx(1.127566285166, abs=1e-12)


def test_cmmd_has_the_known_value():
    assert cmmd(**known_pair()) == pytest.approx(2.320034648094, abs=1e-12)


def test_cmmd_of_two_orthogonal_directions_has_its_closed_form():
    axes = np.eye(2)
    assert cmmd(reference=axes[:1], generated=axes[1:]) == pytest.approx(2000 * -math.expm1(-0.01), abs=1e-12)


def test_cmmd_of_nearly_equal_directions_keeps_its_digits():
    near = np.array([[1.0, 1e-5]])
    square = 1e-10 - 1e-20  # |difference|^2 of the unit rows to second order
    assert cmmd(reference=np.eye(2)[:1], generated=near) == pytest.approx(2000 * square / 200, rel=1e-5)


@pytest.mark.parametrize("subset", [{"estimator": "full"}, {"subsets": 3, "subset_size": 6}])
def test_kid_of_constant_sets_has_its_closed_form(subset):
    a, b = np.random.default_rng(0).normal(size=(2, 8))
    expected = (a @ a / 8 + 1) ** 3 + (b @ b / 8 + 1) ** 3 - 2 * (a @ b / 8 + 1) ** 3
    mean, spread = kid(reference=np.tile(a, (9, 1)), generated=np.tile(b, (7, 1)), **subset)
    assert mean == pytest.approx(expected, rel=1e-13)
    assert spread == pytest.approx(0, abs=1e-12)


def test_the_energy_kernel_gives_the_energy_distance():
    pair = small_pair()
    gaps = [
        np.linalg.norm(a[:, None] - b[None], axis=2).mean()
        for a, b in [
            (pair["reference"], pair["generated"]),
            (pair["reference"], pair["reference"]),
            (pair["generated"], pair["generated"]),
        ]
    ]
    assert mmd(**pair, kernel=energy(), estimator="biased") == pytest.approx(2 * gaps[0] - gaps[1] - gaps[2], abs=1e-13)


# slow sums; 1e-12 is rounding of some hundred terms of size 1 to 100


def test_the_unbiased_estimate_equals_the_sums_written_out(kernel):
    pair = small_pair()
    assert mmd(**pair, kernel=kernel[0]) == pytest.approx(oracle.unbiased(kernel[1], **pair), abs=1e-12)


def test_the_biased_estimate_equals_the_sums_written_out(kernel):
    pair = small_pair()
    assert mmd(**pair, kernel=kernel[0], estimator="biased") == pytest.approx(
        oracle.biased(kernel[1], **pair), abs=1e-12
    )


def test_the_u_statistic_equals_the_sums_written_out(kernel):
    pair = small_pair(n=12, m=12)
    assert mmd(**pair, kernel=kernel[0], estimator="u") == pytest.approx(
        oracle.u_statistic(kernel[1], **pair), abs=1e-12
    )


def dealt(pair, count, seed):
    rng = np.random.default_rng(seed)
    return {name: rows[rng.permutation(len(rows))[:count]] for name, rows in pair.items()}


def test_the_linear_estimate_is_the_mean_over_dealt_pairs(kernel):
    pair = small_pair()
    assert mmd(**pair, kernel=kernel[0], estimator="linear", seed=3) == pytest.approx(
        oracle.linear(kernel[1], **dealt(pair, 10, 3)), abs=1e-12
    )


@pytest.mark.parametrize(("size", "asked"), [(3, None), (4, 4), (11, 11)])
def test_the_block_estimate_is_the_mean_over_dealt_blocks(kernel, size, asked):
    pair = small_pair()
    assert mmd(**pair, kernel=kernel[0], estimator="block", block_size=asked, seed=3) == pytest.approx(
        oracle.block(kernel[1], **dealt(pair, 11 // size * size, 3), size=size), abs=1e-12
    )


@pytest.mark.parametrize("size", [7, 20], ids=["of their own rows", "of one pass over all"])
def test_kid_takes_torch_fidelity_s_subsets(size):
    pair = small_pair(n=31, m=24)
    rng = np.random.RandomState(2020)
    values = oracle.kid_values(**pair, subsets=6, size=size, rng=rng)
    measured = kid(**pair, subsets=6, subset_size=size, seed=2020)
    assert measured == pytest.approx((np.mean(values), np.std(values)), abs=1e-12)


@pytest.mark.reference
@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="torch-fidelity needs torchvision")
def test_kid_agrees_with_torch_fidelity():
    theirs = pytest.importorskip("torch_fidelity.metric_kid")
    pair = small_pair(n=300, m=400, width=64, shift=0.1)
    found = theirs.kid_features_to_metric(
        torch.from_numpy(pair["generated"]),
        torch.from_numpy(pair["reference"]),
        kid_subsets=10,
        kid_subset_size=100,
        rng_seed=2020,
        verbose=False,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1.0,
    )
    assert kid(**pair, subsets=10, subset_size=100, seed=2020) == pytest.approx(tuple(found.values()), rel=1e-9)


# without each row


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_left_out_values_are_those_of_the_other_rows(kernel, estimator):
    pair = small_pair(n=7, m=6)
    left = mmd_left_out(**pair, kernel=kernel[0], estimator=estimator)
    reference = [
        mmd(**pair | {"reference": np.delete(pair["reference"], i, 0)}, kernel=kernel[0], estimator=estimator)
        for i in range(7)
    ]
    generated = [
        mmd(**pair | {"generated": np.delete(pair["generated"], i, 0)}, kernel=kernel[0], estimator=estimator)
        for i in range(6)
    ]
    assert left.without_reference == pytest.approx(reference, abs=1e-12)
    assert left.without_generated == pytest.approx(generated, abs=1e-12)
    assert left.value == mmd(**pair, kernel=kernel[0], estimator=estimator)


def test_the_u_statistic_leaves_out_pairs(kernel):
    pair = small_pair(n=6, m=6)
    left = mmd_left_out(**pair, kernel=kernel[0], estimator="u")
    expected = [
        oracle.u_statistic(kernel[1], np.delete(pair["reference"], i, 0), np.delete(pair["generated"], i, 0))
        for i in range(6)
    ]
    assert left.without_reference == pytest.approx(expected, abs=1e-12)
    assert left.without_generated == []


def test_cmmd_without_each_row_is_cmmd_of_the_others():
    pair = small_pair(n=5, m=4)
    left = cmmd_left_out(**pair)
    expected = [cmmd(reference=np.delete(pair["reference"], i, 0), generated=pair["generated"]) for i in range(5)]
    assert left.without_reference == pytest.approx(expected, abs=1e-12)
    assert left.value == cmmd(**pair)


def test_the_full_kid_s_error_is_its_spread_over_draws():
    draws = [small_pair(n=150, m=120, width=8, shift=0.4, seed=seed) for seed in range(60)]
    results = np.array([kid(**pair, estimator="full") for pair in draws])
    # the standard deviation of 60 draws is known to 9 per cent; 3 times that
    assert results[:, 1].mean() == pytest.approx(results[:, 0].std(ddof=1), rel=0.28)


def test_left_out_values_make_the_interval_of_the_full_kid():
    pair = small_pair(n=50, m=40)
    left = kid_left_out(**pair)
    interval = jackknife_interval(
        left.value, without_reference=left.without_reference, without_generated=left.without_generated
    )
    assert (left.value, interval.standard_error) == pytest.approx(kid(**pair, estimator="full"), rel=1e-12)


# laws


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), m=st.integers(1, 40), side=st.integers(1, 45), seed=st.integers(0, 99))
def test_row_sums_do_not_depend_on_blocks(n, m, side, seed):
    pair = {name: torch.from_numpy(rows) for name, rows in small_pair(n, m, seed=seed).items()}
    fitted = polynomial().fitted(*pair.values(), seed=0)
    whole, cut = (kernel_sums(fitted, *pair.values(), side=cut) for cut in (100, side))
    for name in ("reference", "generated"):
        one, other = getattr(whole, name), getattr(cut, name)
        for part in ("between", "own", "across"):
            assert torch.allclose(getattr(one, part), getattr(other, part), rtol=1e-12, atol=1e-12)
    assert torch.equal(whole.paired, cut.paired)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 30), m=st.integers(2, 30), side=st.integers(1, 35), seed=st.integers(0, 99))
def test_sums_over_choices_of_rows_are_sums_over_these_rows(n, m, side, seed):
    pair = {name: torch.from_numpy(rows) for name, rows in small_pair(n, m, seed=seed).items()}
    a, b = pair["reference"], pair["generated"]
    rng = np.random.default_rng(seed)
    marks_a, marks_b = (torch.from_numpy(rng.random((rows, 3)) < 0.5) for rows in (n, m))
    fitted = polynomial().fitted(a, b, seed=0)
    own = [float(fitted.block(a[mark], a[mark]).sum()) for mark in marks_a.T]
    across = [float(fitted.block(a[one], b[other]).sum()) for one, other in zip(marks_a.T, marks_b.T, strict=True)]
    forms, sums = own_forms(fitted, a, marks_a, side=side)
    assert forms.tolist() == pytest.approx(own, rel=1e-11, abs=1e-11)
    assert torch.allclose(sums, fitted.block(a, a).sum(dim=1), rtol=1e-12)
    crossed = cross_forms(fitted, a, b, chosen_a=marks_a, chosen_b=marks_b, side=side)
    assert crossed.tolist() == pytest.approx(across, rel=1e-11, abs=1e-11)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(2, 30), m=st.integers(2, 30))
def test_order_within_a_set_does_not_matter(seed, n, m):
    pair, rng = small_pair(n, m, seed=seed), np.random.default_rng(seed)
    shuffled = {name: rng.permutation(rows) for name, rows in pair.items()}
    for measure in (mmd, cmmd):
        assert measure(**shuffled) == pytest.approx(measure(**pair), rel=1e-9, abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(2, 30))
def test_a_set_is_at_no_biased_distance_from_itself(seed, n):
    rows = np.random.default_rng(seed).normal(size=(n, 5)) * 10
    assert 0 <= mmd(reference=rows, generated=rows[::-1], estimator="biased") < 1e-14
    assert 0 <= cmmd(reference=rows, generated=rows[::-1].copy()) < 1e-11  # a thousand times the above


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), estimator=st.sampled_from(["unbiased", "biased", "u"]))
def test_the_two_sets_may_change_places(seed, estimator):
    pair = small_pair(n=9, m=9, seed=seed)
    swapped = {"reference": pair["generated"], "generated": pair["reference"]}
    assert mmd(**swapped, kernel=rbf(2.0), estimator=estimator) == pytest.approx(
        mmd(**pair, kernel=rbf(2.0), estimator=estimator), abs=1e-13
    )


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "u", "block", "linear"])
def test_a_greater_shift_is_a_greater_discrepancy(estimator):
    values = [mmd(**small_pair(400, 400, shift=shift), kernel=rbf(2.0), estimator=estimator) for shift in (0, 0.5, 1)]
    assert values == sorted(values)


def test_the_unbiased_estimate_of_one_source_is_zero_on_average():
    values = [mmd(**small_pair(30, 20, shift=0, seed=seed), kernel=rbf(2.0)) for seed in range(200)]
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / math.sqrt(200))


def test_equal_seeds_give_equal_subsets():
    pair = small_pair(60, 50)
    first, again, other = (kid(**pair, subsets=5, subset_size=10, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("convert", [np.float32, torch.from_numpy, np.float16], ids=["float32", "tensor", "float16"])
def test_arrays_of_either_library_and_any_float_are_taken(convert):
    pair = small_pair(30, 20)
    converted = {name: convert(rows) for name, rows in pair.items()}
    rounded = {name: np.asarray(rows, dtype=np.float64) for name, rows in converted.items()}
    assert kid(**converted, estimator="full") == kid(**rounded, estimator="full")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(
    "measure",
    [
        lambda **pair: kid(**pair, estimator="full")[0],
        lambda **pair: kid(**pair, subsets=9, subset_size=40)[0],
        lambda **pair: kid(**pair, subsets=9, subset_size=400)[0],
        lambda **pair: mmd(**pair, kernel=energy()),
        lambda **pair: mmd(**pair, estimator="block"),
        mmd,
        cmmd,
    ],
)
def test_cuda_agrees_with_the_cpu(measure):
    pair = {name: torch.from_numpy(rows) for name, rows in small_pair(1100, 1000, width=64).items()}
    assert measure(**{name: rows.cuda() for name, rows in pair.items()}) == pytest.approx(measure(**pair), rel=1e-10)


# refusals


@pytest.mark.parametrize("measure", [mmd, cmmd, kid])
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"reference": np.zeros((0, 4))}, ValueError, "reference must have at least"),
        ({"generated": np.ones((12, 3))}, ValueError, "rows of one length"),
        ({"generated": np.full((12, 4), np.nan)}, ValueError, "generated holds NaN or infinity in row 0"),
        ({"generated": np.ones(12)}, ValueError, "generated must have shape"),
        ({"reference": [[1.0, 2.0]]}, TypeError, "reference must be a numpy array"),
        ({"reference": np.ones((12, 4), dtype=complex)}, TypeError, "array of real numbers"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(measure, changed, error, message):
    with pytest.raises(error, match=message):
        measure(**small_pair(12, 12) | changed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda pair: kid(**pair), "subset_size 1000 is more than the 13 reference or 11 generated.*subset_size=11"),
        (lambda pair: kid(**pair, subsets=0), "subsets >= 1 and subset_size >= 2, got 0 and 1000"),
        (lambda pair: kid(**pair, subset_size=1), "subsets >= 1 and subset_size >= 2, got 100 and 1"),
        (lambda pair: kid(**pair, estimator="all"), "estimator must be subsets or full, got 'all'"),
        (
            lambda pair: kid(reference=pair["reference"][:2], generated=pair["generated"], estimator="full"),
            "at least 3 rows, got 2",
        ),
        (lambda pair: mmd(**pair, estimator="u"), "equally many, got 13 reference and 11 generated"),
        (lambda pair: mmd(**pair, estimator="best"), "estimator must be one of unbiased, biased, u, block, linear"),
        (lambda pair: mmd(**pair, block_size=4), 'block_size is for estimator="block"'),
        (lambda pair: mmd(**pair, estimator="block", block_size=12), "between 2 and the 11 rows"),
        (lambda pair: mmd(**pair, estimator="block", block_size=1), "between 2 and the 11 rows"),
        (lambda pair: mmd(reference=pair["reference"][:1], generated=pair["generated"]), "at least 2 rows, got 1"),
        (lambda pair: mmd_left_out(**pair, estimator="linear"), "estimator must be one of unbiased, biased, u"),
        (lambda pair: cmmd(reference=pair["reference"], generated=np.zeros((3, 4))), "generated has length 0 in row 0"),
    ],
)
def test_impossible_calls_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(small_pair())
