"""The Fréchet distance against scipy's square root, closed forms and other libraries' known values."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import frechet as oracle

from metrics.frechet import FrechetReference, fid, fid_infinity, fid_interval, frechet_distance
from metrics.intervals import group_labels
from metrics.moments import Moments


def drawn_pair(seed: int, rows: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    state = np.random.RandomState(seed)  # the known values were drawn with it
    return state.randn(rows, width), state.randn(rows, width)


def statistics(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.mean(axis=0), np.cov(rows, rowvar=False)


def features(seed: int, rows: int, width: int, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, (rows, width))


@pytest.mark.parametrize(
    ("seed", "rows", "width", "expected"),
    [
        (1, 4, 4, 4.753837617472),  # eigenvalues a rounding below 0, whose roots once came out NaN elsewhere
        (2023, 256, 64, 8.623356161618),
        (2023, 64, 256, 312.684070173),  # fewer rows than columns
    ],
)
def test_known_values_from_features(seed: int, rows: int, width: int, expected: float):
    reference, generated = drawn_pair(seed, rows, width)
    assert fid(reference=reference, generated=generated) == pytest.approx(expected, abs=2e-9)


@pytest.mark.parametrize(
    ("seed", "rows", "width", "expected"),
    [(1, 4, 4, 4.753837617472), (2023, 256, 64, 8.623356161618), (2023, 64, 256, 312.684070173)],
)
def test_known_values_from_statistics(seed: int, rows: int, width: int, expected: float):
    reference, generated = drawn_pair(seed, rows, width)
    assert frechet_distance(*statistics(reference), *statistics(generated)) == pytest.approx(expected, abs=2e-9)


def test_means_of_zeros_and_ones_are_as_far_as_they_have_columns():
    zeros, ones, eye = np.zeros(2048), np.ones(2048), np.eye(2048)
    assert frechet_distance(zeros, eye, ones, eye) == 2048.0


def test_statistics_of_three_grey_pictures_through_a_mean_of_channels():
    """pytorch-fid's own test: pictures of levels 0, 0.5 and 1, and a network that repeats their mean."""
    moments = Moments(8)
    moments.update(np.repeat([[0.0], [0.5], [1.0]], 8, axis=1))
    assert moments.mean.tolist() == pytest.approx([0.5] * 8, abs=1e-15)
    assert moments.covariance().numpy() == pytest.approx(np.full((8, 8), 0.25), abs=1e-15)


@pytest.mark.parametrize("rows", [64, 512, 4096, 32768])
@pytest.mark.parametrize("width", [2, 8, 32])
def test_full_rank_grid_agrees_with_scipy(rows: int, width: int):
    reference, generated = drawn_pair(2023, rows, width)
    expected = oracle.fid(reference, generated)
    assert fid(reference=reference, generated=generated) == pytest.approx(expected, abs=5e-6)
    assert frechet_distance(*statistics(reference), *statistics(generated)) == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize("rows", [2, 4, 8, 32])
@pytest.mark.parametrize("width", [8, 64, 256])
def test_singular_grid_agrees_with_scipy_as_far_as_scipy_goes(rows: int, width: int):
    """scipy's root of a singular product errs by the root of a rounding, 6e-5 here: five digits, not five decimals."""
    reference, generated = drawn_pair(2023, rows, width)
    expected = oracle.fid(reference, generated)
    assert fid(reference=reference, generated=generated) == pytest.approx(expected, rel=5e-6, abs=1e-5)
    assert frechet_distance(*statistics(reference), *statistics(generated)) == pytest.approx(
        fid(reference=reference, generated=generated), abs=1e-8
    )


