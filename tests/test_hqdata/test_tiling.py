"""Tiles are invisible: a region equals the whole, whatever was asked for first."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hqdata.record import Refused
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.tiling import TILES, Network, TiledPicture, align_down, chain_for, fit_tile
from hqdata.true_colour import keep_mean_colours
from hqdata.upscale.model import UpscaleGenerator

TILE = 16


def trained(module, *, seed=0):
    """A network whose every weight matters: random, and strong enough that a wrong margin would show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.15 * torch.randn(value.shape, generator=generator) / np.sqrt(value[0].numel()))
    module.tail.weight.data.mul_(5.0)
    return Network(
        name=type(module).__name__,
        module=module.eval().to(memory_format=torch.channels_last),
        scale=module.scale,
        stride=module.stride,
        reach=module.reach,
        sha256="",
        device="cpu",
    )


@pytest.fixture(scope="module")
def restorer():
    return trained(SymmetricAutoencoder(channels=8, pairs=1))


@pytest.fixture(scope="module")
def generator():
    return trained(UpscaleGenerator(channels=8, pairs=1))


def picture(height, width, seed=1):
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def one_pass(image, network):
    """The network on the whole picture at once, continued to its stride by the mirror image."""
    height, width = image.shape[2:]
    rim = ((0, 0), (0, 0), (0, -height % network.stride), (0, -width % network.stride))
    given = torch.from_numpy(np.pad(image.numpy(), rim, "reflect"))
    with torch.inference_mode():
        output = network.module(given)
        if network.scale > 1:
            output = keep_mean_colours(output, given)
    return output[:, :, : height * network.scale, : width * network.scale]


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (7, 113), (16, 16), (33, 50), (61, 40)])
def test_tiles_equal_the_network_on_the_whole_picture(restorer, size):
    image = picture(*size)
    tiled = TiledPicture(image, restorer, tile=TILE).whole()
    torch.testing.assert_close(tiled, one_pass(image, restorer), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (17, 40), (70, 90)])
def test_enlarged_tiles_equal_the_network_on_the_whole_picture(generator, size):
    image = picture(*size)
    tiled = TiledPicture(image, generator, tile=TILE).whole()
    torch.testing.assert_close(tiled, one_pass(image, generator), atol=1e-5, rtol=0)


def test_a_picture_that_fits_into_one_window_is_computed_once_as_it_is(restorer):
    sizes = []
    network = replace(restorer, module=nn.Identity(), reach=10)
    network.module.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape[2:])))
    tiled = TiledPicture(picture(TILE + 20, 7), network, tile=TILE)
    tiled.whole()
    assert sizes == [(TILE + 20, 8)]
    assert tiled.tiles_computed == 1


def test_windows_are_of_one_shape_and_inside_the_picture(restorer):
    sizes = []
    network = replace(restorer, module=nn.Identity(), reach=10)
    network.module.register_forward_pre_hook(lambda _, given: sizes.append(tuple(given[0].shape[2:])))
    TiledPicture(picture(100, 61), network, tile=TILE, anchor=(30, 10)).whole()
    assert set(sizes) == {(TILE + 20, TILE + 20)}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data(), height=st.integers(1, 40), width=st.integers(1, 40))
