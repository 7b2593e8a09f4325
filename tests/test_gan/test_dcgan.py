import pytest
import torch
from torch import Tensor, nn

from gan.spectral import SpectralConv2d, SpectralLinear
from gan.zoo import Shape, build_discriminator, build_generator
from gan.zoo.dcgan import DcganDiscriminator, DcganGenerator

SMALL = {"architecture": "dcgan", "resolution": 32, "latent": 6, "most_maps": 8, "map_budget": 64}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_generator_is_figure_1s():
    with torch.device("meta"):
        generator = build_generator("dcgan", 64)
    dense = 100 * 1024 * 4 * 4
    deconvolutions = 4 * 4 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3  # a bias for the pictures alone
    scales_and_shifts = 2 * (1024 + 512 + 256 + 128)
    assert _count(generator) == dense + deconvolutions + scales_and_shifts == 12_658_435


def test_the_discriminator_mirrors_the_generator():
    with torch.device("meta"):
        discriminator = build_discriminator("dcgan", 64)
    convolutions = 4 * 4 * (3 * 128 + 128 * 256 + 256 * 512 + 512 * 1024) + 128  # a bias where there is no norm
    scales_and_shifts = 2 * (256 + 512 + 1024)
    assert _count(discriminator) == convolutions + scales_and_shifts + 1024 * 16 + 1 == 11_036_289


@pytest.mark.parametrize("base", [(4, 4), (4, 6), (3, 5)])
def test_every_deconvolution_doubles_the_size_exactly(base: tuple[int, int]):
    generator, _ = _pair(base=base)
    sizes = []
    for layer in generator.layers:
        layer.register_forward_hook(lambda layer, given, maps: sizes.append((type(layer), tuple(maps.shape[2:]))))
    generator(torch.randn(2, 6))
    assert [size for kind, size in sizes if kind is nn.ConvTranspose2d] == [
        (2 * base[0], 2 * base[1]),
        (4 * base[0], 4 * base[1]),
        (8 * base[0], 8 * base[1]),
    ]


def test_every_convolution_halves_the_size_exactly():
    _, discriminator = _pair()
    sizes = []
    for layer in discriminator.layers:
        layer.register_forward_hook(lambda layer, given, maps: sizes.append((type(layer), tuple(maps.shape[2:]))))
    discriminator(torch.randn(2, 3, 32, 32))
    assert [size for kind, size in sizes if kind is nn.Conv2d] == [(16, 16), (8, 8), (4, 4)]


def test_pictures_come_out_of_a_hyperbolic_tangent():
    generator, latents = _pair()[0], torch.randn(4, 6)
    generator.layers[-2].weight.data.mul_(1000.0)
    pictures = generator(latents)
    reached = generator.layers[:-1](generator.dense(latents).unflatten(1, (-1, 4, 4)))
    assert reached.abs().max().item() > 2.0
    assert torch.equal(pictures, reached.tanh())


def test_the_discriminators_first_layer_has_no_batch_norm_and_all_others_have():
    _, discriminator = _pair()
    assert [type(layer) for layer in discriminator.layers] == [
        *(nn.Conv2d, nn.LeakyReLU),
        *(nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU),
        *(nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU),
    ]
    convs = [layer for layer in discriminator.layers if isinstance(layer, nn.Conv2d)]
    assert [conv.bias is None for conv in convs] == [False, True, True]


@pytest.mark.parametrize(
    ("norm", "conv", "dense"), [("none", nn.Conv2d, nn.Linear), ("spectral", SpectralConv2d, SpectralLinear)]
)
def test_the_discriminator_may_be_held_in_check_otherwise(norm: str, conv: type, dense: type):
    _, discriminator = _pair(discriminator_norm=norm)
    assert [type(layer) for layer in discriminator.layers] == [conv, nn.LeakyReLU] * 3
    assert [layer.bias is None for layer in discriminator.layers[::2]] == [False, False, False]
    assert type(discriminator.score) is dense


def test_every_leaky_rectifier_has_the_papers_slope():
    _, discriminator = _pair()
    assert {layer.negative_slope for layer in discriminator.layers if isinstance(layer, nn.LeakyReLU)} == {0.2}


