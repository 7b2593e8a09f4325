import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.schedule import Schedule


def _lod(images: int, schedule: Schedule) -> float:
    """Karras et al.'s level of detail, 0 for the full resolution, from their description (appendix A)."""
    span = schedule.stable_images + schedule.fade_images
    index = images // span
    within = images - index * span
    lod = 10 - math.log2(schedule.first_resolution) - index
    if schedule.fade_images:
        lod -= max(within - schedule.stable_images, 0) / schedule.fade_images
    return max(lod, 0.0)


@given(
    images=st.integers(0, 13_000_000), stable=st.sampled_from([600_000, 800_000]), fade=st.sampled_from([0, 600_000])
)
def test_level_and_fade_are_the_authors(images: int, stable: int, fade: int):
    schedule = Schedule(stable_images=stable, fade_images=fade)
    phase, lod = schedule.at(images), _lod(images, schedule)
    assert phase.level == 10 - math.floor(lod)
    assert (10 - phase.level) + (1 - phase.fade) == pytest.approx(lod, abs=1e-9)


@given(images=st.integers(1, 13_000_000))
def test_optimisers_are_reset_when_the_authors_are(images: int):
    schedule = Schedule()
    before, now = _lod(images - 1, schedule), _lod(images, schedule)
    changed = math.floor(before) != math.floor(now) or math.ceil(before) != math.ceil(now)
    assert (schedule.at(images).resets != schedule.at(images - 1).resets) == changed


def test_a_run_to_1024_resets_seventeen_times():
    assert Schedule().at(12_000_000).resets == 17


@pytest.mark.parametrize(
    ("resolution", "first_images"),
    [(8, 600_000), (16, 1_800_000), (32, 3_000_000), (128, 5_400_000), (512, 7_800_000), (1024, 9_000_000)],
)
def test_each_resolution_begins_where_published(resolution: int, first_images: int):
    schedule = Schedule()
    assert schedule.at(first_images).resolution == resolution // 2
    assert schedule.at(first_images + 1).resolution == resolution


def test_the_last_level_stays():
    phase = Schedule().at(50_000_000, last_level=3)
    assert (phase.resolution, phase.fade) == (8, 1.0)


def test_the_higher_resolutions_minibatch_and_rate_hold_from_its_first_image():
    schedule = Schedule(minibatch_at={8: 64}, rate_at={8: 0.002})
    assert (schedule.at(600_000).minibatch, schedule.at(600_001).minibatch) == (16, 64)
    assert schedule.at(600_001).generator_rate == schedule.at(600_001).discriminator_rate == 0.002


def test_the_rates_rise_as_in_the_papers_code():
    schedule = Schedule(rise_images=40_000)
    assert schedule.at(0).generator_rate == pytest.approx(0.001 * math.exp(-5))
    assert schedule.at(20_000).generator_rate == pytest.approx(0.001 * math.exp(-1.25))
    assert schedule.at(40_000).generator_rate == 0.001


def test_growing_at_once_is_possible():
    schedule = Schedule(stable_images=100, fade_images=0)
    levels = [schedule.at(images, 4).level for images in (0, 99, 100, 199, 200, 900)]
    assert levels == [2, 2, 3, 3, 4, 4]
    assert [schedule.at(images, 4).resets for images in (99, 100, 200)] == [1, 2, 3]


def test_resets_only_ever_grow():
    schedule = Schedule(stable_images=3, fade_images=2)
    resets = [schedule.at(images, 5).resets for images in range(40)]
    assert all(a <= b for a, b in itertools.pairwise(resets))
    assert resets[-1] == 7


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"first_resolution": 6}, "power of two"),
        ({"minibatch": 0}, "at least 1"),
        ({"minibatch_at": {8: 0}}, "at least 1"),
        ({"tick_at": {8: 0}}, "every minibatch and tick_images, must be at least 1"),
        ({"minibatch_at": {12: 8}}, "minibatch_at: keys are resolutions, powers of two from 4, got 12"),
        ({"rate_at": {2: 0.1}}, "rate_at: keys are resolutions"),
        ({"tick_at": {0: 8}}, "tick_at: keys are resolutions"),
        ({"stable_images": 0, "fade_images": 0}, "both 0"),
        ({"rate": float("nan")}, "positive"),
    ],
)
def test_contradictions_are_refused(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Schedule(**wrong)


def test_negative_images_are_refused():
    with pytest.raises(ValueError, match="got -1"):
        Schedule().at(-1)


def test_a_first_resolution_above_the_last_is_refused():
    with pytest.raises(ValueError, match="first_resolution 16 is above the largest, 8"):
        Schedule(first_resolution=16).at(0, last_level=3)


def test_phases_name_every_stable_level_and_every_fade():
    phases = Schedule(stable_images=100, fade_images=50, total_images=400).phases(last_level=4)
    assert [(images, phase.level) for images, phase in phases] == [(0, 2), (101, 3), (150, 3), (251, 4), (300, 4)]
