"""Moments against numpy's mean and cov, in any cut and any order of merging."""

import copy
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.moments import BLOCK, Moments, checked_statistics


def rows_of(count: int, width: int, *, seed: int = 0, offset: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + offset


def moments_of(*batches: np.ndarray) -> Moments:
    moments = Moments(batches[0].shape[1])
    for batch in batches:
        moments.update(batch)
    return moments


def close(moments: Moments, rows: np.ndarray, tolerance: float = 1e-10) -> bool:
    return (
        moments.count == len(rows)
        and np.allclose(moments.mean.cpu().numpy(), rows.mean(axis=0), rtol=0, atol=tolerance)
        and np.allclose(moments.covariance().cpu().numpy(), np.cov(rows, rowvar=False), rtol=0, atol=tolerance)
    )


cuts = st.lists(st.integers(0, 1300), min_size=1, max_size=6)


@settings(max_examples=30, deadline=None)
@given(cuts=cuts)
def test_one_stream_of_rows_has_the_same_bits_in_any_cut(cuts: list[int]):
    rows = rows_of(1300, 7)
    whole, cut = moments_of(rows), moments_of(*np.split(rows, sorted(cuts)))
    assert torch.equal(whole.mean, cut.mean)
    assert torch.equal(whole.covariance(), cut.covariance())


@settings(max_examples=30, deadline=None)
@given(cuts=cuts, seed=st.integers(0, 99))
def test_merging_parts_in_any_order_equals_the_whole(cuts: list[int], seed: int):
    rows = rows_of(1300, 7)
    parts = [moments_of(part) for part in np.split(rows, sorted(cuts))]
    merged = Moments(7)
    for place in np.random.default_rng(seed).permutation(len(parts)):
        merged.merge(parts[place])
    assert close(merged, rows)


def test_merging_as_a_tree_equals_the_whole():
    rows = rows_of(1300, 7)
    a, b, c, d = (moments_of(part) for part in np.array_split(rows, 4))
    b.merge(d)
    c.merge(b)
    a.merge(c)
    assert close(a, rows)


@pytest.mark.parametrize("count", [2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_moments_agree_with_numpy(count: int):
    rows = rows_of(count, 5)
    assert close(moments_of(rows), rows)


def test_a_width_beyond_one_strip_agrees_with_numpy():
    rows = rows_of(700, 300) / 20
    assert close(moments_of(rows), rows)


def test_the_covariance_is_exactly_symmetric():
    covariance = moments_of(rows_of(700, 300)).covariance()
    assert torch.equal(covariance, covariance.T)


def test_a_mean_far_from_zero_costs_no_digits():
    """Sums of squares about zero would keep no digit of a variance of 1 beside a mean of 1e8."""
    near = rows_of(2000, 4, offset=0.0)
    far = near + 2.0**27
    halves = [moments_of(half) for half in np.split(far, 2)]
    halves[0].merge(halves[1])
    exact = np.cov(far - 2.0**27, rowvar=False)
    assert halves[0].covariance().numpy() == pytest.approx(exact, rel=1e-6)


def test_float32_rows_are_summed_in_float64():
    rows = (rows_of(3000, 4) + 1000).astype(np.float32)
    assert close(moments_of(rows), rows.astype(np.float64))


def test_population_covariance_divides_by_the_count():
    rows = rows_of(9, 3)
    assert moments_of(rows).covariance(ddof=0).numpy() == pytest.approx(np.cov(rows, rowvar=False, ddof=0), abs=1e-12)


def test_reading_between_batches_changes_nothing():
    rows = rows_of(1300, 7)
    moments = Moments(7)
    for part in np.array_split(rows, 13):
        moments.update(part)
        assert moments.mean.shape == (7,)
    assert close(moments, rows)


def test_the_mean_handed_out_does_not_change_later():
    moments = moments_of(np.ones((3, 2)))
    before = moments.mean
    moments.update(np.zeros((3, 2)))
    moments.merge(moments_of(np.zeros((3, 2))))
    assert before.tolist() == [1.0, 1.0]


def test_the_rows_given_are_not_changed():
    rows = torch.from_numpy(rows_of(600, 3))
    before = rows.clone()
    moments = Moments(3)
    moments.update(rows)
    assert moments.covariance().shape == (3, 3)
    assert torch.equal(rows, before)


def test_merging_leaves_the_other_as_it_was():
    rows = rows_of(50, 3)
    other = moments_of(rows)
    moments_of(rows_of(40, 3, seed=2)).merge(other)
    assert close(other, rows)


def test_merging_oneself_doubles_every_row():
    rows = rows_of(50, 3)
    moments = moments_of(rows)
    moments.merge(moments)
    assert close(moments, np.concatenate([rows, rows]))


def test_an_empty_batch_and_an_empty_other_add_nothing():
    rows = rows_of(50, 3)
    moments = moments_of(rows, rows[:0])
    moments.merge(Moments(3))
    assert close(moments, rows)


@settings(max_examples=30, deadline=None)
@given(part=st.integers(0, 890))
def test_taking_a_part_away_leaves_the_rest(part: int):
    rows = rows_of(900, 5)
    rest = moments_of(rows).without(moments_of(rows[:part]))
    assert close(rest, rows[part:], tolerance=1e-9)


def test_of_many_columns_a_part_can_be_merged_and_taken_away():
    rows = rows_of(700, 600) / 20
    moments, part = moments_of(rows[:500]), moments_of(rows[500:])
    moments.merge(part)
    assert close(moments, rows)
    assert close(moments.without(part), rows[:500])
    assert close(Moments.from_state_dict(moments.without(part).state_dict()), rows[:500])


def test_what_is_left_goes_on_counting():
    rows = rows_of(700, 5)
    rest = moments_of(rows).without(moments_of(rows[:300]))
    rest.update(rows[:300])
    assert close(rest, rows)


def test_a_state_does_not_follow_its_moments():
    moments = moments_of(rows_of(600, 3))
    state = moments.state_dict()
    before = {name: state[name].clone() for name in ("mean", "scatter")}
    moments.update(rows_of(600, 3, seed=1, offset=9.0))
    assert moments.mean[0] != before["mean"][0]
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_the_state_survives_saving(tmp_path):
    rows = rows_of(700, 3)
    torch.save(moments_of(rows[:600]).state_dict(), tmp_path / "moments.pt")
    resumed = Moments.from_state_dict(torch.load(tmp_path / "moments.pt", weights_only=True))
    resumed.update(rows[600:])
    assert close(resumed, rows)


def test_a_copy_goes_its_own_way():
    rows = rows_of(100, 3)
    moments = moments_of(rows)
    copy.deepcopy(moments).update(rows)
    assert close(moments, rows)


def test_moments_begun_in_inference_mode_go_on_outside():
    rows = rows_of(1300, 3)
    with torch.inference_mode():
        moments = moments_of(rows[:700])
        part = moments_of(rows[700:800])
        part.merge(moments_of(rows[800:1000]))
        part = part.without(moments_of(rows[700:800]))
        part.update(rows[700:800])
    moments.update(rows[1000:])
    moments.merge(part)
    assert close(moments, rows)


def test_rows_with_gradients_are_taken_without():
    moments = Moments(2)
    moments.update(torch.ones(4, 2, requires_grad=True))
    assert not moments.mean.requires_grad


def test_before_the_first_row_there_is_no_mean():
    with pytest.raises(ValueError, match="no rows yet"):
        _ = Moments(3).mean


def test_a_single_row_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        moments_of(np.ones((1, 3))).covariance()


def test_nan_is_refused_with_its_row():
    rows = rows_of(9, 3)
    rows[4, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in row 4"):
        Moments(3).update(rows)


def test_a_refused_batch_leaves_the_moments_as_they_were():
    rows = rows_of(50, 3)
    moments = moments_of(rows)
    with pytest.raises(ValueError, match="NaN"):
        moments.update(np.full((2, 3), np.nan))
    assert close(moments, rows)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Moments(0), "width must be"),
        (lambda: Moments(3).update(np.zeros((2, 4))), "3 numbers each, got 4"),
        (lambda: Moments(3).update(np.zeros(3)), "shape (n, d)"),
        (lambda: Moments(3).merge(Moments(4)), "one width"),
        (lambda: moments_of(np.ones((4, 3))).without(moments_of(np.ones((4, 3)))), "a part of these"),
        (lambda: moments_of(np.ones((4, 3))).covariance(ddof=2), "ddof must be"),
        (lambda: Moments.from_state_dict({"width": 3}), "lacks ['count', 'mean', 'scatter']"),
        (
            lambda: Moments.from_state_dict({"width": 3, "count": 1, "mean": np.ones(2), "scatter": np.eye(2)}),
            "holds width 3",
        ),
    ],
)
def test_what_cannot_be_summed_is_refused(call, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (np.zeros(3), np.eye(2), "a mean of shape (d,)"),
        (np.zeros(2), np.ones((2, 3)), "a mean of shape (d,)"),
        (np.zeros((2, 1)), np.eye(2), "a mean of shape (d,)"),
        (np.array([0, np.nan]), np.eye(2), "the mean of a holds NaN"),
        (np.zeros(2), np.full((2, 2), np.inf), "the covariance of a holds NaN"),
        (np.zeros(2), np.array([[1, 0.5], [0, 1]]), "not symmetric"),
        (np.zeros(2), np.array([[-1.0, 0], [0, 1]]), "negative variance"),
    ],
)
def test_what_is_no_mean_and_covariance_is_refused(mean, covariance, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        checked_statistics("a", mean, covariance)


@pytest.mark.parametrize("mean", [[0.0, 0.0], np.zeros(2, dtype=complex), None])
def test_a_mean_that_is_no_real_array_is_refused(mean):
    with pytest.raises(TypeError, match="the mean of a"):
        checked_statistics("a", mean, np.eye(2))


@pytest.mark.gpu
def test_on_cuda_the_moments_are_the_cpus():
    rows = rows_of(1300, 300) / 20
    moments = Moments(300)
    moments.update(torch.from_numpy(rows).cuda())
    assert moments.device.type == "cuda"
    assert close(moments, rows)