def test_a_region_of_the_chain_equals_the_whole_bit_for_bit(restorer, generator, data, height, width):
    image = picture(height, width)
    left, top = data.draw(st.integers(0, 4 * width - 1)), data.draw(st.integers(0, 4 * height - 1))
    right, bottom = data.draw(st.integers(left + 1, 4 * width)), data.draw(st.integers(top + 1, 4 * height))
    anchor = align_down((left // 4, top // 4), 2)

    def chain():
        return TiledPicture(
            TiledPicture(image, restorer, anchor=anchor, tile=TILE), generator, anchor=anchor, tile=TILE
        )

    assert torch.equal(chain().output_region((left, top, right, bottom)), chain().whole()[:, :, top:bottom, left:right])


@pytest.mark.parametrize("anchor", [(2, 0), (14, 30), (38, 6), (-10, 100)])
def test_another_anchor_changes_the_last_bits_only(restorer, generator, anchor):
    image = picture(40, 50)
    there = TiledPicture(TiledPicture(image, restorer, anchor=anchor, tile=TILE), generator, anchor=anchor, tile=TILE)
    here = TiledPicture(TiledPicture(image, restorer, tile=TILE), generator, tile=TILE)
    torch.testing.assert_close(there.whole(), here.whole(), atol=1e-5, rtol=0)


def test_a_tile_that_begins_on_the_last_pixel_is_not_turned_round():
    network = Network(name="copy", module=nn.Identity(), scale=1, stride=1, reach=0, sha256="", device="cpu")
    image = picture(5, 5)
    assert torch.equal(TiledPicture(image, network, anchor=(4, 4), tile=5).whole(), image)


def test_pixels_on_both_sides_of_a_tile_are_equally_right(restorer):
    image = picture(64, 64)
    error = (TiledPicture(image, restorer, tile=TILE).whole() - one_pass(image, restorer)).abs()
    assert error[:, :, :, TILE - 1 : TILE + 1].max() <= error.max() <= 1e-5


def test_only_the_needed_tiles_are_computed(restorer, generator):
    inner = TiledPicture(picture(200, 200), restorer, anchor=(56, 56), tile=TILE)
    outer = TiledPicture(inner, generator, anchor=(64, 64), tile=TILE)
    outer.region((64, 64, 80, 80))
    assert outer.tiles_computed == 1
    assert inner.tiles_computed == 4


def test_a_region_in_source_pixels_is_that_part_of_the_result(generator):
    tiled = TiledPicture(picture(20, 30), generator, tile=TILE)
    assert torch.equal(tiled.region((3, 5, 11, 6)), tiled.whole()[:, :, 20:24, 12:44])


@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data(), height=st.integers(1, 60), width=st.integers(1, 60))
def test_a_chain_made_for_a_region_equals_its_own_whole_bit_for_bit(restorer, generator, data, height, width):
    image = picture(height, width)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    region = chain_for(box, image, [restorer, generator]).region(box)
    whole = chain_for(box, image, [restorer, generator]).whole()
    assert torch.equal(region, whole[:, :, 4 * top : 4 * box[3], 4 * left : 4 * box[2]])
    plain = TiledPicture(TiledPicture(image, restorer), generator).region(box)
    torch.testing.assert_close(region, plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [100, 200, 216])
def test_a_chain_made_for_a_region_runs_each_network_once_on_it(restorer, generator, side):
    box = (31, 43, 31 + side, 43 + side)
    enlarged = chain_for(box, picture(400, 400), [restorer, generator])
    enlarged.region(box)
    assert enlarged.tiles_computed == 1
    assert enlarged.source.tiles_computed == 1


def test_a_chain_of_no_networks_is_the_picture():
    image = picture(5, 5)
    assert torch.equal(chain_for((0, 0, 5, 5), image, []).output_region((0, 0, 5, 5)), image)


def test_a_chain_for_a_box_outside_the_picture_is_refused(restorer):
    with pytest.raises(ValueError, match="box must lie within 0, 0, 5, 5"):
        chain_for((0, 0, 6, 5), picture(5, 5), [restorer])


@pytest.mark.parametrize(("width", "height"), [(1, 1), (100, 90), (256, 256), (257, 256), (1000, 700), (5000, 20)])
@pytest.mark.parametrize("left", [0, 500])
def test_no_other_tile_side_costs_less(generator, width, height, left):
    sizes = []
    network = replace(generator, module=nn.Identity(), scale=1)
    network.module.register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[2] * given[0].shape[3]))
    image, box = torch.zeros((1, 3, 900, 6000)), (left, 30, left + width, 30 + height)

    def pixels(side):
        sizes.clear()
        TiledPicture(image, network, anchor=box[:2], tile=side).region(box)
        return sum(sizes)

    assert pixels(fit_tile(box, (900, 6000), network)) == min(pixels(side) for side in TILES)


def test_asking_twice_computes_once(restorer):
    tiled = TiledPicture(picture(30, 30), restorer, tile=TILE)
    first = tiled.whole()
    computed = tiled.tiles_computed
    assert torch.equal(tiled.whole(), first)
    assert tiled.tiles_computed == computed


def test_the_source_is_left_as_it_was(restorer):
    image = picture(20, 20)
    before = image.clone()
    TiledPicture(image, restorer, tile=TILE).whole()
    assert torch.equal(image, before)


def test_results_do_not_depend_on_the_number_of_threads(generator):
    image = picture(40, 40)
    one = TiledPicture(image, generator, tile=TILE).whole()
    torch.set_num_threads(2)
    try:
        two = TiledPicture(image, generator, tile=TILE).whole()
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)


def test_nan_is_refused_with_the_network_named(restorer):
    image = picture(20, 20)
    image[0, 1, 10, 10] = float("nan")
    with pytest.raises(Refused, match="SymmetricAutoencoder: the network gave NaN"):
        TiledPicture(image, restorer, tile=TILE).whole()


def test_an_infinite_weight_is_refused_with_the_network_named():
    broken = trained(SymmetricAutoencoder(channels=8, pairs=1))
    nn.init.constant_(broken.module.tail.bias, float("inf"))
    with pytest.raises(Refused, match="SymmetricAutoencoder"):
        TiledPicture(picture(4, 4), broken, tile=TILE).whole()


def test_an_odd_anchor_is_refused_for_a_network_of_stride_two(restorer):
    with pytest.raises(ValueError, match=r"anchor must be a multiple of SymmetricAutoencoder's stride 2, got \(3, 0\)"):
        TiledPicture(picture(8, 8), restorer, anchor=(3, 0))


@pytest.mark.parametrize("tile", [0, -2, 7])
def test_a_tile_off_the_stride_is_refused(restorer, tile):
    with pytest.raises(ValueError, match="tile must be a positive multiple"):
        TiledPicture(picture(8, 8), restorer, tile=tile)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 9, 5), (0, 5, 5, 4), (0, 0, 5, 9)])
def test_a_box_outside_the_picture_is_refused(generator, box):
    with pytest.raises(ValueError, match="box must lie within 0, 0, 8, 8"):
        TiledPicture(picture(8, 8), generator).region(box)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8)])
def test_another_shape_is_refused(restorer, shape):
    with pytest.raises(ValueError, match="picture must have shape"):
        TiledPicture(torch.zeros(shape), restorer)


def test_bytes_are_refused(restorer):
    with pytest.raises(ValueError, match="must be float32"):
        TiledPicture(torch.zeros((1, 3, 8, 8), dtype=torch.uint8), restorer)


@pytest.mark.parametrize(
    ("corner", "stride", "expected"), [((7, 12), 2, (6, 12)), ((-3, 0), 2, (-4, 0)), ((5, 5), 1, (5, 5))]
)
def test_align_down_goes_to_the_lattice_point_before(corner, stride, expected):
    assert align_down(corner, stride) == expected