@pytest.mark.parametrize("width", [2, 16, 256])
def test_two_rows_each_have_a_closed_form(width: int):
    """Two rows give covariance a a' with a = (x1 - x2) / sqrt 2, and tr (a a' b b')^(1/2) = |a b|."""
    x, y = drawn_pair(2023, 2, width)
    a, b = (x[0] - x[1]) / np.sqrt(2), (y[0] - y[1]) / np.sqrt(2)
    apart = x.mean(axis=0) - y.mean(axis=0)
    expected = apart @ apart + a @ a + b @ b - 2 * abs(a @ b)
    assert fid(reference=x, generated=y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated")
def test_the_distance_is_pytorch_fids():
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    a, b = statistics(features(1, 300, 64)), statistics(features(2, 300, 64, scale=1.5))
    assert frechet_distance(*a, *b) == pytest.approx(fid_score.calculate_frechet_distance(*a, *b), rel=1e-10)


def test_diagonal_covariances_have_a_closed_form():
    rng = np.random.default_rng(5)
    mean_a, mean_b, var_a, var_b = rng.normal(size=12), rng.normal(size=12), rng.random(12) * 9, rng.random(12)
    expected = oracle.frechet_of_diagonals(mean_a, var_a, mean_b, var_b)
    assert frechet_distance(mean_a, np.diag(var_a), mean_b, np.diag(var_b)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_a_scaled_covariance_has_a_closed_form(scale: float):
    mean, covariance = statistics(features(1, 40, 6))
    expected = (1 - scale) ** 2 * np.trace(covariance)
    assert frechet_distance(mean, covariance, mean, scale**2 * covariance) == pytest.approx(expected, abs=1e-12)


def test_covariances_without_common_directions_add_their_traces():
    mean, a, b = np.zeros(4), np.diag([2.0, 3.0, 0.0, 0.0]), np.diag([0.0, 0.0, 5.0, 7.0])
    assert frechet_distance(mean, a, mean, b) == pytest.approx(17.0, rel=1e-14)


def test_sets_without_any_spread_are_as_far_as_their_means():
    assert fid(reference=np.zeros((5, 3)), generated=np.full((4, 3), 2.0)) == 12.0
    assert fid(reference=np.zeros((2, 3)), generated=np.full((2, 3), 2.0)) == 12.0


@pytest.mark.parametrize("lowest", [-4, -8, -9, -10, -11, -14])
def test_an_ill_conditioned_covariance_agrees_with_its_closed_form(lowest: int):
    """Spectra of deep features fall by many powers of ten; Cholesky's root serves down to 1e-10, eigenvectors below."""
    var_a, var_b = np.logspace(0, lowest, 30), np.logspace(0, lowest, 30)[::-1].copy()
    turn = np.linalg.qr(features(3, 30, 30))[0]
    expected = oracle.frechet_of_diagonals(np.zeros(30), var_a, np.zeros(30), var_b)
    found = frechet_distance(np.zeros(30), turn * var_a @ turn.T, np.zeros(30), turn * var_b @ turn.T)
    assert found == pytest.approx(expected, abs=1e-7)


def test_matrices_of_several_strips_agree_with_scipy():
    a, b = statistics(features(1, 1200, 600)), statistics(features(2, 1200, 600, scale=1.2))
    assert frechet_distance(*a, *b) == pytest.approx(oracle.frechet(*a, *b), rel=1e-10)


def test_singular_matrices_of_several_strips_agree_with_the_rows_own_products():
    """Eigenvalues that should be 0 are roundings, whose roots are 1e-8 each."""
    a, b = features(1, 400, 600), features(2, 350, 600, scale=1.2)
    from_statistics = frechet_distance(*statistics(a), *statistics(b))
    assert from_statistics == pytest.approx(fid(reference=a, generated=b), rel=1e-8)


def test_directions_that_no_row_takes_add_nothing():
    """170 roots of a rounding would add 3e-9 here."""
    a, b = features(1, 30, 200), features(2, 40, 200, scale=1.3)
    from_statistics = frechet_distance(*statistics(a), *statistics(b))
    assert from_statistics == pytest.approx(fid(reference=a, generated=b), rel=1e-12)


def test_a_kept_reference_does_not_follow_the_arrays_it_was_made_of():
    mean, covariance = np.zeros(3), np.eye(3)
    known = FrechetReference(mean, covariance)
    mean += 5
    covariance *= 4
    assert known.distance(np.zeros(3), np.eye(3)) == 0.0


def test_a_kept_reference_gives_the_distance_of_both():
    a, b = statistics(features(1, 90, 9)), statistics(features(2, 80, 9, scale=2.0))
    known = FrechetReference(*a)
    assert [known.distance(*b), known.distance(*a)] == pytest.approx([frechet_distance(*a, *b), 0.0], abs=1e-12)


def test_population_covariances_are_offered():
    reference, generated = features(1, 30, 4), features(2, 20, 4)
    found = fid(reference=reference, generated=generated, ddof=0)
    assert found == pytest.approx(oracle.fid(reference, generated, ddof=0), abs=1e-9)


def test_population_covariances_of_few_rows_are_offered():
    reference, generated = features(1, 9, 40), features(2, 8, 40)
    found = fid(reference=reference, generated=generated, ddof=0)
    assert found == pytest.approx(oracle.fid(reference, generated, ddof=0), abs=1e-4)


def test_with_few_rows_no_covariance_is_formed(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a d x d matrix was formed")

    monkeypatch.setattr(FrechetReference, "__init__", refuse)
    assert fid(reference=features(1, 100, 64), generated=features(2, 63, 64)) > 0


def test_few_rows_against_many_need_no_matrix_of_all_pairs(monkeypatch: pytest.MonkeyPatch):
    shapes, values = [], torch.linalg.svdvals
    monkeypatch.setattr(torch.linalg, "svdvals", lambda matrix: shapes.append(tuple(matrix.shape)) or values(matrix))
    many, few = features(1, 900, 64), features(2, 20, 64, scale=1.2)
    found = fid(reference=many, generated=few)
    assert shapes == [(64, 20)]
    a, b = many - many.mean(axis=0), few - few.mean(axis=0)
    overlap = np.linalg.norm(a @ b.T, "nuc") / np.sqrt(899 * 19)
    parts = [np.square(many.mean(axis=0) - few.mean(axis=0)).sum(), np.square(a).sum() / 899, np.square(b).sum() / 19]
    assert found == pytest.approx(sum(parts) - 2 * overlap, rel=1e-12)


sets = st.tuples(st.integers(0, 999), st.integers(2, 40), st.integers(2, 40), st.integers(1, 24))


@settings(max_examples=60, deadline=None)
@given(sets, st.sampled_from([1e-6, 1.0, 1e4]), st.sampled_from([0.0, 1.0, 1e3]), st.integers(1, 24))
def test_the_distance_is_real_and_never_negative(drawn, scale: float, shift: float, rank: int):
    seed, n, m, width = drawn
    low_rank = features(seed, rank, width)
    reference = features(seed, n, rank, scale=scale, shift=shift) @ low_rank
    generated = features(seed + 1, m, rank, scale=scale, shift=shift) @ low_rank
    from_rows = fid(reference=reference, generated=generated)
    assert type(from_rows) is float
    assert from_rows >= 0


@settings(max_examples=40, deadline=None)
@given(sets)
def test_both_ways_to_the_trace_agree(drawn):
    seed, n, m, width = drawn
    reference, generated = features(seed, n, width), features(seed + 1, m, width, scale=1.5)
    a = np.atleast_2d(np.cov(reference, rowvar=False))
    b = np.atleast_2d(np.cov(generated, rowvar=False))
    from_statistics = frechet_distance(reference.mean(axis=0), a, generated.mean(axis=0), b)
    assert fid(reference=reference, generated=generated) == pytest.approx(from_statistics, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(sets)
def test_a_set_is_at_no_distance_from_itself_in_any_order(drawn):
    seed, n, _, width = drawn
    rows = features(seed, n, width)
    order = np.random.default_rng(seed).permutation(n)
    assert fid(reference=rows, generated=rows[order]) == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(sets)
def test_the_distance_is_symmetric(drawn):
    seed, n, m, width = drawn
    a, b = features(seed, n, width), features(seed + 1, m, width, shift=1.0)
    assert fid(reference=a, generated=b) == pytest.approx(fid(reference=b, generated=a), abs=1e-7)


def test_more_noise_is_farther():
    rows = features(1, 500, 8)
    noise = features(2, 500, 8)
    distances = [fid(reference=rows, generated=rows + amount * noise) for amount in (0.1, 0.3, 1.0, 3.0)]
    assert distances == sorted(distances)


def test_a_collapsed_set_is_far():
    rows = features(1, 500, 8)
    collapsed = np.tile(rows[:4], (100, 1))
    assert fid(reference=rows, generated=collapsed) > 5 * fid(reference=rows, generated=features(2, 400, 8))


def test_tensors_and_arrays_give_the_same_float():
    a, b = features(1, 30, 5).astype(np.float32), features(2, 30, 5).astype(np.float32)
    assert fid(reference=torch.from_numpy(a), generated=torch.from_numpy(b)) == fid(reference=a, generated=b)


def test_extrapolation_agrees_with_the_fit_written_out():
    reference, generated = features(1, 300, 6), features(2, 400, 6, scale=1.2)
    expected = oracle.fid_infinity(reference, generated, [100, 200, 300, 400], seed=7)
    found = fid_infinity(reference=reference, generated=generated, points=4, smallest=100, seed=7)
    assert found == pytest.approx(expected, abs=1e-9)


def test_extrapolation_comes_nearer_to_the_truth_than_the_distance():
    """N(0, I) against N(0, 1.44 I) in 32 columns: (1.2 - 1)^2 * 32 = 1.28."""
    reference, generated = features(1, 60_000, 32), features(2, 4000, 32, scale=1.2)
    plain = fid(reference=reference, generated=generated)
    endless = fid_infinity(reference=reference, generated=generated, smallest=400)
    assert abs(endless - 1.28) < abs(plain - 1.28) / 2


def test_extrapolation_repeats_by_its_seed():
    reference, generated = features(1, 300, 6), features(2, 400, 6)
    calls = [fid_infinity(reference=reference, generated=generated, smallest=100, seed=s) for s in (3, 3, 4)]
    assert calls[0] == calls[1] != calls[2]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (300, {}, "at least 10000 rows to extrapolate from 15 sizes of 5000 and more, got 300"),
        (300, {"smallest": 200}, "at least 400 rows"),
        (300, {"smallest": 2, "points": 1}, "at least 2 points"),
        (300, {"smallest": 1}, "at least 2 rows"),
        (16, {"smallest": 4}, "at least 19 rows"),
    ],
)
def test_too_few_rows_for_a_line_are_refused(rows: int, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        fid_infinity(reference=features(1, 50, 4), generated=features(2, rows, 4), **options)


def grouped(rows: np.ndarray, groups: int) -> list[Moments]:
    parts = [Moments(rows.shape[1]) for _ in range(groups)]
    labels = group_labels(0, len(rows), groups=groups)
    for group, part in enumerate(parts):
        part.update(rows[labels == group])
    return parts


@pytest.mark.parametrize("width", [4, 300])
def test_an_interval_from_groups_equals_leaving_out_their_rows(width: int):
    reference, generated, groups = features(1, 90, width), features(2, 100, width, scale=1.5), 5
    labels_r, labels_g = group_labels(0, 90, groups=5), group_labels(0, 100, groups=5)
    without_r = [fid(reference=reference[labels_r != i], generated=generated) for i in range(groups)]
    without_g = [fid(reference=reference, generated=generated[labels_g != i]) for i in range(groups)]
    expected = np.sqrt(4 * np.var(without_r) + 4 * np.var(without_g))
    interval = fid_interval(reference=grouped(reference, 5), generated=grouped(generated, 5))
    assert interval.standard_error == pytest.approx(expected, rel=1e-6)
    assert (interval.low + interval.high) / 2 == pytest.approx(fid(reference=reference, generated=generated), rel=1e-7)


def test_an_interval_of_alike_sets_does_not_pass_below_zero():
    interval = fid_interval(reference=grouped(features(1, 60, 4), 5), generated=grouped(features(2, 60, 4), 5))
    assert interval.low >= 0


def test_an_interval_covers_the_expected_distance_as_often_as_it_says():
    """Of 200 draws 95 % - 2.6 standard deviations are 91 %; the jackknife errs on the safe side."""
    draws = [(features(2 * i, 200, 4), features(2 * i + 1, 200, 4, scale=1.3, shift=0.3)) for i in range(1000, 1200)]
    expectation = np.mean([fid(reference=a, generated=b) for a, b in draws])
    intervals = [fid_interval(reference=grouped(a, 10), generated=grouped(b, 10)) for a, b in draws]
    covered = np.mean([interval.low <= expectation <= interval.high for interval in intervals])
    assert 0.91 <= covered <= 0.99


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fid(reference=np.ones((1, 3)), generated=np.ones((5, 3))),
            "reference must have at least 2 rows, got 1",
        ),
        (
            lambda: fid(reference=np.ones((5, 3)), generated=np.ones((1, 3))),
            "generated must have at least 2 rows, got 1",
        ),
        (lambda: fid(reference=np.ones((5, 3)), generated=np.ones((5, 4))), "rows of one length"),
        (lambda: fid(reference=np.full((5, 3), np.nan), generated=np.ones((5, 3))), "reference holds NaN"),
        (lambda: frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), "rows of one length"),
        (lambda: frechet_distance(np.zeros(3), np.eye(2), np.zeros(2), np.eye(2)), "a mean of shape (d,)"),
        (
            lambda: frechet_distance(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros(2), np.eye(2)),
            "reference has a negative eigenvalue, -1",
        ),
        (
            lambda: frechet_distance(np.zeros(2), np.eye(2), np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]])),
            "generated set has a negative eigenvalue, -1",
        ),
        (
            lambda: fid_interval(reference=[Moments(2)], generated=[Moments(2)]),
            "at least two groups of each set, got 1",
        ),
    ],
)
def test_what_has_no_distance_is_refused(call, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [40, 400])
def test_on_cuda_the_distance_is_the_cpus(rows: int):
    a, b = torch.from_numpy(features(1, rows, 64)), torch.from_numpy(features(2, rows, 64, scale=1.5))
    on_cpu = fid(reference=a, generated=b)
    assert fid(reference=a.cuda(), generated=b.cuda()) == pytest.approx(on_cpu, rel=1e-9)
