import dataclasses

import numpy as np
import pytest
import torch
from oracles import residual as oracle
from torch import Tensor, nn

from gan.spectral import SpectralConv2d, SpectralLinear
from gan.zoo import Shape, build_discriminator, build_generator, usual_shape
from gan.zoo.resnet import ResnetDiscriminator, ResnetGenerator, resnet_generator

LABELLED = pytest.mark.parametrize(
    ("columns", "labels"), [(0, None), (3, np.eye(3)[[0, 2, 1, 1]])], ids=["plain", "labels"]
)
SMALL = {"architecture": "resnet", "resolution": 16, "latent": 6, "most_maps": 8, "map_budget": 32}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_cifar_networks_are_as_large_as_table_4_says():
    pair = build_generator("resnet", 32), build_discriminator("resnet", 32)
    # 128 x 16 x 256 dense; 3 blocks of 2 x 9 x 256 x 256 and 256 x 256; 9 x 256 x 3; the rest are biases and norms
    # 3 x 128 and 7 of 128 x 128 with 9 taps; 3 x 128 and 128 x 128 with one; 128 to score; the rest are biases
    assert tuple(map(_count, pair)) == (4_276_739, 1_053_825)


def test_the_generator_of_128_pixels_is_table_6s():
    with torch.device("meta"):
        generator = build_generator("resnet", 128)
    assert tuple(generator.dense.weight.shape) == (16384, 128)
    assert _widths(generator.blocks) == {
        "3": (1024, 1024, 1024),
        "4": (1024, 512, 512),
        "5": (512, 256, 256),
        "6": (256, 128, 128),
        "7": (128, 64, 64),
    }
    assert tuple(generator.to_pictures.weight.shape) == (3, 64, 3, 3)


def test_the_discriminator_of_128_pixels_is_table_6s():
    shape = dataclasses.replace(usual_shape("resnet", 128), discriminator_norm="none")
    with torch.device("meta"):
        discriminator = ResnetDiscriminator(shape)
    assert _widths(discriminator.blocks) == {
        "7": (3, 64, 64),
        "6": (64, 64, 128),  # within as wide as before, as in the authors' code
        "5": (128, 128, 256),
        "4": (256, 256, 512),
        "3": (512, 512, 1024),
        "plain0": (1024, 1024, 1024),
    }
    assert tuple(discriminator.score.weight.shape) == (1, 1024)


def test_the_discriminator_of_32_pixels_is_table_4s():
    discriminator = build_discriminator("resnet", 32)
    assert _widths(discriminator.blocks) == {
        "5": (3, 128, 128),
        "4": (128, 128, 128),
        "plain0": (128, 128, 128),
        "plain1": (128, 128, 128),
    }


@pytest.mark.parametrize(
    ("resolution", "sides"),
    [
        (8, {"3": 4, "plain0": 4, "plain1": 4}),
        (16, {"4": 8, "plain0": 8, "plain1": 8}),
        (32, {"5": 16, "4": 8, "plain0": 8, "plain1": 8}),
        (64, {"6": 32, "5": 16, "4": 8, "3": 4, "plain0": 4}),
        (128, {"7": 64, "6": 32, "5": 16, "4": 8, "3": 4, "plain0": 4}),
    ],
)
def test_the_discriminator_shrinks_to_the_size_of_its_table(resolution: int, sides: dict[str, int]):
    _, discriminator = _pair(resolution=resolution, most_maps=2)
    seen = {}
    for name, block in discriminator.blocks.items():
        block.register_forward_hook(lambda module, given, maps, name=name: seen.update({name: maps.shape[-1]}))
    discriminator(torch.zeros(1, 3, resolution, resolution))
    assert seen == sides


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_every_block_of_the_generator_doubles_the_size(resolution: int):
    generator, _ = _pair(resolution=resolution)
    assert list(generator.blocks) == [str(level) for level in range(3, resolution.bit_length())]
    assert generator(torch.randn(2, 6)).shape == (2, 3, resolution, resolution)


@LABELLED
def test_the_generator_is_the_papers(columns: int, labels: np.ndarray | None):
    generator, _ = _pair(base=(2, 3), labels=columns)
    _learn(generator)
    latents, blocks = torch.randn(4, 6), ["blocks.3", "blocks.4"]
    wanted = oracle.generator(_numbers(generator), latents.double().numpy(), labels, base=(2, 3), blocks=blocks)
    assert np.abs(generator(latents, _tensor(labels)).detach().numpy() - wanted).max() < 1e-5