def test_fresh_weights_are_normal_with_a_deviation_of_two_hundredths():
    pair = _pair(most_maps=64, map_budget=512)
    layers = [layer for network in pair for layer in network.modules()]
    filters = [layer.weight for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    scales = [layer.weight for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    drawn = torch.cat([weight.detach().flatten() for weight in filters])
    around_one = torch.cat([weight.detach() for weight in scales])
    assert (drawn.mean().item(), drawn.std().item()) == pytest.approx((0.0, 0.02), abs=2e-4)
    assert around_one.mean().item() == pytest.approx(1.0, abs=0.005)
    assert around_one.std().item() == pytest.approx(0.02, rel=0.2)  # some hundreds of them


def test_fresh_spectral_weights_are_normalised_as_they_were_drawn():
    _, discriminator = _pair(discriminator_norm="spectral")
    conv = discriminator.layers[4]
    weight = conv.norm(conv.weight).detach().flatten(1)
    assert torch.linalg.svdvals(weight)[0].item() == pytest.approx(1.0, abs=0.1)


def test_labels_change_pictures_and_are_guessed_by_the_discriminator():
    generator, discriminator = _pair(labels=3)
    latents, labels = torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]
    pictures = generator(latents, labels)
    assert not torch.allclose(pictures, generator(latents, labels.roll(1, 0)), atol=1e-3)
    scores, logits = discriminator.judge(pictures)
    assert discriminator.guesses_labels
    assert (scores.shape, logits.shape) == ((4,), (4, 3))


def test_without_labels_there_are_no_logits():
    _, discriminator = _pair()
    assert discriminator.judge(torch.randn(4, 3, 32, 32))[1].shape == (4, 0)


def test_scores_depend_on_the_company_with_batch_norm_in_training_and_after():
    _, discriminator = _pair()
    images = torch.randn(4, 3, 32, 32)
    discriminator.eval()
    assert not torch.allclose(discriminator(images)[:2], discriminator(images[:2]), atol=1e-3)
    assert dict(discriminator.named_buffers()) == {}


@pytest.mark.parametrize("norm", ["none", "spectral"])
def test_scores_do_not_depend_on_the_company_without_batch_norm(norm: str):
    _, discriminator = _pair(discriminator_norm=norm)
    images = torch.randn(4, 3, 32, 32)
    assert torch.allclose(discriminator(images)[:2], discriminator(images[:2]), atol=1e-6)


def test_after_training_a_picture_does_not_depend_on_its_company():
    generator, _ = _pair()
    latents = torch.randn(8, 6)
    generator(latents)
    generator.eval()
    assert torch.allclose(generator(latents)[:2], generator(latents[:2]), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_may_be_grey_or_have_alpha(channels: int):
    generator, discriminator = _pair(channels=channels)
    pictures = generator(torch.randn(4, 6))
    assert pictures.shape == (4, channels, 32, 32)
    assert discriminator(pictures).shape == (4,)


def test_pictures_need_not_be_square():
    generator, discriminator = _pair(base=(4, 6))
    pictures = generator(torch.randn(4, 6))
    assert pictures.shape == (4, 3, 32, 48)
    assert discriminator(pictures).shape == (4,)


def test_the_least_pictures_have_eight_pixels():
    generator, discriminator = _pair(resolution=8)
    pictures = generator(torch.randn(4, 6))
    assert pictures.shape == (4, 3, 8, 8)
    assert discriminator(pictures).shape == (4,)


@pytest.mark.parametrize("fade", [0.0, torch.tensor(1.0)], ids=["number", "tensor"])
def test_a_network_that_does_not_grow_takes_no_fade(fade: float | Tensor):
    generator, discriminator = _pair()
    with pytest.raises(ValueError, match="does not grow, so fade must be 1"):
        generator(torch.zeros(2, 6), fade=fade)
    with pytest.raises(ValueError, match="does not grow, so fade must be 1"):
        discriminator(torch.zeros(2, 3, 32, 32), fade=fade)


def test_a_network_that_does_not_grow_has_one_level():
    generator, discriminator = _pair()
    with pytest.raises(ValueError, match="level must be 5 for dcgan of 32 px, got 4"):
        generator(torch.zeros(2, 6), level=4)
    with pytest.raises(ValueError, match="level must be 5 for dcgan of 32 px, got 4"):
        discriminator(torch.zeros(2, 3, 16, 16), level=4)


@pytest.mark.parametrize(
    ("latents", "labels", "message"),
    [
        (torch.zeros(2, 7), torch.zeros(2, 3), r"latents must have shape \(n, 6\), got \(2, 7\)"),
        (torch.zeros(2, 6), torch.zeros(2, 4), r"labels must have shape \(2, 3\)"),
        (torch.zeros(2, 6), None, r"labels must have shape \(2, 3\)"),
    ],
)
def test_a_generator_says_what_it_was_given(latents: Tensor, labels: Tensor | None, message: str):
    generator, _ = _pair(labels=3)
    with pytest.raises(ValueError, match=message):
        generator(latents, labels)


def test_pictures_of_another_size_or_kind_are_refused():
    _, discriminator = _pair()
    with pytest.raises(ValueError, match=r"images of level 5 must have shape \(n, 3, 32, 32\), got \(2, 3, 64, 64\)"):
        discriminator(torch.zeros(2, 3, 64, 64))
    with pytest.raises(TypeError, match=r"float in -1\.\.1, got torch\.uint8"):
        discriminator(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))


def _pair(**changes: object) -> tuple[DcganGenerator, DcganDiscriminator]:
    shape = Shape(**{**SMALL, **changes})
    return DcganGenerator(shape), DcganDiscriminator(shape)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
