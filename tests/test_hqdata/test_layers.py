"""The layers that both networks share: flat areas are left alone."""

import numpy as np
import pytest
import torch

from hqdata import restore, upscale
from hqdata.layers import FLAT, flatness_gate, local_mean
from hqdata.pixels import to_image, to_tensor

COLOURS = [(0, 0, 0), (255, 255, 255), (1, 254, 3), (128, 128, 128), (200, 17, 93)]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("room", [restore, upscale])
def test_a_constant_picture_comes_back_constant(room, colour):
    network = room.load()
    wall = np.full((37, 50, 3), colour, np.uint8)
    result = room.apply(to_tensor(wall), network)
    assert np.array_equal(to_image(result), np.full((37 * network.scale, 50 * network.scale, 3), colour, np.uint8))
    assert (result - to_tensor(wall)[:, :, :1, :1]).abs().max() < 1e-5


def test_a_flat_part_stays_flat_beside_a_busy_one():
    picture = np.full((64, 96, 3), 90, np.uint8)
    picture[:, 64:] = np.random.default_rng(0).integers(0, 256, (64, 32, 3))
    result = to_image(restore.apply(to_tensor(picture), restore.load()))
    assert (result[:, :40] == 90).all()
    assert (result[:, 64:] != picture[:, 64:]).any()


def test_the_gate_is_shut_for_no_detail_and_open_from_half_a_grey_level():
    assert torch.equal(flatness_gate(torch.zeros(1, 3, 8, 8), 5), torch.zeros(1, 1, 8, 8))
    assert torch.equal(flatness_gate(torch.full((1, 3, 8, 8), -2 * FLAT), 5), torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(flatness_gate(torch.full((1, 3, 8, 8), FLAT / 2), 5), torch.full((1, 1, 8, 8), 0.5))


def test_the_local_mean_is_the_mean_of_the_square():
    feature = torch.arange(49.0).reshape(1, 1, 7, 7)
    assert local_mean(feature, 5)[0, 0, 3, 3] == feature[0, 0, 1:6, 1:6].mean()
    assert local_mean(feature, 5)[0, 0, 0, 0] == pytest.approx(
        (9 * 0 + 3 * (1 + 2) + 3 * (7 + 14) + 8 + 9 + 15 + 16) / 25
    )