@LABELLED
def test_the_discriminator_is_the_papers(columns: int, labels: np.ndarray | None):
    _, discriminator = _pair(discriminator_norm="none", resolution=32, labels=columns)
    _learn(discriminator)
    images = torch.randn(4, 3, 32, 32)
    wanted = oracle.discriminator(
        _numbers(discriminator),
        images.double().numpy(),
        labels,
        shrinking=["blocks.5", "blocks.4"],
        plain=["blocks.plain0", "blocks.plain1"],
    )
    assert np.allclose(discriminator(images, _tensor(labels)).detach().numpy(), wanted, rtol=1e-4, atol=1e-3)


def test_fresh_weights_are_glorots_with_a_gain_only_before_rectifiers():
    generator = resnet_generator(Shape(**{**SMALL, "most_maps": 64, "map_budget": 256}))
    block = generator.blocks["3"]
    deviations = [layer.weight.std().item() for layer in (*block.convs, block.shortcut, generator.dense)]
    # uniform of variance gain^2 x 2 / (fan in + fan out), fans with their taps; a dozen thousand weights at least
    assert deviations == pytest.approx(
        [(4 / (9 * 128)) ** 0.5, (4 / (9 * 128)) ** 0.5, (2 / 128) ** 0.5, (2 / (6 + 1024)) ** 0.5], rel=0.03
    )
    assert all(layer.bias.count_nonzero() == 0 for layer in (*block.convs, block.shortcut, generator.dense))


def test_told_labels_add_a_projection_of_the_features():
    _, discriminator = _pair(labels=3)
    images, features = torch.randn(4, 3, 16, 16), []
    discriminator.score.register_forward_pre_hook(lambda layer, given: features.append(given[0]))
    one, other = (discriminator(images, torch.eye(3)[[label] * 4]) for label in (0, 2))
    embeddings = discriminator.projection.norm(discriminator.projection.weight)
    assert torch.allclose(one - other, features[0] @ (embeddings[:, 0] - embeddings[:, 2]), atol=1e-4)


def test_labels_are_told_and_not_guessed():
    _, discriminator = _pair(labels=3)
    scores, logits = discriminator.judge(torch.randn(4, 3, 16, 16), torch.eye(3)[[0, 1, 2, 0]])
    assert not discriminator.guesses_labels
    assert (scores.shape, logits.shape) == ((4,), (4, 0))


def test_labels_change_the_pictures_of_a_generator_that_has_learned_them():
    generator, _ = _pair(labels=3)
    latents, labels = torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]
    assert torch.equal(generator(latents, labels), generator(latents, labels.roll(1, 0)))
    _learn(generator)
    assert not torch.allclose(generator(latents, labels), generator(latents, labels.roll(1, 0)), atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
def test_labels_may_be_numbers_of_any_kind(dtype: torch.dtype):
    generator, discriminator = _pair(labels=3)
    latents, labels = torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]
    pictures = generator(latents, labels)
    assert torch.equal(generator(latents, labels.to(dtype)), pictures)
    assert torch.equal(discriminator(pictures, labels.to(dtype)), discriminator(pictures, labels))


def test_pictures_are_within_their_range():
    generator, _ = _pair()
    pictures = generator(torch.randn(4, 6) * 1000)
    assert pictures.abs().max().item() <= 1.0


def test_after_training_a_picture_does_not_depend_on_its_company():
    generator, _ = _pair()
    latents = torch.randn(8, 6)
    generator(latents)
    generator.eval()
    assert torch.allclose(generator(latents)[:2], generator(latents[:2]), atol=1e-6)


def test_a_score_does_not_depend_on_its_company():
    _, discriminator = _pair()
    images = torch.randn(4, 3, 16, 16)
    assert torch.allclose(discriminator(images)[:2], discriminator(images[:2]), atol=1e-5)


