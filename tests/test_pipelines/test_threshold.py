"""The cache threshold never rises above the score of the last chosen face, but for bad luck of one in thousands."""

import numpy as np
import pytest

from pipelines.threshold import CacheThreshold


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_stays_below_the_last_chosen_score_and_saves_most_writes(seed: int):
    count, photos, pilot = 300, 3000, 600
    scores = np.random.default_rng(seed).normal(size=photos)
    threshold = CacheThreshold(count=count, photos=photos, pilot_photos=pilot)
    cut = np.sort(scores)[-count]
    cached = 0
    for score in scores:
        assert threshold.value <= cut
        cached += score >= threshold.value
        threshold.add(1, [float(score)])
    assert cached < pilot + 1.6 * count


def test_nothing_is_left_out_where_all_are_chosen():
    threshold = CacheThreshold(count=10, photos=8, pilot_photos=2)
    threshold.add(8, [float(i) for i in range(8)])
    assert threshold.value == -np.inf


def test_no_faces_give_no_bound():
    threshold = CacheThreshold(count=1, photos=100, pilot_photos=0)
    threshold.add(3, [])
    assert threshold.value == -np.inf


@pytest.mark.parametrize("in_flight", [0, 2048])
def test_the_published_build_caches_at_most_a_fifth_more_than_it_keeps(in_flight: int):
    count, photos = 30_000, 202_599
    scores = np.random.default_rng(7).normal(size=photos)
    threshold = CacheThreshold(count=count, photos=photos, pilot_photos=80_000)
    cut = np.sort(scores)[-count]
    cached, missed, bounds = 0, 0, [threshold.value] * (1 + in_flight // 32)
    for start in range(0, photos, 32):
        chunk = scores[start : start + 32]
        cached += int(np.count_nonzero(chunk >= bounds[0]))
        missed += int(np.count_nonzero((chunk >= cut) & (chunk < bounds[0])))
        threshold.add(len(chunk), chunk.tolist())
        bounds = [*bounds[1:], threshold.value]
    assert (cached <= 1.2 * count, missed) == (True, 0)
