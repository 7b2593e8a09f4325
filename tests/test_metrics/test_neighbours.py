"""Precision, recall, density and coverage: known values, loops over all pairs, ties, and their laws."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import neighbours as oracle

from metrics.intervals import group_labels
from metrics.neighbour_search import ball_hits, ball_radii
from metrics.neighbours import (
    Prdc,
    PrecisionRecall,
    expected_coverage,
    prdc,
    prdc_left_out,
    precision_recall,
    precision_recall_left_out,
)

RNG = np.random.default_rng(7)
SPREAD = RNG.normal(size=(40, 6))
SETS = {
    "apart": (SPREAD, RNG.normal(size=(35, 6)) * 1.2 + 0.3),
    "a lattice, full of ties": (RNG.integers(0, 3, (40, 3)), RNG.integers(0, 3, (45, 3))),
    "equal": (SPREAD, SPREAD[::-1]),
    "one picture again and again": (SPREAD, np.repeat(SPREAD[:1], 30, axis=0)),
    "nearly one picture": (SPREAD, SPREAD[0] + 1e-9 * RNG.normal(size=(30, 6))),
    "all one picture": (np.ones((12, 4)), np.ones((13, 4))),
    "some copied": (np.concatenate([SPREAD, SPREAD[:9], SPREAD[:9]]), np.concatenate([SPREAD[:20], SPREAD[:5]])),
    "a common offset": (SPREAD + 1e7, SPREAD[:30] * 1.1 + 1e7),
    "an outlier": (np.concatenate([SPREAD, SPREAD[:1] + 1e9]), SPREAD[:30] * 1.1),
    "of tiny length": (SPREAD * 1e-25, SPREAD[:30] * 1.1e-25),
    "of great length": (SPREAD * 1e30, SPREAD[:30] * 1.1e30),
    "on a line": (np.arange(30.0)[:, None], np.arange(0, 30, 0.5)[:, None]),
}


@pytest.fixture(params=SETS)
def pair(request):
    reference, generated = SETS[request.param]
    return {"reference": reference.astype(np.float64), "generated": generated.astype(np.float64)}


@pytest.fixture(params=["float32", "float64"])
def search(request, monkeypatch):
    monkeypatch.setattr("metrics.neighbour_search._search_dtype", lambda device: getattr(torch, request.param))


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_the_loops(pair, k, search):
    found = precision_recall(**pair, k=k)
    assert (found.precision, found.recall) == pytest.approx(oracle.precision_recall(**pair, k=k), abs=1e-15)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_prdc_equals_the_loops(pair, k, search):
    assert astuple(prdc(**pair, k=k))[:4] == pytest.approx(oracle.prdc(**pair, k=k), abs=1e-14)


@pytest.mark.parametrize("without", ["reference", "generated"])
@pytest.mark.parametrize("measure", [(prdc, prdc_left_out), (precision_recall, precision_recall_left_out)])
def test_left_out_values_are_those_of_the_other_rows(pair, measure, without):
    once, left_out = measure
    left = left_out(**pair, k=3, groups=6, seed=1)
    labels = group_labels(0, len(pair[without]), groups=6, seed=1)
    expected = [once(**pair | {without: pair[without][labels != group]}, k=3) for group in range(6)]
    assert getattr(left, f"without_{without}") == expected
    assert left.value == once(**pair, k=3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(5, 40), m=st.integers(5, 40), side=st.integers(1, 45))
def test_blocks_change_nothing(seed, n, m, side):
    rng = np.random.default_rng(seed)
    rows = [torch.from_numpy(np.round(rng.normal(size=(count, 3)), 1)) for count in (n, m)]
    groups = [torch.from_numpy(group_labels(0, count, groups=2)) for count in (n, m)]
    whole, cut = (
        [ball_radii(a, 1, groups=b, left_out=2, side=step) for a, b in zip(rows, groups, strict=True)]
        for step in (100, side)
    )
    assert all(torch.equal(one.radii, other.radii) for one, other in zip(whole, cut, strict=True))
    hits = [ball_hits(*balls, closed=True, side=step) for balls, step in ((whole, 100), (cut, side))]
    for one, other in zip(*hits, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(astuple(one), astuple(other), strict=True))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_order_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    reference, generated = np.round(rng.normal(size=(2, 30, 3)), 1)
    shuffled = {"reference": rng.permutation(reference), "generated": rng.permutation(generated)}
    assert prdc(**shuffled) == prdc(reference=reference, generated=generated)
    assert precision_recall(**shuffled) == precision_recall(reference=reference, generated=generated)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), k=st.integers(1, 8))
def test_equal_sets_have_all_four_at_one(seed, k):
    rows = np.random.default_rng(seed).normal(size=(30, 5))
    assert prdc(reference=rows, generated=rows.copy(), k=k) == Prdc(precision=1, recall=1, density=1, coverage=1, k=k)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_changing_places_changes_precision_into_recall(seed):
    a, b = np.random.default_rng(seed).normal(size=(2, 30, 3)) * [[[1]], [[1.3]]]
    there, back = precision_recall(reference=a, generated=b), precision_recall(reference=b, generated=a)
    assert (there.precision, there.recall) == (back.recall, back.precision)


def test_a_collapsed_generator_is_precise_and_recalls_nothing():
    reference = np.random.default_rng(0).normal(size=(300, 16))
    found = prdc(reference=reference, generated=reference[:1] + 1e-3 * np.random.default_rng(1).normal(size=(300, 16)))
    assert found.precision == 1
    assert found.recall < 0.02
    assert found.coverage < 0.2


def test_noise_far_off_is_neither_precise_nor_recalled():
    rng = np.random.default_rng(0)
    reference, generated = rng.normal(size=(100, 16)), rng.normal(size=(100, 16)) + 100
    assert astuple(prdc(reference=reference, generated=generated))[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize(("n", "k", "expected"), [(10_000, 5, 0.968773), (1000, 5, 0.968984), (200, 3, 0.876877)])
def test_the_expected_coverage_has_the_known_values(n, k, expected):
    assert expected_coverage(n, n, k) == pytest.approx(expected, abs=5e-7)


def test_equal_sources_have_the_expected_density_and_coverage():
    rng = np.random.default_rng(0)
    found = [prdc(reference=a, generated=b, k=3) for a, b in rng.normal(size=(30, 2, 200, 8))]
    density, coverage = np.mean([(each.density, each.coverage) for each in found], axis=0)
    assert density == pytest.approx(1, abs=0.03)  # 30 draws, each of 200 rows: some three standard errors
    assert coverage == pytest.approx(expected_coverage(200, 200, 3), abs=0.015)


def test_the_published_example_at_fewer_rows_equals_the_definition():
    reference, generated = np.random.default_rng(0).normal(size=(2, 300, 1000)).astype(np.float32)
    radii = [np.sort(distances(rows, rows), axis=1)[:, 5] for rows in (reference, generated)]
    gaps = distances(reference, generated)
    inside, recalled = gaps < radii[0][:, None], gaps < radii[1][None]
    expected = (inside.any(0).mean(), recalled.any(1).mean(), inside.sum() / 1500, inside.any(1).mean())
    assert astuple(prdc(reference=reference, generated=generated))[:4] == pytest.approx(expected, abs=1e-14)


def distances(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.stack([np.sqrt(((a - row) ** 2).sum(axis=1)) for row in b], axis=1)


def test_float32_products_do_not_decide_ties():
    """Twin rows at distance 0 from their copies: torch.cdist's products put them up to 0.0156 apart."""
    rows = np.random.default_rng(0).normal(size=(200, 500)).astype(np.float32) * 100
    reference, generated = np.concatenate([rows, rows]), np.concatenate([rows, rows])
    assert precision_recall(reference=reference, generated=generated, k=1) == PrecisionRecall(
        precision=1, recall=1, k=1
    )
    assert astuple(prdc(reference=reference, generated=generated, k=1))[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("context", ["precision", "autocast"])
def test_rough_float32_products_are_not_trusted(context, monkeypatch):
    reference, generated = RNG.normal(size=(2, 300, 64))
    expected = prdc(reference=reference, generated=generated)
    if context == "precision":
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
        assert prdc(reference=reference, generated=generated) == expected
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert prdc(reference=reference, generated=generated) == expected


def test_results_read_well():
    assert repr(Prdc(precision=1 / 3, recall=0.5, density=1.0, coverage=0.25, k=5)) == (
        "Prdc(precision=0.3333, recall=0.5, density=1, coverage=0.25, k=5)"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("measure", [prdc_left_out, precision_recall_left_out])
def test_cuda_agrees_with_the_cpu(pair, measure):
    on_cuda = {name: torch.from_numpy(rows).cuda() for name, rows in pair.items()}
    assert measure(**on_cuda, k=2, groups=3) == measure(**pair, k=2, groups=3)


@pytest.mark.parametrize("measure", [prdc, precision_recall])
def test_numpys_whole_number_is_a_k(pair, measure):
    assert repr(measure(**pair, k=np.int64(2))) == repr(measure(**pair, k=2))


@pytest.mark.parametrize("factor", [1e-310, 1e-200, 1e200])
def test_any_scale_of_floats_can_be_searched(factor):
    rows = factor * np.arange(12.0).reshape(12, 1)
    assert precision_recall(reference=rows, generated=rows, k=1).recall == 1


@pytest.mark.parametrize("measure", [prdc, precision_recall])
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"k": 12}, ValueError, "k must be below the number of reference rows, got k=12 and 12"),
        ({"generated": np.ones((3, 4)), "k": 3}, ValueError, "k must be below the number of generated rows, got k=3"),
        ({"reference": np.ones((1, 4)), "k": 1}, ValueError, "below the number of reference rows, got k=1 and 1"),
        ({"k": 0}, ValueError, "k must be at least 1, got 0"),
        ({"k": 2.5}, TypeError, "k must be a whole number, got 2.5"),
        ({"reference": np.zeros((0, 4))}, ValueError, "reference must have at least"),
        ({"generated": np.ones((12, 3))}, ValueError, "rows of one length"),
        ({"generated": np.full((12, 4), np.inf)}, ValueError, "generated holds NaN or infinity in row 0"),
    ],
)
def test_impossible_calls_are_refused(measure, changed, error, message):
    sets = {"reference": np.ones((12, 4)), "generated": np.ones((12, 4))}
    with pytest.raises(error, match=message):
        measure(**sets | changed)


@pytest.mark.parametrize(
    ("groups", "k", "message"),
    [(7, 2, "7 groups need at least 14 rows, got 12"), (4, 9, "reference rows without a group, got k=9 and 9")],
)
def test_groups_must_leave_enough_rows(groups, k, message):
    sets = {"reference": np.ones((12, 4)), "generated": np.ones((12, 4))}
    with pytest.raises(ValueError, match=message):
        prdc_left_out(**sets, groups=groups, k=k)
