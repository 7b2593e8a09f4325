"""Patches of a pyramid: cut where they say, and independent of batches, merges and processes."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.descriptors import PatchDescriptors
from metrics.pyramids import laplacian_pyramid


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def gathered(images: np.ndarray, role="reference", **settings) -> PatchDescriptors:
    descriptors = PatchDescriptors(role, **settings)
    descriptors.update(images)
    return descriptors


def level(descriptors: PatchDescriptors, position: int) -> torch.Tensor:
    return torch.cat(list(descriptors.patches(position)))[torch.argsort(descriptors.indices)]


def same(a: PatchDescriptors, b: PatchDescriptors) -> bool:
    levels = range(len(a.resolutions))
    moments = all(
        torch.equal(x, y)
        for position in levels
        for x, y in zip(a.channel_moments(position), b.channel_moments(position), strict=True)
    )
    return moments and all(torch.equal(level(a, position), level(b, position)) for position in levels)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_each_patch_is_cut_from_its_level(position):
    images = noise(3, 3, 64, 48)
    descriptors = gathered(images, min_size=12, patches_per_image=20)
    values = laplacian_pyramid(images, 12)[position].numpy()
    windows = np.lib.stride_tricks.sliding_window_view(values, (7, 7), axis=(2, 3))
    for i, patches in enumerate(level(descriptors, position).numpy()):
        places = windows[i].transpose(1, 2, 0, 3, 4).reshape(-1, 147)
        assert all((places == patch).all(axis=1).any() for patch in patches)


def test_every_place_is_drawn_about_equally_often():
    ramp = np.zeros((200, 3, 16, 16), dtype=np.uint8)
    ramp[:, 0], ramp[:, 1] = np.arange(16)[:, None], np.arange(16)
    corners = level(gathered(ramp), 0).reshape(-1, 3, 49)[:, :2, 0].long()
    counts = np.bincount((corners[:, 0] * 10 + corners[:, 1]).numpy(), minlength=100)
    assert corners.amax() == 9
    assert ((counts - 256.0) ** 2 / 256).sum() < 150  # chi-squared of 99 degrees, 1 in 1,000


def test_pictures_levels_and_roles_draw_other_places():
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8), (2, 3, 32, 32))
    first, second = level(gathered(ramp, min_size=32), 0)
    assert not torch.equal(first, second)
    assert not torch.equal(first, level(gathered(ramp, "generated", min_size=32), 0)[0])
    assert not torch.equal(first, level(gathered(ramp, min_size=32, seed=1), 0)[0])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_batches_do_not_matter(sizes):
    images = noise(sum(sizes), 3, 20, 16)
    parts = PatchDescriptors("reference", patches_per_image=4)
    for batch in np.split(images, np.cumsum(sizes)[:-1]):
        parts.update(batch)
    assert same(parts, gathered(images, patches_per_image=4))


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.integers(1, 3))
def test_merging_processes_in_any_order_equals_one_process(order, tail):
    images = noise(90 + tail, 3, 20, 16)
    merged = PatchDescriptors("reference", patches_per_image=4)
    for process in order:
        part = PatchDescriptors("reference", patches_per_image=4)
        part.update(images[process * 30 : process * 30 + 30], first_index=process * 30)
        merged.merge(part)
    assert merged.count == 90 + tail
    assert same(merged, gathered(images, patches_per_image=4))


def test_a_state_comes_back_from_a_safe_file():
    descriptors = gathered(noise(70, 3, 32, 32), patches_per_image=5)
    file = io.BytesIO()
    torch.save(descriptors.state_dict(), file)
    file.seek(0)
    back = PatchDescriptors.from_state_dict(torch.load(file, weights_only=True))
    back.update(noise(3, 3, 32, 32, seed=1))
    descriptors.update(noise(3, 3, 32, 32, seed=1))
    assert same(back, descriptors)


def test_an_empty_state_comes_back():
    assert PatchDescriptors.from_state_dict(PatchDescriptors("generated").state_dict()).count == 0


def test_patches_in_a_folder_are_the_same_and_go_with_their_object(tmp_path):
    images = noise(70, 3, 32, 32)
    spilled = gathered(images, patches_per_image=5, folder=tmp_path)
    assert same(spilled, gathered(images, patches_per_image=5))
    assert len(list(tmp_path.rglob("0-*"))) == 2
    del spilled
    assert list(tmp_path.iterdir()) == []


def test_half_precision_rounds_the_patches_alone():
    images = noise(3, 3, 32, 32)
    whole, half = gathered(images), gathered(images, dtype=torch.float16)
    assert torch.equal(level(whole, 0).half(), level(half, 0))
    assert torch.equal(whole.channel_moments(0)[1], half.channel_moments(0)[1])


def test_kept_levels_are_those_of_the_whole_pyramid():
    images = noise(3, 3, 64, 64)
    whole, one = gathered(images), gathered(images, only=[1])
    assert (whole.resolutions, one.resolutions) == ([64, 32, 16], [32])
    assert torch.equal(level(whole, 1), level(one, 0))


@pytest.mark.parametrize("position", [0, 1])
def test_channel_moments_are_those_of_all_patches(position):
    descriptors = gathered(noise(5, 3, 32, 32))
    values = level(descriptors, position).double().numpy().reshape(-1, 3, 49)
    mean, deviation = descriptors.channel_moments(position)
    assert mean.numpy() == pytest.approx(values.mean(axis=(0, 2)), abs=1e-9)
    assert deviation.numpy() == pytest.approx(values.std(axis=(0, 2)), rel=1e-9)


def test_an_index_given_twice_is_refused():
    descriptors = gathered(noise(5, 3, 32, 32))
    with pytest.raises(ValueError, match="reference picture 4 was given before"):
        descriptors.update(noise(2, 3, 32, 32), first_index=4)


def test_a_refused_batch_leaves_nothing_behind():
    descriptors = gathered(noise(5, 3, 32, 32))
    with pytest.raises(ValueError, match="must all have one size, got 16 x 16 after 32 x 32"):
        descriptors.update(noise(2, 3, 16, 16))
    assert descriptors.count == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_size": 6}, "min_size must be at least 7"),
        ({"patches_per_image": 0}, "patches_per_image must be at least 1"),
        ({"dtype": torch.float64}, "dtype must be"),
        ({"role": "real"}, "role must be"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PatchDescriptors(**{"role": "reference"} | settings)


@pytest.mark.parametrize("other", [{"seed": 1}, {"min_size": 8}, {"patches_per_image": 9}, {"role": "generated"}])
def test_sets_of_other_settings_do_not_merge(other):
    stranger = PatchDescriptors(**{"role": "reference"} | other)
    with pytest.raises(ValueError, match=f"must have the same {next(iter(other))}"):
        PatchDescriptors("reference").merge(stranger)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_cuts_the_same_places_and_keeps_them():
    images = noise(70, 3, 64, 64)
    here, there = gathered(images), PatchDescriptors("reference")
    there.update(torch.from_numpy(images).cuda())
    assert all(block.is_cuda for block in there.patches(0))
    assert float((level(here, 0) - level(there, 0).cpu()).abs().max()) < 5e-5