def test_a_pair_descends_through_a_penalty_on_gradients():
    _, discriminator = _pair(labels=3)
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    scores = discriminator(images, torch.eye(3)[:2])
    (slopes,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    slopes.square().sum().backward()
    assert discriminator.blocks["4"].convs[0].weight.grad.abs().max().item() > 0
    assert discriminator.projection.weight.grad.abs().max().item() > 0


@pytest.mark.parametrize(
    ("norm", "kinds"),
    [
        ("usual", {SpectralConv2d, SpectralLinear}),
        ("spectral", {SpectralConv2d, SpectralLinear}),
        ("none", {nn.Conv2d, nn.Linear}),
    ],
)
def test_the_discriminators_layers_are_spectral_unless_told_otherwise(norm: str, kinds: set[type]):
    _, discriminator = _pair(discriminator_norm=norm, labels=3)
    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 10  # three in each block that widens, two in the last, score and projection
    assert {type(layer) for layer in layers} == kinds


def test_fresh_weights_are_normalised_as_they_were_drawn():
    _, discriminator = _pair()
    conv = discriminator.blocks["4"].convs[1]
    weight = conv.norm(conv.weight).detach().flatten(1)
    assert torch.linalg.svdvals(weight)[0].item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_may_be_grey_or_have_alpha(channels: int):
    generator, discriminator = _pair(channels=channels)
    pictures = generator(torch.randn(4, 6))
    assert pictures.shape == (4, channels, 16, 16)
    assert discriminator(pictures).shape == (4,)


def test_pictures_need_not_be_square():
    generator, discriminator = _pair(base=(4, 6))
    pictures = generator(torch.randn(4, 6))
    assert pictures.shape == (4, 3, 16, 24)
    assert discriminator(pictures).shape == (4,)


def test_scores_are_float32_where_the_rest_is_bfloat16():
    generator, discriminator = _pair(labels=3)
    labels = torch.eye(3)[[0, 1, 2, 0]]
    with torch.autocast("cpu", torch.bfloat16):
        pictures = generator(torch.randn(4, 6), labels)
        scores = discriminator(pictures, labels)
    assert (pictures.dtype, scores.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("fade", [0.0, 0.5, torch.tensor(1.0)], ids=["old", "half", "tensor"])
def test_a_network_that_does_not_grow_takes_no_fade(fade: float | Tensor):
    generator, discriminator = _pair()
    with pytest.raises(ValueError, match="does not grow, so fade must be 1"):
        generator(torch.zeros(2, 6), fade=fade)
    with pytest.raises(ValueError, match="does not grow, so fade must be 1"):
        discriminator(torch.zeros(2, 3, 16, 16), fade=fade)


def test_a_network_that_does_not_grow_has_one_level():
    generator, discriminator = _pair()
    assert generator(torch.zeros(2, 6), level=4).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="level must be 4 for resnet of 16 px, got 3"):
        generator(torch.zeros(2, 6), level=3)
    with pytest.raises(ValueError, match="level must be 4 for resnet of 16 px, got 3"):
        discriminator(torch.zeros(2, 3, 8, 8), level=3)


@pytest.mark.parametrize("labels", [None, torch.zeros(2, 4), torch.zeros(3, 3)])
def test_missing_or_misshapen_labels_are_refused_by_both(labels: Tensor | None):
    generator, discriminator = _pair(labels=3)
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 3\)"):
        generator(torch.zeros(2, 6), labels)
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 3\)"):
        discriminator(torch.zeros(2, 3, 16, 16), labels)


def test_labels_nobody_asked_for_are_refused_by_both():
    generator, discriminator = _pair()
    with pytest.raises(ValueError, match="built without labels"):
        generator(torch.zeros(2, 6), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="built without labels"):
        discriminator(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3))


def test_latents_of_another_length_are_refused():
    generator, _ = _pair()
    with pytest.raises(ValueError, match=r"latents must have shape \(n, 6\), got \(2, 7\)"):
        generator(torch.zeros(2, 7))


def _pair(**changes: object) -> tuple[ResnetGenerator, ResnetDiscriminator]:
    shape = Shape(**{**SMALL, **changes})
    return resnet_generator(shape), ResnetDiscriminator(shape)


def _learn(network: nn.Module) -> None:
    """Move every parameter away from where a fresh network has it."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)


def _numbers(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in network.state_dict().items()}


def _tensor(rows: np.ndarray | None) -> Tensor | None:
    return None if rows is None else torch.from_numpy(rows)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _widths(blocks: nn.ModuleDict) -> dict[str, tuple[int, int, int]]:
    """Return the channels before, within and after each block."""
    return {
        name: (block.convs[0].in_channels, block.convs[0].out_channels, block.convs[1].out_channels)
        for name, block in blocks.items()
    }
