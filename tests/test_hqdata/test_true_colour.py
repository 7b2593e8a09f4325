"""Grey stays grey, and an enlarged picture keeps the mean colours of what was enlarged."""

import numpy as np
import pytest
import skimage.data
import torch
from torch import nn
from torch.nn import functional

from hqdata import restore, upscale
from hqdata.pixels import to_image, to_tensor
from hqdata.tiling import Network, TiledPicture, chain_for
from hqdata.true_colour import COLOUR_REACH, is_grey, keep_mean_colours, to_grey

LEVEL = 2 / 255
"""One of 256 levels in [-1, 1]."""


class Tinting(nn.Module):
    """Enlarges by repeating pixels, and shifts every colour by another amount."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, picture):
        gain = torch.tensor([1.1, 0.95, 1.0]).view(1, 3, 1, 1)
        shift = torch.tensor([0.1, -0.05, 0.07]).view(1, 3, 1, 1)
        return functional.interpolate(picture, scale_factor=self.scale) * gain + shift


def tinting(scale):
    module = Tinting(scale)
    return Network(name="tinting", module=module, scale=scale, stride=1, reach=0, sha256="", device="cpu")


@pytest.fixture(scope="module")
def photo():
    return skimage.data.astronaut()[60:130, 150:240]


@pytest.fixture(scope="module", params=["shipped", "tinting"])
def enlarger(request):
    return upscale.load() if request.param == "shipped" else tinting(4)


def mean_colours(tensor):
    return tensor.double().mean(dim=(2, 3))


def test_the_mean_colour_of_an_enlarged_picture_is_the_inputs(photo, enlarger):
    given = to_tensor(photo)
    enlarged = TiledPicture(given, enlarger, tile=48).whole()
    assert (mean_colours(enlarged) - mean_colours(given)).abs().max() < 0.05 * LEVEL
    stored = to_image(enlarged).mean(axis=(0, 1)) - photo.mean(axis=(0, 1))
    assert np.abs(stored).max() < 0.1


def test_a_restored_photo_keeps_its_mean_colour_to_a_level(photo):
    given = to_tensor(photo)
    restored = TiledPicture(given, restore.load(), tile=96).whole()
    assert (mean_colours(restored) - mean_colours(given)).abs().max() < LEVEL


def test_local_colours_are_kept_too(photo):
    given = to_tensor(photo)
    enlarged = TiledPicture(given, tinting(4), tile=48).whole()
    reduced = functional.avg_pool2d(enlarged, 4)
    shift = functional.avg_pool2d(reduced - given, 9, stride=1)
    assert shift.square().mean().sqrt() < LEVEL


def test_detail_finer_than_the_window_is_left_alone():
    given = torch.zeros((1, 3, 20, 20))
    detail = 0.1 * (torch.arange(80) % 2 * 2 - 1).float().expand(1, 3, 80, 80)
    torch.testing.assert_close(keep_mean_colours(detail, given), detail, atol=1e-7, rtol=0)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_uniform_shift_is_taken_back_at_any_scale(scale):
    given = torch.zeros((1, 3, 9, 5))
    corrected = keep_mean_colours(torch.full((1, 3, 9 * scale, 5 * scale), 0.25), given)
    torch.testing.assert_close(corrected, torch.zeros_like(corrected), atol=1e-6, rtol=0)


def test_the_correction_reaches_as_far_as_it_says():
    given = torch.zeros((1, 3, 31, 31))
    enlarged = torch.zeros((1, 3, 124, 124))
    enlarged[:, :, 60:64, 60:64] = 1.0
    rows = keep_mean_colours(enlarged, given).abs().amax(dim=(0, 1, 3)).nonzero().flatten() // 4
    assert (int(rows.min()), int(rows.max())) == (15 - COLOUR_REACH, 15 + COLOUR_REACH)


@pytest.mark.parametrize("network", [restore.load, upscale.load, lambda: tinting(1), lambda: tinting(4)])
def test_a_grey_photo_gives_a_grey_result(photo, network):
    grey = np.repeat(photo[:, :, 1:2], 3, axis=2)
    result = TiledPicture(to_tensor(grey), network(), tile=48).whole()
    assert torch.equal(result[:, 0], result[:, 1])
    assert torch.equal(result[:, 0], result[:, 2])
    assert result.std() > 0.1


def test_a_grey_photo_stays_grey_through_the_chain(photo):
    grey = to_tensor(np.repeat(photo[:, :, :1], 3, axis=2))
    image = to_image(chain_for((10, 20, 40, 50), grey, [tinting(1), upscale.load()]).output_region((40, 80, 160, 200)))
    assert is_grey(image.transpose(2, 0, 1))


def test_a_grey_region_of_a_colour_photo_is_not_projected(photo):
    mixed = np.repeat(photo[:, :, 1:2], 3, axis=2)
    mixed[0, 0] = (255, 0, 0)
    region = TiledPicture(to_tensor(mixed), tinting(1), tile=16).region((40, 40, 60, 60))
    assert not torch.equal(region[:, 0], region[:, 1])


def test_a_readers_word_for_its_whole_photo_counts(photo):
    class Reader:
        size = (40, 40)
        is_grey = True

        def output_region(self, box):
            left, top, right, bottom = box
            return to_tensor(photo)[:, :, top:bottom, left:right]

    result = TiledPicture(Reader(), tinting(1), tile=16).region((3, 5, 9, 8))
    assert torch.equal(result[:, 0], result[:, 1])


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 77)])
@pytest.mark.parametrize("load", [restore.load, upscale.load])
def test_a_constant_picture_comes_back_as_it_was(load, colour):
    image = np.full((17, 23, 3), colour, dtype=np.uint8)
    network = load()
    result = to_image(TiledPicture(to_tensor(image), network, tile=32).whole())
    assert np.array_equal(result, np.full((17 * network.scale, 23 * network.scale, 3), colour))


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 63, 80), (2, 30, 1)])
def test_one_pixel_of_colour_is_noticed(place):
    planes = np.full((3, 64, 81), 9, dtype=np.uint8)
    assert is_grey(planes)
    planes[place] = 10
    assert not is_grey(planes)


def test_grey_levels_survive_the_projection():
    levels = to_tensor(np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3))
    assert torch.equal(to_grey(levels), levels)
