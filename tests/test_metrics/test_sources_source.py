"""Laws of a source whatever it is made of: batches, parts, choices, sizes, fingerprints."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from metrics.sources import MixedSizes, open_source

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 3, 6, 8), dtype=np.uint8)


def images_of(source, size=4, device=None):
    return torch.cat([batch.images for batch in source.batches(size, device)])


def save(folder, sizes, **options):
    """Write one picture of random pixels for each (height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = options.pop("kind", "png")
    for i, size in enumerate(sizes):
        picture = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{i}.{kind}", **options)
    return folder


def by_definition(image, size):
    """Return a picture resized by Pillow's bicubic filter in float32, channel by channel."""
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in image]
    resized = [np.asarray(channel.resize(size[::-1], Image.Resampling.BICUBIC)) for channel in channels]
    return np.stack(resized)


@given(size=st.integers(1, 30), world=st.integers(1, 23))
def test_neither_batch_size_nor_processes_change_pictures_or_indices(size, world):
    seen = [batch for rank in range(world) for batch in open_source(IMAGES).part(rank, world).batches(size)]
    indices = [batch.first_index + place for batch in seen for place in range(len(batch.images))]
    assert indices == list(range(23))
    np.testing.assert_array_equal(torch.cat([batch.images for batch in seen]).numpy(), IMAGES)


