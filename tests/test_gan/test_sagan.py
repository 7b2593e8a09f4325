import copy

import pytest
import torch
from torch import nn

from gan.attention import SelfAttention
from gan.spectral import SpectralConv2d, SpectralLinear
from gan.zoo import Shape, build_discriminator, build_generator, usual_shape
from gan.zoo.resnet import ResnetDiscriminator, ResnetGenerator
from gan.zoo.sagan import sagan_discriminator, sagan_generator

SMALL = {
    "architecture": "sagan",
    "resolution": 32,
    "latent": 6,
    "most_maps": 16,
    "map_budget": 128,
    "discriminator_maps": 8,
    "attention": 8,
}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("resolution", "attention"), [(16, 8), (32, 8), (32, 16), (64, 8), (64, 16), (64, 32)])
def test_maps_of_the_size_asked_for_attend_in_both_networks(resolution: int, attention: int):
    generator, discriminator = _pair(resolution=resolution, attention=attention)
    seen = [_sizes(network) for network in (generator, discriminator)]
    discriminator(generator(torch.randn(2, 6)))
    assert seen == [[(attention, attention)], [(attention, attention)]]


def test_pictures_that_are_not_square_attend_at_their_own_size():
    generator, discriminator = _pair(base=(4, 6), attention=16)
    seen = [_sizes(network) for network in (generator, discriminator)]
    pictures = generator(torch.randn(2, 6))
    assert discriminator(pictures).shape == (2,)
    assert seen == [[(16, 24)], [(16, 24)]]


@pytest.mark.parametrize(("resolution", "attention"), [(16, 8), (32, 16), (64, 32), (128, 32), (1024, 32)])
def test_usually_maps_of_32_pixels_attend_or_of_half_the_pictures(resolution: int, attention: int):
    assert usual_shape("sagan", resolution).attention == attention


def test_fresh_attention_changes_nothing_in_either_network():
    generator, discriminator = _pair()
    assert (generator.attention.gamma.item(), discriminator.attention.gamma.item()) == (0.0, 0.0)
    bare, unattended = copy.deepcopy(generator), copy.deepcopy(discriminator)
    bare.attention = unattended.attention = None
    latents, images = torch.randn(2, 6), torch.randn(2, 3, 32, 32)
    assert torch.equal(generator(latents), bare(latents))
    assert torch.equal(discriminator(images), unattended(images))


def test_learned_attention_changes_both():
    generator, discriminator = _pair()
    latents, images = torch.randn(2, 6), torch.randn(2, 3, 32, 32)
    before = generator(latents), discriminator(images)
    generator.attention.gamma.data.fill_(1.0)
    discriminator.attention.gamma.data.fill_(1.0)
    assert not torch.allclose(generator(latents), before[0], atol=1e-3)
    assert not torch.allclose(discriminator(images), before[1], atol=1e-3)


@pytest.mark.parametrize("labels", [0, 3])
def test_all_convolutions_and_dense_layers_of_both_are_spectral(labels: int):
    generator, discriminator = _pair(labels=labels)
    assert _kinds(discriminator) == {SpectralConv2d, SpectralLinear}
    tables = [norm.modulation for norm in generator.modules() if hasattr(norm, "modulation")]
    assert _kinds(generator, beside=tables) == {SpectralConv2d, SpectralLinear}


def test_fresh_weights_are_normalised_as_they_were_drawn():
    generator, _ = _pair()
    conv = generator.blocks["4"].convs[0]
    weight = conv.norm(conv.weight).detach().flatten(1)
    assert torch.linalg.svdvals(weight)[0].item() == pytest.approx(1.0, abs=0.1)


def test_told_to_hold_nothing_in_check_the_critic_keeps_only_attention_spectral():
    discriminator = sagan_discriminator(Shape(**SMALL, discriminator_norm="none"))
    assert _kinds(discriminator, beside=list(discriminator.attention.children())) == {nn.Conv2d, nn.Linear}


def test_both_networks_learn_to_attend():
    generator, discriminator = _pair()
    pictures = generator(torch.randn(4, 6))
    discriminator(pictures).sum().backward()
    assert generator.attention.gamma.grad.abs().item() > 0
    assert discriminator.attention.gamma.grad.abs().item() > 0


def test_the_usual_pair_is_the_residual_one_with_attention():
    generator, residual = build_generator("sagan", 32), build_generator("resnet", 32)
    discriminator, judging = build_discriminator("sagan", 32), build_discriminator("resnet", 32)
    assert _count(generator) == _count(residual) + 4 * 256 * 32 + 1
    assert _count(discriminator) == _count(judging) + 4 * 128 * 16 + 1


@pytest.mark.parametrize("attention", [4, 12, 32, 64])
def test_attention_between_maps_that_are_not_there_is_refused(attention: int):
    with pytest.raises(ValueError, match=rf"attention must be a power of two in 8\.\.16 at 32 px, got {attention}"):
        Shape(**{**SMALL, "attention": attention})


def test_every_block_of_the_critic_widens_its_maps_at_once():
    _, discriminator = _pair(discriminator_maps=0)
    widths = [[conv.out_channels for conv in block.convs] for block in discriminator.blocks.values()]
    assert widths == [[8, 8], [16, 16], [16, 16], [16, 16]]


def test_a_penalty_on_the_critics_gradients_can_be_descended():
    _, discriminator = _pair()
    discriminator.attention.gamma.data.fill_(1.0)
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    (slopes,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    slopes.square().sum().backward()
    assert discriminator.attention.query.weight.grad.abs().max().item() > 0


def test_pictures_are_within_their_range():
    generator, _ = _pair()
    assert generator(torch.randn(4, 6) * 1000).abs().max().item() <= 1.0


def _pair(**changes: object) -> tuple[ResnetGenerator, ResnetDiscriminator]:
    shape = Shape(**{**SMALL, **changes})
    return sagan_generator(shape), sagan_discriminator(shape)


def _sizes(network: nn.Module) -> list[tuple[int, int]]:
    """Return a list that gets the size of all maps that attend, from now on."""
    seen: list[tuple[int, int]] = []
    for layer in network.modules():
        if isinstance(layer, SelfAttention):
            layer.register_forward_hook(lambda layer, given, maps: seen.append(tuple(maps.shape[2:])))
    return seen


def _kinds(network: nn.Module, beside: list[nn.Module] | None = None) -> set[type]:
    """Return the kinds of convolutions and dense layers in a network, beside some of them."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return {type(layer) for layer in layers if layer not in (beside or [])}


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
