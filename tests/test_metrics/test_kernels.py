"""Kernels against their formulas, the median heuristic, and what they refuse."""

import math

import numpy as np
import pytest
import torch
from oracles import discrepancy as oracle

from metrics.kernels import energy, median_distance, polynomial, rational_quadratic, rbf

RNG = np.random.default_rng(1)
A, B = torch.from_numpy(RNG.normal(size=(7, 5))), torch.from_numpy(RNG.normal(size=(9, 5)) + 0.5)
KERNELS = {
    "rbf": (rbf(1.5), oracle.rbf(1.5)),
    "rbf mixture": (rbf((2, 5, 10)), oracle.rbf(2, 5, 10)),
    "rational quadratic": (rational_quadratic(), oracle.rational_quadratic(0.1, 1, 10)),
    "polynomial": (polynomial(), oracle.polynomial(3, 1 / 5, 1.0)),
    "other polynomial": (polynomial(2, gamma=0.7, coef0=0.0), oracle.polynomial(2, 0.7, 0.0)),
    "energy": (energy(), oracle.energy()),
}


def of_pairs(kernel, a, b):
    return np.array([[kernel(x, y) for y in b.numpy()] for x in a.numpy()])


@pytest.fixture(params=KERNELS)
def pair(request):
    choice, formula = KERNELS[request.param]
    return choice.fitted(A, B, seed=0), formula


def test_a_block_follows_the_formula_up_to_a_constant(pair):
    kernel, formula = pair
    gap = of_pairs(formula, A, B) - kernel.block(A, B).numpy()
    assert np.ptp(gap) < 1e-13  # rounding of a few products of size 1


def test_the_diagonal_is_the_block_s(pair):
    kernel, _ = pair
    assert kernel.diagonal(A).numpy() == pytest.approx(kernel.block(A, A).diagonal().numpy(), rel=1e-13)


def test_batches_of_rows_are_independent(pair):
    kernel, _ = pair
    both = kernel.block(torch.stack([A, 2 * A]), torch.stack([B, B]))
    assert both[1].numpy() == pytest.approx(kernel.block(2 * A, B).numpy(), abs=1e-13)


@pytest.mark.parametrize("name", ["rbf", "rbf mixture", "rational quadratic", "energy"])
def test_a_common_offset_costs_radial_kernels_no_digits(name):
    kernel = KERNELS[name][0].fitted(A, B, seed=0)
    shifted = kernel.block(A + 2.0**20, B + 2.0**20)
    assert shifted.numpy() == pytest.approx(kernel.block(A, B).numpy(), abs=1e-9)  # the offset itself costs 20 bits


@pytest.mark.parametrize("name", ["rbf", "rbf mixture", "rational quadratic", "energy"])
def test_equal_rows_are_exactly_alike(name):
    kernel = KERNELS[name][0].fitted(A, B, seed=0)
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 300)) * 1e3)
    assert kernel.block(rows, rows).diagonal().abs().max() == 0


def test_tiny_distances_keep_their_digits():
    rows = torch.tensor([[0.0], [1e-6]], dtype=torch.float64)
    assert float(rbf(10.0).fitted(rows, rows, seed=0).block(rows, rows)[0, 1]) == pytest.approx(-5e-15, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(6, 7), (5, 9), (1, 1), (300, 270)])
def test_the_median_is_of_all_pooled_pairs(n, m):
    rng = np.random.default_rng(n)
    reference, generated = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    expected = oracle.median_distance(np.concatenate([reference, generated]))
    assert median_distance(reference=reference, generated=generated) == pytest.approx(expected, rel=1e-12)


def test_a_median_kernel_takes_multiples_of_it():
    fitted = rbf("median", multiples=(0.5, 2)).fitted(A, B, seed=0)
    median = median_distance(reference=A, generated=B)
    assert fitted == rbf((0.5 * median, 2 * median))


def test_the_median_of_many_rows_is_of_a_seeded_draw(monkeypatch):
    monkeypatch.setattr("metrics.kernels.MEDIAN_ROWS", 50)
    rows = np.random.default_rng(0).normal(size=(2, 200, 4))
    first, again, other = (median_distance(reference=rows[0], generated=rows[1], seed=seed) for seed in (0, 0, 1))
    assert first == again != other
    assert other == pytest.approx(first, rel=0.2)


@pytest.mark.parametrize("seed", range(10))
def test_a_row_is_drawn_once_at_most_for_the_median(monkeypatch, seed):
    """Any three of 0, 1, 3 and 7 have one of these middle distances; with a row drawn twice it could be 0, 1 or 7."""
    monkeypatch.setattr("metrics.kernels.MEDIAN_ROWS", 3)
    found = median_distance(reference=np.array([[0.0], [1.0]]), generated=np.array([[3.0], [7.0]]), seed=seed)
    assert min(abs(found - middle) for middle in (2, 4, 6)) < 1e-9


def test_copies_have_no_median_bandwidth():
    with pytest.raises(ValueError, match="median distance 0 is no bandwidth"):
        median_distance(reference=np.ones((5, 2)), generated=np.ones((5, 2)))


def test_numpys_numbers_are_numbers():
    assert rbf(np.float32(2.0)) == rbf(2.0)
    assert polynomial(np.int64(3)) == polynomial(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rbf(0.0), "bandwidths must be positive"),
        (lambda: rbf(()), "bandwidths must be positive and finite, at least one"),
        (lambda: rbf(math.nan), "bandwidths must be positive"),
        (lambda: rbf("mean"), 'bandwidths must be numbers or "median"'),
        (lambda: rbf(2.0, multiples=(1, 2)), "multiples are of the median"),
        (lambda: rbf(multiples=(-1.0,)), "multiples must be positive"),
        (lambda: rational_quadratic((1, math.inf)), "alphas must be positive"),
        (lambda: polynomial(0), "degree must be a whole number"),
        (lambda: polynomial(2.5), "degree must be a whole number"),
        (lambda: polynomial(gamma=-1), "gamma must be positive"),
        (lambda: polynomial(coef0=-1), "coef0 must be finite"),
    ],
)
def test_impossible_kernels_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
