"""Laws of data sets, loaders, iterables and generators."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from metrics.sources import MixedSizes, NoPictures, open_source

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 6, 8), dtype=np.uint8)
TENSOR = torch.from_numpy(IMAGES)
LABELS = torch.arange(10)


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield TENSOR[0]


class Named(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"label": index, "image": Image.fromarray(IMAGES[index].transpose(1, 2, 0))}


def draw(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 6, 8), dtype=torch.uint8, generator=generator)


def images_of(source, size=4):
    return torch.cat([batch.images for batch in source.batches(size)]).numpy()


@pytest.mark.parametrize(
    "given",
    [
        TensorDataset(TENSOR, LABELS),
        Named(),
        DataLoader(TensorDataset(TENSOR, LABELS), batch_size=3),
        DataLoader(TensorDataset(TENSOR), batch_size=None),
        list(IMAGES),
        list(TENSOR),
        [Image.fromarray(image.transpose(1, 2, 0)) for image in IMAGES],
        [IMAGES[:7], IMAGES[7:]],
        [(image, 1) for image in TENSOR],
        (image for image in IMAGES),
        iter([IMAGES[:1], IMAGES[1:]]),
        map(np.asarray, IMAGES),
    ],
    ids=lambda given: type(given).__name__,
)
@pytest.mark.parametrize("size", [3])
def test_pictures_come_in_order_from_whatever_hands_them_out(given, size):
    np.testing.assert_array_equal(images_of(open_source(given), size), IMAGES)


@pytest.mark.parametrize("size", [1, 3, 4, 10, 99])
def test_batches_are_cut_anew(size):
    loader = DataLoader(TensorDataset(TENSOR), batch_size=4)
    lengths = [len(batch.images) for batch in open_source(loader).batches(size)]
    assert lengths == [size] * (10 // size) + ([10 % size] if 10 % size else [])


def test_a_data_set_can_be_read_again():
    source = open_source(DataLoader(TensorDataset(TENSOR), batch_size=4))
    np.testing.assert_array_equal(images_of(source), images_of(source))


def test_an_iterator_cannot_and_says_so():
    source = open_source(iter(IMAGES))
    images_of(source)
    with pytest.raises(ValueError, match="has been read already"):
        images_of(source)


@pytest.mark.parametrize("limit", [1, 5, 7])
def test_a_stream_is_read_to_its_limit(limit):
    assert len(images_of(open_source(Endless(), limit=limit))) == limit


def test_streams_cannot_be_shared_out_or_fingerprinted():
    source = open_source(iter(IMAGES))
    assert (source.count, source.fingerprint()) == (None, None)
    with pytest.raises(ValueError, match="cannot be shared out"):
        source.part(0, 2)
    with pytest.raises(TypeError, match="is a stream"):
        len(source)


def test_a_data_set_can_be_shared_out_but_not_fingerprinted():
    source = open_source(TensorDataset(TENSOR))
    assert source.fingerprint() is None
    np.testing.assert_array_equal(np.concatenate([images_of(source.part(rank, 3)) for rank in range(3)]), IMAGES)


def test_a_shuffling_loader_is_told():
    source = open_source(DataLoader(TensorDataset(TENSOR), batch_size=4, shuffle=True))
    assert any("shuffles" in note for note in source.notes())


def test_a_loader_of_floats_without_a_range_is_refused():
    loader = DataLoader(TensorDataset(TENSOR / 255), batch_size=4)
    with pytest.raises(ValueError, match=r"DataLoader: picture 0 is torch\.float32 without a range"):
        images_of(open_source(loader))


def test_a_loader_of_floats_is_mapped_by_the_range_said():
    loader = DataLoader(TensorDataset(TENSOR / 255), batch_size=4)
    np.testing.assert_array_equal(images_of(open_source(loader, value_range=(0, 1))), IMAGES)


def test_a_batch_that_goes_bad_is_named_by_its_pictures_number():
    broken = TENSOR / 255
    broken[6, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="picture 6 holds NaN"):
        images_of(open_source(DataLoader(TensorDataset(broken), batch_size=4), value_range=(0, 1)))


def test_pictures_of_two_sizes_are_named():
    with pytest.raises(MixedSizes, match="picture 0 is 6 x 8 and picture 2 is 5 x 8"):
        images_of(open_source([TENSOR[0], TENSOR[1], TENSOR[2, :, :5]]))


@pytest.mark.parametrize(
    ("given", "error", "reason"),
    [
        ([[]], ValueError, "item 0 is empty"),
        ([{"label": 1}], ValueError, "no entry 'image'"),
        ([3, 4], TypeError, "got int"),
        ([torch.zeros(3)], ValueError, "shape"),
        ([Image.new("RGBA", (8, 6))], ValueError, "mode RGBA"),
        ({"image": IMAGES}, TypeError, "dict"),
        (3, TypeError, "int holds no pictures"),
        (None, TypeError, "NoneType"),
    ],
    ids=["empty item", "no image", "numbers", "vector", "alpha", "dict", "int", "None"],
)
def test_what_holds_no_pictures_is_refused(given, error, reason):
    with pytest.raises(error, match=reason):
        images_of(open_source(given))


@pytest.mark.parametrize("given", [[], iter(())], ids=["list", "iterator"])
def test_nothing_is_refused(given):
    with pytest.raises(NoPictures, match="no pictures"):
        images_of(open_source(given))


@pytest.mark.parametrize("size", [1, 7, 64, 200])
@pytest.mark.parametrize("world", [1, 4])
def test_neither_batch_size_nor_processes_change_what_is_generated(size, world):
    whole = images_of(open_source(draw, limit=150, seed=5), 64)
    parts = [images_of(open_source(draw, limit=150, seed=5).part(rank, world), size) for rank in range(world)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_another_seed_generates_other_pictures():
    assert (images_of(open_source(draw, limit=8, seed=0)) != images_of(open_source(draw, limit=8, seed=1))).any()


def test_a_generator_is_asked_for_chunks_with_successive_seeds():
    asked = []

    def generate(count, seed):
        asked.append((count, seed))
        return draw(count, seed)

    images_of(open_source(generate, limit=10, chunk=4))
    counts, seeds = zip(*asked, strict=True)
    assert counts == (4, 4, 2)
    assert np.diff(seeds).tolist() == [1, 1]


def test_a_generator_needs_a_limit():
    with pytest.raises(ValueError, match="limit="):
        open_source(draw)


@pytest.mark.parametrize("returned", [0, 3, 5])
def test_a_generator_that_returns_another_number_is_refused(returned):
    source = open_source(lambda count, seed: np.zeros((returned, 3, 6, 8), np.uint8), limit=4, name="mine")
    with pytest.raises(ValueError, match="mine"):
        images_of(source)


def test_a_generator_of_floats_needs_a_range():
    with pytest.raises(ValueError, match="value_range"):
        images_of(open_source(lambda count, seed: torch.zeros(count, 3, 6, 8), limit=4))


@pytest.mark.parametrize("option", ["limit", "chunk", "num_threads"])
@pytest.mark.parametrize("value", [0, -1, 2.5])
def test_senseless_numbers_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be a whole number"):
        open_source(IMAGES, **{option: value})
