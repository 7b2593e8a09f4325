import pytest
import torch

from gan.layers import enlarge, shrink
from gan.zoo import Shape, build_discriminator, build_generator
from gan.zoo.progan import ProGanDiscriminator, ProGanGenerator

SMALL = {"resolution": 32, "latent": 16, "most_maps": 16, "map_budget": 128}

# Karras et al. 2018, table 2: 23.1 M each at 1024; the rest counted from the authors' layer table
COUNTS = {
    4: (6_556_163, 6_561_793),
    8: (11_277_318, 11_283_457),
    16: (15_998_473, 16_005_121),
    32: (20_719_628, 20_726_785),
    64: (22_490_383, 22_498_049),
    128: (22_933_394, 22_941_313),
    256: (23_044_309, 23_052_353),
    512: (23_072_120, 23_080_225),
    1024: (23_079_115, 23_087_249),
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("resolution", COUNTS)
def test_parameters_are_as_many_as_published(resolution: int):
    with torch.device("meta"):
        pair = build_generator("progan", resolution), build_discriminator("progan", resolution)
    assert tuple(map(_count, pair)) == COUNTS[resolution]


def test_the_cifar_networks_have_the_published_size():
    shape = Shape(resolution=32, latent=128, most_maps=128, map_budget=4096)
    assert (_count(ProGanGenerator(shape)), _count(ProGanDiscriminator(shape))) == (1_296_908, 1_298_689)


@pytest.mark.parametrize("scaling", ["fused", "separate"])
@pytest.mark.parametrize("fade", [0.0, torch.tensor(0.0)], ids=["number", "tensor"])
@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_level_begins_as_the_one_before_bit_for_bit(level: int, fade: float, scaling: str):
    generator, discriminator = _pair(scaling=scaling)
    latents, images = torch.randn(4, 16), torch.randn(4, 3, 1 << level, 1 << level)
    assert torch.equal(generator(latents, level=level, fade=fade), enlarge(generator(latents, level=level - 1)))
    old = discriminator(shrink(images), level=level - 1)
    assert torch.equal(discriminator(images, level=level, fade=fade), old)


def test_a_level_ends_as_its_own_block_alone():
    generator, discriminator = _pair()
    latents, images, end = torch.randn(4, 16), torch.randn(4, 3, 32, 32), torch.tensor(1.0)
    assert torch.allclose(generator(latents, fade=end), generator(latents), atol=1e-6)
    assert torch.allclose(discriminator(images, fade=end), discriminator(images), atol=1e-6)


def test_generated_pictures_change_linearly_with_the_fade():
    generator, _ = _pair()
    latents = torch.randn(2, 16)
    low, middle, high = (generator(latents, fade=fade) for fade in (0.25, 0.5, 0.75))
    assert torch.allclose(middle, (low + high) / 2, atol=1e-5)


def test_both_scalings_generate_the_same_pictures():
    fused, _ = _pair()
    separate, _ = _pair(scaling="separate")
    separate.load_state_dict(fused.state_dict())
    latents = torch.randn(4, 16)
    assert torch.allclose(fused(latents), separate(latents), atol=1e-4)


def test_shrinking_before_the_rectifier_is_another_discriminator():
    _, fused = _pair()
    _, separate = _pair(scaling="separate")
    separate.load_state_dict(fused.state_dict())
    images = torch.randn(4, 3, 32, 32)
    assert not torch.allclose(fused(images), separate(images), atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_may_be_grey_or_have_alpha(channels: int):
    generator, discriminator = _pair(channels=channels)
    pictures = generator(torch.randn(4, 16))
    assert pictures.shape == (4, channels, 32, 32)
    assert discriminator(pictures).shape == (4,)


def test_pictures_need_not_be_square():
    generator, discriminator = _pair(base=(4, 6))
    pictures = generator(torch.randn(4, 16), level=4, fade=0.5)
    assert pictures.shape == (4, 3, 16, 24)
    assert discriminator(pictures, level=4, fade=0.5).shape == (4,)


def test_labels_go_into_the_generator_and_are_guessed_by_the_discriminator():
    generator, discriminator = _pair(labels=5)
    latents, labels = torch.randn(4, 16), torch.eye(5)[:4]
    pictures = generator(latents, labels)
    assert not torch.allclose(pictures, generator(latents, labels.roll(1, 0)))
    scores, logits = discriminator.judge(pictures)
    assert (scores.shape, logits.shape) == ((4,), (4, 5))


def test_the_score_does_not_depend_on_companions_outside_the_stddev_group():
    _, discriminator = _pair(stddev_group=1)
    images = torch.randn(4, 3, 32, 32)
    assert torch.allclose(discriminator(images)[:2], discriminator(images[:2]), atol=1e-6)


@pytest.mark.parametrize(
    ("latents", "labels", "message"),
    [
        (torch.zeros(2, 15), None, r"latents must have shape \(n, 16\), got \(2, 15\)"),
        (torch.zeros(2, 16), torch.zeros(2, 3), "built without labels"),
    ],
)
def test_a_generator_says_what_it_was_given(latents: torch.Tensor, labels: torch.Tensor | None, message: str):
    generator, _ = _pair()
    with pytest.raises(ValueError, match=message):
        generator(latents, labels)


@pytest.mark.parametrize("labels", [None, torch.zeros(2, 4), torch.zeros(3, 5)])
def test_missing_or_misshapen_labels_are_refused(labels: torch.Tensor | None):
    generator, _ = _pair(labels=5)
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 5\)"):
        generator(torch.zeros(2, 16), labels)


def test_stored_pixels_are_refused_by_the_discriminator():
    _, discriminator = _pair()
    with pytest.raises(TypeError, match=r"float in -1\.\.1, got torch\.uint8"):
        discriminator(torch.zeros(4, 3, 32, 32, dtype=torch.uint8))


def test_pictures_of_another_level_are_refused():
    _, discriminator = _pair()
    with pytest.raises(ValueError, match=r"images of level 4 must have shape \(n, 3, 16, 16\), got \(4, 3, 32, 32\)"):
        discriminator(torch.zeros(4, 3, 32, 32), level=4)


@pytest.mark.parametrize("level", [1, 6])
def test_a_level_that_is_not_there_is_refused(level: int):
    generator, _ = _pair()
    with pytest.raises(ValueError, match=rf"level must be 2..5 for progan of 32 px, got {level}"):
        generator(torch.zeros(1, 16), level=level)


@pytest.mark.parametrize("fade", [-0.1, 1.1])
def test_a_fade_beyond_its_ends_is_refused(fade: float):
    generator, _ = _pair()
    with pytest.raises(ValueError, match=r"fade must be 0\.\.1"):
        generator(torch.zeros(1, 16), fade=fade)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resolution": 48}, "power of two"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"labels": -1}, "labels"),
        ({"scaling": "fast"}, "scaling must be one of fused, separate, got 'fast'"),
    ],
)
def test_impossible_shapes_are_refused(wrong: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Shape(**wrong)


def test_an_unknown_architecture_names_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'progan'"):
        build_generator("pro-gan", 8)


def _pair(**changes: object) -> tuple[ProGanGenerator, ProGanDiscriminator]:
    shape = Shape(**{**SMALL, **changes})
    return ProGanGenerator(shape), ProGanDiscriminator(shape)
