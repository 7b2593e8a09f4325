"""What Karras et al. 2018 and their code say of each layer's scale and place (table 2, section 4.1)."""

import math

import numpy as np
import pytest
import torch

from gan.layers import multiply_noise
from gan.losses import noise_strength, smoothed_loss
from gan.schedule import Schedule
from gan.zoo import Shape, build_discriminator, build_generator
from gan.zoo.progan import ProGanDiscriminator


def test_multiplicative_noise_has_a_factor_for_each_pictures_channel():
    maps, noise = torch.rand(2, 4, 3, 3), torch.tensor([[0.0, 0.5, -0.5, 1.0], [0.25, 0.0, 0.0, 0.0]])
    factors = (multiply_noise(maps, noise) / maps)[:, :, 0, 0]
    assert torch.allclose(factors, 1 + 2 * noise, atol=1e-6)  # sqrt(4) = 2
    assert multiply_noise(maps, None) is maps


def test_without_strength_noise_changes_nothing():
    shape = Shape(resolution=16, latent=8, most_maps=8, map_budget=32)
    discriminator, images = ProGanDiscriminator(shape), torch.randn(4, 3, 16, 16)
    assert shape.noise_widths(4) == [4, 4, 8, 8, 9]
    silent = discriminator.judge(images, noise=torch.zeros(4, 33))[0]
    assert torch.equal(silent, discriminator(images))
    assert not torch.equal(discriminator.judge(images, noise=torch.randn(4, 33))[0], silent)


@pytest.mark.parametrize(("smoothed", "strength"), [(0.0, 0.0), (0.5, 0.0), (0.75, 0.0125), (1.0, 0.05)])
def test_the_noise_grows_with_the_critics_loss_beyond_one_half(smoothed: float, strength: float):
    assert noise_strength(smoothed) == pytest.approx(strength)


@pytest.mark.parametrize(("loss", "wanted"), [(-3.0, 0.45), (0.5, 0.5), (9.0, 0.55)])
def test_the_critics_loss_is_smoothed_within_its_range(loss: float, wanted: float):
    assert smoothed_loss(0.5, loss) == pytest.approx(wanted)


@pytest.fixture(scope="module")
def pair():
    """The paper's networks of 64 px, without memory."""
    with torch.device("meta"):
        return build_generator("progan", 64), build_discriminator("progan", 64)


def test_the_generators_gains_are_the_published_ones(pair):
    generator, _ = pair
    assert generator.dense.scale == pytest.approx(math.sqrt(2) / 4 / math.sqrt(512))
    assert generator.conv.scale == pytest.approx(math.sqrt(2 / (9 * 512)))
    assert generator.blocks["6"].up.scale == pytest.approx(math.sqrt(2 / (9 * 512)))
    assert generator.blocks["6"].conv.scale == pytest.approx(math.sqrt(2 / (9 * 256)))
    assert generator.to_pictures["6"].scale == pytest.approx(1 / math.sqrt(256))


def test_the_discriminators_gains_are_the_published_ones(pair):
    _, discriminator = pair
    assert discriminator.from_pictures["6"].scale == pytest.approx(math.sqrt(2 / 3))
    assert discriminator.blocks["6"].conv.scale == pytest.approx(math.sqrt(2 / (9 * 256)))
    assert discriminator.conv.scale == pytest.approx(math.sqrt(2 / (9 * 513)))
    assert discriminator.dense.scale == pytest.approx(math.sqrt(2 / 8192))
    assert discriminator.score.scale == pytest.approx(1 / math.sqrt(512))


def test_the_stddev_is_one_channel_before_the_last_convolution(pair):
    _, discriminator = pair
    assert tuple(discriminator.conv.weight.shape) == (512, 513, 3, 3)


def test_the_first_layer_has_one_bias_a_channel(pair):
    generator, _ = pair
    assert tuple(generator.dense.weight.shape) == (8192, 512)
    assert tuple(generator.dense.bias.shape) == (512,)


@pytest.mark.parametrize(
    ("level", "maps"),
    [(2, 512), (5, 512), (6, 256), (7, 128), (8, 64), (9, 32), (10, 16)],
    ids=lambda value: str(value),
)
def test_feature_maps_halve_from_64_pixels_on(level: int, maps: int):
    with torch.device("meta"):
        shape = build_generator("progan").shape
    assert shape.maps(level) == maps


@pytest.mark.parametrize(("stable", "fade"), [(600_000, 600_000), (800_000, 800_000), (400_000, 400_000)])
def test_the_schedule_is_the_authors_at_10_000_moments(stable: int, fade: int):
    images = np.random.default_rng(0).integers(0, 20_000_000, 10_000)
    index, within = np.divmod(images, stable + fade)
    lod = np.maximum(8 - index - np.maximum(within - stable, 0) / fade, 0.0)  # of level 10 grown from level 2
    schedule = Schedule(stable_images=stable, fade_images=fade)
    phases = [schedule.at(int(moment)) for moment in images]
    assert np.array_equal([phase.level for phase in phases], 10 - np.floor(lod))
    assert np.allclose([phase.fade for phase in phases], 1 - (lod - np.floor(lod)), atol=1e-12)
