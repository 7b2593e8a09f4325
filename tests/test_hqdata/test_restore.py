"""The JPEG remover: what its numbers promise, and that it earns its place."""

import numpy as np
import pytest
import torch
from skimage import data

from hqdata import restore
from hqdata.pixels import to_image, to_tensor
from hqdata.restore.degrade import jpeg
from hqdata.restore.model import SymmetricAutoencoder


@pytest.fixture(scope="module")
def network():
    return restore.load()


@pytest.fixture(scope="module")
def photo():
    return np.ascontiguousarray(data.chelsea()[60:188, 120:280])


def psnr(image, reference):
    return 10 * np.log10(255**2 / np.mean((image.astype(np.float64) - reference) ** 2))


def test_an_untrained_network_is_the_identity():
    image = torch.rand((1, 3, 10, 14))
    assert torch.equal(SymmetricAutoencoder()(image), image)


@pytest.mark.parametrize("pairs", [1, 4])
@pytest.mark.parametrize("pixel", [(80, 80), (81, 81), (80, 81)])
def test_the_reach_is_exact(pairs, pixel):
    module = SymmetricAutoencoder(channels=2, pairs=pairs)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.3)
    image = torch.full((1, 3, 160, 160), 0.1, requires_grad=True)
    module(image)[0, 0, pixel[0], pixel[1]].backward()
    assert image.grad is not None
    rows, columns = image.grad[0].abs().amax(0).nonzero().unbind(1)
    away = max(int((rows - pixel[0]).abs().max()), int((columns - pixel[1]).abs().max()))
    assert away <= module.reach
    assert away >= module.reach - 1


def test_the_loaded_network_says_what_it_is(network):
    assert network.name == "dejpeg-small"
    assert (network.scale, network.stride, network.reach) == (1, 2, 41)
    assert len(network.sha256) == 64
    assert not network.module.training


@pytest.mark.parametrize("quality", [10, 20, 40, 60])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_a_compressed_photo_comes_closer_to_the_original(network, photo, quality, subsampling):
    damaged = jpeg(photo, quality, subsampling)
    fixed = to_image(restore.apply(to_tensor(damaged), network))
    assert psnr(fixed, photo) > psnr(damaged, photo) + 0.1


def test_a_compressed_face_comes_closer_to_the_original(network):
    face = np.ascontiguousarray(data.astronaut()[60:220, 150:310])
    damaged = jpeg(face, 30)
    fixed = to_image(restore.apply(to_tensor(damaged), network))
    assert psnr(fixed, face) > psnr(damaged, face) + 0.2


def test_a_box_equals_that_part_of_the_whole_bit_for_bit(network, photo):
    image = to_tensor(photo)
    whole = restore.apply(image, network, anchor=(30, 16))
    assert torch.equal(restore.apply(image, network, (31, 16, 90, 77), anchor=(30, 16)), whole[:, :, 16:77, 31:90])


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (7, 33)])
def test_any_size_keeps_its_size(network, size):
    image = torch.zeros((1, 3, *size))
    assert restore.apply(image, network).shape == image.shape
