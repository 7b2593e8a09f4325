"""Laws of the one pass that feeds everything."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from metrics.extraction import NetworkRows, extract, one_pass
from metrics.features.interface import Embedding
from metrics.sources import MixedSizes, NoPictures, open_source

IMAGES = np.random.default_rng(0).integers(0, 256, (13, 3, 6, 8), dtype=np.uint8)


@dataclass
class MeanColours:
    """A network without weights: three features, two logits, and as little memory as is asked of it."""

    most: int = 10**9
    classes: bool = True
    calls: list = field(default_factory=list)
    name: str = "mean-colours"
    width: int = 3
    device: str = "cpu"

    def embed(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.calls.append(len(images))
        features = images.double().mean(dim=(2, 3)).float()
        return Embedding(features=features, logits=features[:, :2] if self.classes else None)


@dataclass
class Recorder:
    """Keeps what it was given."""

    part: str = "recorder"
    seen: list = field(default_factory=list)

    def add(self, batch):
        self.seen.append((batch.first_index, batch.count))


def expected():
    return IMAGES.mean(axis=(2, 3), dtype=np.float64).astype(np.float32)


@given(st.integers(1, 20))
def test_rows_do_not_depend_on_the_batch_size(size):
    done = extract(open_source(IMAGES), MeanColours(), batch_size=size)
    np.testing.assert_array_equal(done.features.rows(), expected())
    np.testing.assert_array_equal(done.logits.rows(), expected()[:, :2])
    assert (done.count, done.batch_size) == (13, size)


@given(st.integers(1, 13), st.integers(1, 5))
def test_rows_of_processes_merge_to_the_whole(world, size):
    stores = [
        extract(open_source(IMAGES).part(r, world), MeanColours(), batch_size=size).features for r in range(world)
    ]
    for store in stores[-2::-1]:
        stores[-1].merge(store)
    np.testing.assert_array_equal(stores[-1].rows(), expected())


@given(st.lists(st.sampled_from([(4, 6), (6, 4), (5, 5)]), min_size=1, max_size=12), st.integers(1, 13))
def test_pictures_of_mixed_sizes_get_the_rows_they_get_alone(sizes, size):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (3, *shape), dtype=np.uint8) for shape in sizes]
    done = extract(open_source(pictures), MeanColours(), batch_size=size)
    np.testing.assert_array_equal(done.features.rows(), [p.mean(axis=(1, 2)).astype(np.float32) for p in pictures])


def test_a_network_without_classes_has_no_logits():
    assert extract(open_source(IMAGES), MeanColours(classes=False)).logits is None


@pytest.mark.parametrize("most", [1, 2, 5, 12])
def test_too_large_batches_are_halved_and_stay_so(most):
    network = MeanColours(most=most)
    done = extract(open_source(np.concatenate([IMAGES] * 2)), network, batch_size=13)
    np.testing.assert_array_equal(done.features.rows(), np.concatenate([expected()] * 2))
    assert max(network.calls) <= most


def test_no_memory_for_one_picture_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        extract(open_source(IMAGES), MeanColours(most=0))


def test_other_errors_of_a_network_are_not_swallowed():
    network = MeanColours()
    network.embed = lambda images: (_ for _ in ()).throw(RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        extract(open_source(IMAGES), network)


def test_all_consumers_are_fed_by_one_reading():
    consumers = [Recorder("a"), Recorder("b")]
    done = one_pass(open_source(iter(IMAGES)), consumers, device="cpu", batch_size=5)
    assert consumers[0].seen == consumers[1].seen == [(0, 5), (5, 5), (10, 3)]
    assert done.count == 13
    assert list(done.seconds) == ["pictures", "a", "b"]
    assert min(done.seconds.values()) >= 0


def test_rows_are_passed_on_with_their_indices():
    features, logits = [], []
    rows = NetworkRows(
        "features",
        MeanColours(),
        on_features=[lambda r, first: features.append((first, len(r)))],
        on_logits=[lambda r, first: logits.append((first, r.shape[1]))],
    )
    one_pass(open_source(IMAGES), [rows], device="cpu", batch_size=9)
    assert features == [(0, 9), (9, 4)]
    assert logits == [(0, 2), (9, 2)]


def test_indices_have_a_gap_where_a_file_was_left_out(tmp_path: Path):
    for number in range(5):
        Image.fromarray(IMAGES[number].transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"text")
    done = extract(open_source(tmp_path, skip_unreadable=True), MeanColours())
    assert done.features.indices().tolist() == [0, 1, 3, 4]
    np.testing.assert_array_equal(done.features.rows(), expected()[[0, 1, 3, 4]])


def test_progress_is_told_after_each_batch():
    told = []
    extract(open_source(IMAGES), MeanColours(), batch_size=6, progress=lambda done, of: told.append((done, of)))
    assert told == [(6, 13), (12, 13), (13, 13)]


def test_progress_of_a_stream_has_no_end():
    told = []
    extract(open_source(iter(IMAGES)), MeanColours(), progress=lambda done, of: told.append((done, of)))
    assert told == [(13, None)]


@pytest.mark.parametrize("size", [0, -1, 2.5, "many"])
def test_senseless_batch_sizes_are_refused(size):
    with pytest.raises(ValueError, match="batch_size must be"):
        extract(open_source(IMAGES), MeanColours(), batch_size=size)


def test_nothing_is_refused():
    with pytest.raises(NoPictures):
        extract(open_source(iter(())), MeanColours())


def test_a_consumer_that_needs_one_size_says_which_differ(tmp_path: Path):
    source = open_source([IMAGES[0], IMAGES[1, :, :5]])
    assert extract(source, MeanColours()).count == 2
    with pytest.raises(MixedSizes):
        list(source.batches(2))


@pytest.mark.gpu
def test_cuda_gives_the_rows_of_the_cpu():
    done = extract(open_source(IMAGES), MeanColours(device="cuda"), batch_size=4)
    # Sums of 48 levels in float64 are exact in any order.
    np.testing.assert_array_equal(done.features.rows(), expected())
    assert set(done.seconds) == {"pictures", "features"}
