"""Which picture comes when is a function of the seed and the images shown."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_gan import small_pictures

from gan.data import Feed, order, prepare
from gan.layers import enlarge, shrink
from gan.pictures import ArrayPictures

ALL = torch.arange(4)


@given(count=st.integers(1, 50), seed=st.integers(0, 1000), epoch=st.integers(0, 50))
def test_an_epoch_shows_every_picture_once(count: int, seed: int, epoch: int):
    assert sorted(order(count, seed=seed, first=epoch * count, size=count).tolist()) == list(range(count))


@given(count=st.integers(1, 20), first=st.integers(0, 500), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_the_order_does_not_depend_on_how_it_is_cut(count: int, first: int, sizes: list[int]):
    whole = order(count, seed=7, first=first, size=sum(sizes))
    starts = np.cumsum([first, *sizes[:-1]])
    parts = [order(count, seed=7, first=int(start), size=size) for start, size in zip(starts, sizes, strict=True)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = [order(100, seed=seed, first=first, size=100).tolist() for seed, first in ((0, 0), (0, 100), (1, 0))]
    assert len({tuple(one) for one in orders}) == 3


@pytest.mark.parametrize(("stored", "wanted"), [(0, -1.0), (255, 1.0), (51, -0.6)])
def test_stored_pixels_become_the_range_of_the_networks(stored: int, wanted: float):
    images = torch.full((1, 3, 4, 4), stored, dtype=torch.uint8)
    assert prepare(images, None, 1.0).unique().tolist() == pytest.approx([wanted], abs=1e-6)


def test_pictures_are_turned_where_it_says_so():
    images = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8)
    shown = prepare(images, torch.tensor([0, 1, 0], dtype=torch.uint8), 1.0)
    straight = prepare(images, None, 1.0)
    assert torch.equal(shown[[0, 2]], straight[[0, 2]])
    assert torch.equal(shown[1], straight[1].flip(2))


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("fade", [0.0, 0.3, 1.0])
def test_real_pictures_fade_as_generated_ones_do(fade: float, as_tensor: bool):
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    sharp = prepare(images, None, 1.0)
    wanted = enlarge(shrink(sharp)) * (1 - fade) + sharp * fade
    got = prepare(images, None, torch.tensor(fade) if as_tensor else fade)
    assert torch.allclose(got, wanted, atol=1e-6)


def test_a_feed_shows_what_the_order_says_at_the_level_asked_for():
    pictures = small_pictures()
    feed = Feed(pictures, seed=5, mirror=False, device="cpu")
    for images, level in ((0, 2), (16, 3), (20, 4)):
        chosen = order(len(pictures), seed=5, first=images, size=4)
        assert torch.equal(feed.take(images, 4, level, ALL).images, pictures.batch(chosen, level))
    feed.close()


@pytest.mark.parametrize("asked", [(4, 4, 2), (4, 8, 2), (4, 4, 3), (8, 4, 2)])
def test_reading_ahead_of_something_else_changes_nothing(asked: tuple[int, int, int]):
    plain, ahead = (Feed(small_pictures(), seed=5, mirror=True, device="cpu") for _ in range(2))
    ahead.read_ahead(4, 4, 2, ALL)
    one, other = (feed.take(*asked, ALL) for feed in (plain, ahead))
    assert torch.equal(one.images, other.images)
    assert one.mirrored is not None
    assert other.mirrored is not None
    assert torch.equal(one.mirrored, other.mirrored)
    plain.close()
    ahead.close()


def test_shares_of_a_minibatch_are_the_minibatch():
    feed = Feed(small_pictures(classes=3), seed=5, mirror=True, device="cpu")
    whole = feed.take(40, 8, 3, torch.arange(8))
    share = torch.tensor([1, 3, 5, 7])
    part = feed.take(40, 8, 3, share)
    feed.close()
    assert torch.equal(part.images, whole.images[share])
    assert whole.mirrored is not None
    assert part.mirrored is not None
    assert torch.equal(part.mirrored, whole.mirrored[share])
    assert whole.labels is not None
    assert part.labels is not None
    assert torch.equal(part.labels, whole.labels[share])


def test_half_of_the_pictures_are_mirrored():
    feed = Feed(small_pictures(), seed=5, mirror=True, device="cpu")
    mirrored = feed.take(0, 2000, 2, torch.arange(2000)).mirrored
    feed.close()
    assert mirrored is not None
    assert float(mirrored.float().mean()) == pytest.approx(0.5, abs=0.05)


def test_labels_go_with_their_pictures():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1).repeat(4, 2).repeat(4, 3) * 10
    pictures = ArrayPictures(images, labels=torch.eye(6))
    feed = Feed(pictures, seed=1, mirror=False, device="cpu")
    shown = feed.take(3, 6, 2, torch.arange(6))
    feed.close()
    assert shown.labels is not None
    assert shown.labels.argmax(dim=1).tolist() == (shown.images[:, 0, 0, 0] // 10).tolist()


def test_an_error_of_the_reader_reaches_the_training():
    class Broken(ArrayPictures):
        def batch(self, indices, level):
            raise OSError("disk gone")

    feed = Feed(Broken(np.zeros((4, 1, 4, 4), np.uint8)), seed=0, mirror=False, device="cpu")
    feed.read_ahead(0, 4, 2, ALL)
    with pytest.raises(OSError, match="disk gone"):
        feed.take(0, 4, 2, ALL)
    feed.close()


def test_a_closed_feed_leaves_no_thread():
    before = threading.active_count()
    feed = Feed(small_pictures(), seed=0, mirror=False, device="cpu")
    feed.take(0, 4, 2, ALL)
    feed.close()
    assert threading.active_count() == before
