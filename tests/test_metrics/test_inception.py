"""The Inception score against closed forms and against the sums written out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import inception as oracle

from metrics.inception import inception_score


def logits_of(count: int, classes: int, *, seed: int = 0, spread: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, spread, (count, classes))


@pytest.mark.parametrize("classes", [2, 10, 1008])
def test_sure_and_varied_pictures_score_their_classes(classes: int):
    logits = np.tile(1000 * np.eye(classes), (10, 1))
    assert inception_score(logits) == pytest.approx((classes, 0.0), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("logits", [np.zeros((20, 7)), np.tile(logits_of(1, 7), (20, 1))])
def test_pictures_without_differences_score_one(logits: np.ndarray):
    assert inception_score(logits) == pytest.approx((1.0, 0.0), abs=1e-12)


def test_smoothed_classes_have_a_known_score():
    probabilities = np.full((10, 10), 0.009)
    np.fill_diagonal(probabilities, 0.919)
    score = inception_score(np.tile(np.log(probabilities), (10, 1)))
    assert score == pytest.approx((6.318014208194, 0.0), abs=1e-11)


@pytest.mark.parametrize(("count", "splits"), [(10, 10), (23, 10), (57, 4), (9, 1)])
def test_the_score_is_that_of_the_sums_written_out(count: int, splits: int):
    logits = logits_of(count, 6)
    assert inception_score(logits, splits=splits) == pytest.approx(oracle.inception_score(logits, splits), rel=1e-12)


def test_probabilities_that_underflow_count_as_none():
    """exp(-2000) is 0 in float64, and 0 * log 0 would be NaN."""
    logits = np.array([[2000.0, 0.0, 0.0], [0.0, 2000.0, 0.0]] * 10)
    assert inception_score(logits, splits=1) == pytest.approx((2.0, 0.0), rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    count=st.integers(1, 60),
    classes=st.integers(1, 20),
    spread=st.sampled_from([0.0, 1e-9, 1.0, 1e5]),
)
def test_the_score_lies_between_one_and_the_classes(seed: int, count: int, classes: int, spread: float):
    mean, deviation = inception_score(logits_of(count, classes, seed=seed, spread=spread), splits=1)
    assert 1 <= mean <= classes * (1 + 1e-12)
    assert deviation == 0


def test_an_offset_of_all_logits_changes_nothing():
    logits = logits_of(40, 6)
    assert inception_score(logits + 500) == pytest.approx(inception_score(logits), abs=1e-9)


def test_the_order_within_a_part_changes_nothing():
    logits = logits_of(40, 6)
    swapped = logits.reshape(10, 4, 6)[:, ::-1].reshape(40, 6)
    assert inception_score(swapped) == pytest.approx(inception_score(logits), rel=1e-13)


def test_a_collapsed_generator_scores_less():
    logits = logits_of(400, 10)
    assert inception_score(np.tile(logits[:4], (100, 1)))[0] < inception_score(logits)[0]


def test_float32_tensors_are_computed_in_float64():
    logits = torch.from_numpy(logits_of(40, 6)).float()
    assert inception_score(logits) == inception_score(logits.double())


def test_fewer_pictures_than_parts_are_refused():
    with pytest.raises(ValueError, match="10 splits need at least 10 pictures, got 9"):
        inception_score(logits_of(9, 4))


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match="splits must be at least 1"):
        inception_score(logits_of(9, 4), splits=0)


def test_nan_is_refused_with_its_row():
    logits = logits_of(20, 4)
    logits[13, 2] = np.nan
    with pytest.raises(ValueError, match="logits holds NaN or infinity in row 13"):
        inception_score(logits)


@pytest.mark.gpu
def test_on_cuda_the_score_is_the_cpus():
    logits = torch.from_numpy(logits_of(50, 1008))
    assert inception_score(logits.cuda()) == pytest.approx(inception_score(logits), rel=1e-12)
