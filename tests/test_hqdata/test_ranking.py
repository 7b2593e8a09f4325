"""Laws of the selection: order-free, nested, mergeable, and nothing is ranked that cannot be."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hqdata.ranking import TopK, best, best_places

SCORES = st.dictionaries(
    st.text(max_size=4), st.sampled_from([-math.inf, -1.5, -0.0, 0.0, 2.0, 2.5, 1e300]), max_size=30
)
COUNTS = st.integers(min_value=0, max_value=35)


def slow_best(scores, count):
    """The obvious way, as an oracle: two stable sorts, first by id and then by falling score."""
    return sorted(sorted(scores), key=lambda id: scores[id], reverse=True)[:count]


def filled(scores, count):
    top = TopK(count)
    for id, score in scores.items():
        top.add(id, score)
    return top


def test_highest_scores_come_first():
    assert best([("a", 0.1), ("b", 0.9), ("c", 0.5)], 2) == ["b", "c"]


def test_ties_are_broken_by_id():
    assert best([("c", 1.0), ("a", 1.0), ("b", 1.0)], 2) == ["a", "b"]


def test_a_count_beyond_the_supply_gives_all():
    assert best({"a": 1.0, "b": 2.0}, 100) == ["b", "a"]


@given(SCORES, COUNTS)
def test_best_equals_the_obvious_way(scores, count):
    assert best(scores, count) == slow_best(scores, count)


@given(SCORES, COUNTS, st.randoms(use_true_random=False))
def test_best_does_not_depend_on_the_order(scores, count, rng: random.Random):
    pairs = list(scores.items())
    rng.shuffle(pairs)
    assert best(pairs, count) == best(scores, count)


@given(SCORES, COUNTS)
def test_the_best_k_begin_the_best_k_plus_one(scores, count):
    assert best(scores, count + 1)[:count] == best(scores, count)


@given(SCORES, COUNTS)
def test_the_running_top_k_equals_best(scores, count):
    assert filled(scores, count).ids() == best(scores, count)


@given(SCORES, COUNTS, st.integers(0, 30))
def test_merging_two_halves_equals_the_whole(scores, count, cut):
    pairs = list(scores.items())
    first, second = filled(dict(pairs[:cut]), count), filled(dict(pairs[cut:]), count)
    first.merge(second)
    assert first.ids() == best(scores, count)


@given(SCORES, COUNTS)
def test_adding_everything_again_changes_nothing(scores, count):
    top = filled(scores, count)
    for id, score in scores.items():
        top.add(id, score)
    assert top.items() == filled(scores, count).items()


@given(SCORES, st.integers(1, 35))
def test_the_threshold_is_the_worst_kept_score_once_full(scores, count):
    top = filled(scores, count)
    kept = [scores[id] for id in best(scores, count)]
    assert top.threshold == (kept[-1] if len(kept) == count else -math.inf)


@given(SCORES, COUNTS)
def test_memory_is_bounded_by_the_count(scores, count):
    top = filled(scores, count)
    assert len(top) == len(top._held) == min(count, len(scores))


def test_add_says_whether_the_entry_was_kept():
    top = TopK(1)
    assert [top.add("a", 1.0), top.add("b", 2.0), top.add("c", 1.5)] == [True, True, False]


def test_nothing_reaches_the_threshold_of_an_empty_choice():
    assert TopK(0).threshold == math.inf


@pytest.mark.parametrize("choose", [lambda: best({"x7": math.nan}, 1), lambda: TopK(1).add("x7", math.nan)])
def test_nan_is_refused_with_the_id(choose):
    with pytest.raises(ValueError, match="score of 'x7' is NaN"):
        choose()


def test_a_nan_beyond_the_count_is_refused_too():
    with pytest.raises(ValueError, match="'b' is NaN"):
        best([("a", 1.0), ("b", math.nan)], 0)


def test_a_repeated_id_is_refused_by_name():
    with pytest.raises(ValueError, match="id 'a' has two scores"):
        best([("a", 1.0), ("a", 1.0)], 1)


def test_a_held_id_with_another_score_is_refused_by_name():
    top = TopK(2)
    top.add("a", 1.0)
    with pytest.raises(ValueError, match=r"id 'a' was added with score 1\.0 and now 2\.0"):
        top.add("a", 2.0)


@pytest.mark.parametrize("choose", [lambda: best({}, -1), lambda: TopK(-1)])
def test_a_negative_count_is_refused(choose):
    with pytest.raises(ValueError, match="count must be at least 0, got -1"):
        choose()


def test_merging_a_shorter_choice_is_refused():
    with pytest.raises(ValueError, match="already forgotten there; make both with count=3"):
        TopK(3).merge(TopK(2))


@given(SCORES, COUNTS)
def test_a_column_of_scores_gives_the_same_choice(scores, count):
    ids = list(scores)
    places = best_places(np.array(list(scores.values()), np.float64), count, ids.__getitem__)
    assert [ids[place] for place in places] == best(scores, count)


def test_a_column_with_nan_is_refused_with_its_id():
    with pytest.raises(ValueError, match="'b' is NaN"):
        best_places(np.array([1.0, math.nan]), 1, "ab".__getitem__)
