"""Jackknife intervals against textbook errors, and how pictures are dealt to groups."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.intervals import group_labels, jackknife_error, jackknife_interval, leave_out_values


def test_leaving_out_single_rows_gives_the_textbook_error_of_a_mean():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 1)))
    without = [float(torch.cat([rows[:i], rows[i + 1 :]]).mean()) for i in range(40)]
    assert jackknife_error(without) == pytest.approx(float(rows.std()) / math.sqrt(40), rel=1e-12)


def test_the_interval_of_two_means_is_welchs():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 30), rng.normal(1, 3, 12)
    interval = jackknife_interval(
        b.mean() - a.mean(),
        without_reference=[b.mean() - np.delete(a, i).mean() for i in range(30)],
        without_generated=[np.delete(b, i).mean() - a.mean() for i in range(12)],
        level=0.9,
    )
    expected = scipy.stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.9)
    assert [interval.low, interval.high] == pytest.approx([expected.low, expected.high], rel=1e-9)


def test_one_sets_interval_is_students():
    rows = np.random.default_rng(2).normal(size=15)
    interval = jackknife_interval(rows.mean(), without_generated=[np.delete(rows, i).mean() for i in range(15)])
    expected = scipy.stats.ttest_1samp(rows, 0).confidence_interval(0.95)
    assert [interval.low, interval.high] == pytest.approx([expected.low, expected.high], rel=1e-9)


def test_groups_of_rows_cover_a_mean_as_often_as_they_say():
    """Of 400 draws 90 % -+ 3 standard deviations are 85.5 % to 94.5 %."""
    rows = torch.from_numpy(np.random.default_rng(3).exponential(size=(400, 100, 1)))
    intervals = [
        jackknife_interval(
            float(sample.mean()),
            without_generated=leave_out_values(lambda kept: float(kept.mean()), sample, groups=20),
            level=0.9,
        )
        for sample in rows
    ]
    covered = np.mean([interval.low <= 1.0 <= interval.high for interval in intervals])
    assert 0.855 <= covered <= 0.945


def test_the_interval_is_cut_at_what_is_possible():
    interval = jackknife_interval(0.5, without_generated=[0.2, 0.8, 0.5], lowest=0.0, highest=1.0)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_a_higher_level_is_wider():
    wide, narrow = (jackknife_interval(0.0, without_generated=[1.0, 2.0, 3.0], level=p) for p in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_equal_values_leave_no_width():
    interval = jackknife_interval(3.0, without_reference=[3.0, 3.0], without_generated=[3.0, 3.0])
    assert (interval.low, interval.high, interval.standard_error) == (3.0, 3.0, 0.0)


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 500), max_size=5),
    first=st.integers(0, 10**9),
    groups=st.integers(2, 30),
    seed=st.integers(0, 2**40),
)
def test_a_pictures_group_does_not_depend_on_batches(cuts, first: int, groups: int, seed: int):
    bounds = [0, *sorted(cuts), 500]
    parts = [group_labels(first + a, b - a, groups=groups, seed=seed) for a, b in itertools.pairwise(bounds)]
    assert np.array_equal(np.concatenate(parts), group_labels(first, 500, groups=groups, seed=seed))


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 500), groups=st.integers(2, 30))
def test_groups_are_equally_large_to_one(count: int, groups: int):
    sizes = np.bincount(group_labels(0, count, groups=groups), minlength=groups)
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == groups


def test_groups_do_not_follow_a_period_of_the_pictures():
    """A generator that cycles through 10 classes: of each class's 2000 a tenth -+ 5 deviations in any group."""
    labels = group_labels(0, 20_000, groups=10)
    counts = np.histogram2d(np.arange(20_000) % 10, labels, bins=10)[0]
    assert np.abs(counts - 200).max() < 5 * math.sqrt(200)


def test_another_seed_deals_otherwise():
    assert not np.array_equal(group_labels(0, 100, seed=1), group_labels(0, 100, seed=2))


def test_each_row_is_left_out_once_and_the_rest_stays_in_order():
    rows = torch.arange(47)[:, None].double()
    kept: list[torch.Tensor] = []
    leave_out_values(lambda part: float(kept.append(part) is None), rows, groups=5)
    assert [torch.equal(part, part.sort(dim=0).values) for part in kept] == [True] * 5
    assert torch.equal(torch.bincount(torch.cat(kept).long().flatten()), torch.full((47,), 4))


def test_pictures_can_be_left_out_too():
    images = torch.zeros(10, 3, 4, 4, dtype=torch.uint8)
    assert leave_out_values(lambda part: float(len(part)), images, groups=5) == [8.0] * 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jackknife_interval(1.0), "of at least one set, got none"),
        (lambda: jackknife_interval(1.0, without_generated=[1.0]), "at least two groups"),
        (lambda: jackknife_interval(1.0, without_generated=[1.0, 2.0], level=95), "level must lie between 0 and 1"),
        (lambda: jackknife_interval(math.nan, without_generated=[1.0, 2.0]), "a finite value, got nan"),
        (lambda: jackknife_interval(1.0, without_generated=[1.0, math.inf]), "without group 1 is not finite"),
        (lambda: leave_out_values(len, torch.zeros(9, 2), groups=5), "5 groups need at least 10 rows, got 9"),
        (lambda: group_labels(0, 10, groups=1), "groups >= 2"),
        (lambda: group_labels(-1, 10), "first_index >= 0"),
    ],
)
def test_what_gives_no_interval_is_refused(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
