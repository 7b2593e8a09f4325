"""The permutation test: exact values of small sets, uniform under the null, small under a shift."""

import numpy as np
import pytest
from oracles import discrepancy as oracle

from metrics.discrepancy import mmd
from metrics.kernels import energy, median_distance, polynomial, rbf
from metrics.permutations import mmd_test


def pair(n=20, m=25, shift=0.0, seed=0, width=3):
    rng = np.random.default_rng(seed)
    return {"reference": rng.normal(size=(n, width)), "generated": rng.normal(size=(m, width)) + shift}


@pytest.mark.parametrize("kernel", [rbf(1.0), rbf(), energy(), polynomial()], ids=str)
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_the_value_is_the_discrepancy(kernel, estimator):
    found = mmd_test(**pair(), kernel=kernel, estimator=estimator, permutations=5)
    assert found.value == pytest.approx(mmd(**pair(), kernel=kernel, estimator=estimator), abs=1e-12)


@pytest.mark.parametrize("kernel", [rbf(1.0), energy(), polynomial()], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_labellings_that_differ_by_rounding_are_ties(kernel, seed):
    """All corners of a regular simplex are equally far apart, so every labelling has the same discrepancy."""
    corners = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    assert mmd_test(reference=corners[:3], generated=corners[3:], kernel=kernel, permutations=50).p_value == 1


def test_the_p_value_approaches_the_share_of_all_labellings():
    sets = pair(4, 5, shift=0.6)
    expected = oracle.permutation_p_value(oracle.rbf(median_distance(**sets)), **sets)
    found = mmd_test(**sets, permutations=4000)
    # three standard errors of a share of 4,000
    assert found.p_value == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / 4000))


def test_p_values_of_one_source_are_uniform():
    values = np.array([mmd_test(**pair(seed=seed), permutations=99).p_value for seed in range(300)])
    steps = np.arange(1, 11) / 10
    gaps = [abs((values <= step).mean() - step) for step in steps]
    assert max(gaps) < 1.63 / np.sqrt(300)  # Kolmogorov and Smirnov, 1 per cent


def test_p_values_are_never_too_small_for_the_observed_labelling_counts_too():
    found = mmd_test(**pair(shift=5), permutations=99)
    assert found.p_value == 1 / 100


def test_equal_sets_are_no_surprise():
    rows = pair()["reference"]
    assert mmd_test(reference=rows, generated=rows.copy()).p_value > 0.5


def test_copies_of_one_row_tie_in_all_labellings():
    rows = np.ones((6, 2))
    assert mmd_test(reference=rows, generated=rows, kernel=rbf(1.0), permutations=50).p_value == 1


def test_a_shift_is_found():
    assert mmd_test(**pair(100, 80, shift=0.5)).p_value < 0.01


def test_equal_seeds_give_equal_p_values():
    first, again, other = (mmd_test(**pair(shift=0.3), permutations=200, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.p_value != other.p_value


def test_the_result_reads_well():
    assert repr(mmd_test(**pair(shift=5), kernel=energy(), permutations=99)).endswith("p = 0.01 of 99 permutations)")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"permutations": 0}, "permutations must be at least 1, got 0"),
        ({"estimator": "u"}, "estimator must be unbiased or biased, got 'u'"),
        ({"reference": np.ones((1, 3))}, "reference must have at least 2 rows, got 1"),
        ({"reference": np.ones((4, 2))}, "rows of one length"),
    ],
)
def test_impossible_calls_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        mmd_test(**pair() | changed)