@given(inner=st.integers(1, 4), rank=st.integers(0, 3))
def test_parts_of_parts_keep_the_indices_of_the_whole(inner, rank):
    part = open_source(IMAGES).part(rank, 4)
    indices = [batch.first_index for number in range(inner) for batch in part.part(number, inner).batches(1)]
    assert indices == list(range(rank * 23 // 4, (rank + 1) * 23 // 4))


@pytest.mark.parametrize(("rank", "world"), [(-1, 2), (2, 2), (0, 0)])
def test_a_rank_beyond_the_processes_is_refused(rank, world):
    with pytest.raises(ValueError, match="rank must be in"):
        open_source(IMAGES).part(rank, world)


def test_more_processes_than_pictures_are_refused():
    with pytest.raises(ValueError, match="fewer than the 24 processes"):
        open_source(IMAGES).part(0, 24)


def test_a_batch_needs_a_size():
    with pytest.raises(ValueError, match="at least 1 picture"):
        images_of(open_source(IMAGES), 0)


def test_batches_are_contiguous():
    nhwc = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
    assert all(batch.images.is_contiguous() for batch in open_source(nhwc).batches(4))


@given(limit=st.integers(1, 40), seed=st.integers(0, 3))
def test_a_limit_draws_a_choice_in_order(limit, seed):
    numbered = np.broadcast_to(np.arange(23, dtype=np.uint8)[:, None, None, None], (23, 3, 4, 4))
    drawn = images_of(open_source(numbered, limit=limit, seed=seed))[:, 0, 0, 0].tolist()
    assert drawn == sorted(set(drawn))
    assert len(drawn) == min(limit, 23)
    assert drawn == images_of(open_source(numbered, limit=limit, seed=seed), 7)[:, 0, 0, 0].tolist()


def test_a_choice_is_told_with_its_seed():
    assert open_source(IMAGES, limit=5, seed=3).notes() == ["ndarray: 5 of 23 pictures, drawn with seed 3"]


def test_an_open_source_is_taken_as_it_is():
    source = open_source(IMAGES)
    assert open_source(source) is source
    with pytest.raises(ValueError, match="where a source is opened"):
        open_source(source, size=4)


def test_mixed_sizes_are_refused_with_the_first_two_that_differ(tmp_path: Path):
    save(tmp_path, [(6, 8), (6, 8), (5, 8), (4, 4)])
    with pytest.raises(MixedSizes, match=r"0\.png is 6 x 8 and 2\.png is 5 x 8.*size="):
        images_of(open_source(tmp_path))


def test_mixed_sizes_are_found_across_batches(tmp_path: Path):
    save(tmp_path, [(6, 8), (6, 8), (5, 8)])
    with pytest.raises(MixedSizes, match=r"0\.png is 6 x 8 and 2\.png is 5 x 8"):
        images_of(open_source(tmp_path), 1)


def test_the_two_files_named_are_those_of_the_part(tmp_path: Path):
    save(tmp_path, [(6, 8), (6, 8), (6, 8), (5, 8)])
    with pytest.raises(MixedSizes, match=r"2\.png is 6 x 8 and 3\.png is 5 x 8"):
        images_of(open_source(tmp_path).part(1, 2))


@given(st.lists(st.sampled_from([(4, 6), (6, 4), (5, 5)]), min_size=1, max_size=12), st.integers(1, 13))
def test_mixed_batches_hold_every_picture_at_its_place(sizes, size):
    pictures = [torch.full((3, *shape), number, dtype=torch.uint8) for number, shape in enumerate(sizes)]
    found = {}
    for batch in open_source(pictures).mixed_batches(size):
        assert batch.count <= size
        for group in batch.groups:
            for place, image in zip(group.places, group.images, strict=True):
                found[batch.first_index + place] = image
    assert sorted(found) == list(range(len(sizes)))
    assert all(torch.equal(found[number], picture) for number, picture in enumerate(pictures))


@pytest.mark.parametrize("size", [(3, 4), (6, 8), (16, 12), (1, 1)])
def test_resizing_is_pillows_bicubic_in_float(size):
    expected = np.stack([by_definition(image, size) for image in IMAGES])
    got = images_of(open_source(IMAGES, size=size)).numpy()
    # Rounded to a level, so half a level; 0.01 for float32's own rounding of values near 255.
    np.testing.assert_allclose(got, expected.clip(0, 255), atol=0.51)


def test_pictures_of_the_right_size_are_not_touched():
    np.testing.assert_array_equal(images_of(open_source(IMAGES, size=(6, 8))).numpy(), IMAGES)


@given(st.lists(st.sampled_from([(4, 6), (6, 4), (8, 8)]), min_size=1, max_size=9), st.integers(1, 10))
def test_resizing_depends_on_the_picture_alone(sizes, size):
    rng = np.random.default_rng(0)
    pictures = [torch.from_numpy(rng.integers(0, 256, (3, *shape), dtype=np.uint8)) for shape in sizes]
    alone = torch.cat([images_of(open_source([picture], size=8)) for picture in pictures])
    assert torch.equal(images_of(open_source(pictures, size=8), size), alone)


def test_resizing_and_stretching_are_told(tmp_path: Path):
    source = open_source(save(tmp_path, [(6, 8), (8, 8)]), size=4)
    resized, stretched = source.notes()
    assert "bicubic antialiased" in resized
    assert "1 pictures were stretched" in stretched
    assert source.sizes() == {(4, 4): 2}


@pytest.mark.parametrize("size", [0, (4, 0), -1])
def test_a_size_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="at least 1 pixel"):
        open_source(IMAGES, size=size)


def test_sizes_of_files_are_known_without_a_pass(tmp_path: Path):
    assert open_source(save(tmp_path, [(6, 8), (5, 8), (6, 8)])).sizes() == {(6, 8): 2, (5, 8): 1}


def test_sizes_of_a_stream_are_known_after_a_pass():
    source = open_source(iter(IMAGES))
    images_of(source)
    assert source.sizes() == {(6, 8): 23}


def test_the_fingerprint_does_not_depend_on_place_name_or_time(tmp_path: Path):
    save(tmp_path / "a", [(6, 8), (5, 8)])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert open_source(tmp_path / "a").fingerprint() == open_source(tmp_path / "b").fingerprint()


def test_the_fingerprint_is_the_same_before_and_after_a_pass(tmp_path: Path):
    save(tmp_path, [(6, 8), (6, 8), (6, 8)])
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    before, after = (open_source(tmp_path, skip_unreadable=True) for _ in range(2))
    images_of(after)
    assert before.fingerprint() == after.fingerprint()


def test_a_changed_file_of_equal_length_and_time_changes_the_fingerprint(tmp_path: Path):
    path = save(tmp_path, [(6, 8)], kind="bmp") / "0.bmp"
    before, stat = open_source(tmp_path).fingerprint(), path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert open_source(tmp_path).fingerprint() != before


@pytest.mark.parametrize("options", [{"size": 4}, {"limit": 2}, {"limit": 2, "seed": 1}])
def test_what_changes_the_pictures_changes_the_fingerprint(options):
    assert open_source(IMAGES, **options).fingerprint() != open_source(IMAGES).fingerprint()


def test_the_order_is_in_the_fingerprint():
    assert open_source(IMAGES).fingerprint() != open_source(IMAGES[::-1]).fingerprint()


def test_parts_have_fingerprints_of_their_own():
    prints = {open_source(IMAGES).part(rank, 3).fingerprint() for rank in range(3)}
    assert len(prints) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("size", [None, (16, 16)])
def test_cuda_gets_the_same_pictures(tmp_path: Path, size):
    source = open_source(save(tmp_path, [(12, 8)] * 9), size=size)
    got = images_of(source, 4, "cuda").cpu()
    # Resampling sums in another order there, so a value on the border of two levels may go either way.
    assert (got.int() - images_of(source).int()).abs().max() <= (0 if size is None else 1)


@pytest.mark.gpu
def test_cuda_tensors_stay_where_they_are():
    assert images_of(open_source(torch.from_numpy(IMAGES).cuda())).is_cuda
