"""Walks stay on the sphere, close, and go as fast as they are told."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gan.walk import smoothed_walk, walk_between


def speeds(walk):
    return (walk.roll(-1, dims=0) - walk).norm(dim=2)


@settings(max_examples=30, deadline=None)
@given(
    frames=st.integers(1, 60), walkers=st.integers(1, 3), width=st.integers(1, 64), smoothing_frames=st.floats(0, 30)
)
def test_every_latent_lies_on_the_sphere(frames, walkers, width, smoothing_frames):
    walk = smoothed_walk(frames, walkers, width, smoothing_frames=smoothing_frames, seed=0)
    assert walk.shape == (frames, walkers, width)
    assert walk.dtype == torch.float32
    torch.testing.assert_close(walk.norm(dim=2), torch.full((frames, walkers), math.sqrt(width)), rtol=1e-5, atol=0)


def test_the_step_from_the_last_frame_to_the_first_is_like_the_others():
    steps = speeds(smoothed_walk(400, 8, 512, smoothing_frames=12, seed=1))
    assert float(steps[-1].mean()) == pytest.approx(float(steps.mean()), rel=0.1)


def test_twice_the_smoothing_is_half_the_speed():
    slow, fast = (speeds(smoothed_walk(600, 4, 512, smoothing_frames=sigma, seed=2)).mean() for sigma in (40, 20))
    assert float(fast / slow) == pytest.approx(2.0, rel=0.05)


def test_a_walk_is_its_seeds_alone():
    walk = smoothed_walk(20, 2, 8, smoothing_frames=2, seed=3)
    assert torch.equal(walk, smoothed_walk(20, 2, 8, smoothing_frames=2, seed=3))
    assert not torch.equal(walk, smoothed_walk(20, 2, 8, smoothing_frames=2, seed=4))


@pytest.mark.parametrize(("frames", "walkers", "smoothing"), [(0, 1, 1.0), (1, 0, 1.0), (1, 1, -1.0), (1, 1, math.nan)])
def test_an_impossible_walk_is_refused(frames, walkers, smoothing):
    with pytest.raises(ValueError, match="at least one frame and walker"):
        smoothed_walk(frames, walkers, 4, smoothing_frames=smoothing, seed=0)


def test_a_walk_between_latents_passes_through_their_directions():
    latents = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    walk = walk_between(latents, 5)
    assert walk.shape == (15, 1, 16)
    on_the_sphere = latents / latents.norm(dim=1, keepdim=True) * 4.0
    torch.testing.assert_close(walk[::5, 0], on_the_sphere)
    torch.testing.assert_close(walk.norm(dim=2), torch.full((15, 1), 4.0))


def test_a_walk_between_latents_is_even_on_each_way():
    latents = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    steps = speeds(walk_between(latents, 8))[:, 0]
    torch.testing.assert_close(steps, steps[:1].expand(16), rtol=1e-4, atol=0)


@pytest.mark.parametrize("count", [1, 3])
def test_a_walk_between_equal_latents_stands_still(count):
    walk = walk_between(torch.ones(1, 4).repeat(count, 1), 4)
    torch.testing.assert_close(walk, torch.ones(4 * count, 1, 4))


def test_a_walk_between_opposite_latents_is_refused():
    latents = torch.ones(1, 4)
    with pytest.raises(ValueError, match="opposite"):
        walk_between(torch.cat([latents, -latents]), 4)


@pytest.mark.parametrize(("count", "frames"), [(0, 4), (2, 0)])
def test_a_walk_between_nothing_is_refused(count, frames):
    with pytest.raises(ValueError, match="needs latents and frames"):
        walk_between(torch.ones(count, 4), frames)
