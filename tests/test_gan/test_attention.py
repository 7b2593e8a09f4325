import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gan.attention import SelfAttention
from gan.spectral import SpectralConv2d

CHANNELS = 16


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_fresh_attention_changes_nothing():
    maps = torch.randn(2, CHANNELS, 5, 3)
    assert torch.equal(SelfAttention(CHANNELS)(maps), maps)


def test_only_gamma_learns_at_first():
    attention = SelfAttention(CHANNELS)
    (attention(torch.randn(2, CHANNELS, 5, 3)) * torch.randn(2, CHANNELS, 5, 3)).sum().backward()
    assert attention.gamma.grad.abs().item() > 1e-3
    assert attention.key.weight.grad.count_nonzero().item() == 0


def test_what_a_pixel_gathers_sums_to_one():
    weights = SelfAttention(CHANNELS).weights(torch.randn(2, CHANNELS, 5, 3))
    assert weights.shape == (2, 15, 15)
    assert torch.allclose(weights.sum(dim=2), torch.ones(2, 15), atol=1e-6)
    assert weights.min().item() > 0


def test_what_a_pixel_gathers_sums_to_one_where_the_rest_is_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        weights = SelfAttention(CHANNELS).weights(torch.randn(2, CHANNELS, 16, 16) * 3)
    assert torch.allclose(weights.sum(dim=2), torch.ones(2, 256), atol=1e-6)


def test_it_is_attention_with_unscaled_products_as_torch_computes_it():
    attention, maps = _learned(), torch.randn(2, CHANNELS, 5, 3)
    query, key, value = (_by_pixels(part(maps)) for part in (attention.query, attention.key, attention.value))
    gathered = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    wanted = maps + 0.7 * attention.out(gathered.transpose(1, 2).unflatten(2, (5, 3)))
    assert torch.allclose(attention(maps), wanted, atol=1e-5)


def test_pixels_of_one_picture_gather_nothing_from_another():
    attention, maps = _learned(), torch.randn(3, CHANNELS, 5, 3)
    assert torch.allclose(attention(maps)[:1], attention(maps[:1]), atol=1e-6)


def test_it_does_not_know_where_pixels_are():
    attention, maps = _learned(), torch.randn(2, CHANNELS, 5, 3)
    order = torch.tensor([7, 3, 14, 0, 11, 5, 9, 1, 13, 2, 8, 12, 4, 10, 6])
    shuffled = maps.flatten(2)[:, :, order].unflatten(2, (5, 3))
    assert torch.allclose(attention(shuffled).flatten(2), attention(maps).flatten(2)[:, :, order], atol=1e-5)


def test_equal_pixels_gather_that_pixel():
    attention, pixel = _learned(), torch.randn(1, CHANNELS, 1, 1)
    maps = pixel.expand(-1, -1, 4, 4)
    alone = pixel + 0.7 * attention.out(attention.value(pixel))
    assert torch.allclose(attention(maps), alone.expand(-1, -1, 4, 4), atol=1e-5)


def test_a_penalty_on_its_gradients_can_be_descended():
    attention = _learned()
    maps = torch.randn(2, CHANNELS, 4, 4, requires_grad=True)
    (slopes,) = torch.autograd.grad(attention(maps).square().sum(), maps, create_graph=True)
    slopes.square().sum().backward()
    assert min(parameter.grad.abs().max().item() for parameter in attention.parameters()) > 1e-3


@pytest.mark.parametrize(("channels", "narrow"), [(4, 1), (8, 1), (16, 2), (64, 8)])
def test_pixels_are_compared_in_an_eighth_of_the_channels(channels: int, narrow: int):
    attention = SelfAttention(channels)
    sizes = [tuple(part.weight.shape[:2]) for part in (attention.query, attention.key, attention.value, attention.out)]
    assert sizes == [(narrow, channels), (narrow, channels), (narrow, channels), (channels, narrow)]


def test_all_its_weights_are_spectral_and_without_bias():
    attention = SelfAttention(CHANNELS)
    kinds = {type(part) for part in attention.children()}
    assert kinds == {SpectralConv2d}
    assert {part.bias for part in attention.children()} == {None}


def _learned() -> SelfAttention:
    """Return attention that is no longer fresh: of gamma 0.7."""
    attention = SelfAttention(CHANNELS)
    with torch.no_grad():
        attention.gamma.fill_(0.7)
    return attention


def _by_pixels(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)
