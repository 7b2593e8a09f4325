import math

import pytest
import torch
from torch.nn import functional

from gan.layers import (
    EqualConv2d,
    EqualConvDown,
    EqualConvUp,
    EqualLinear,
    MinibatchStddev,
    PixelNorm,
    enlarge,
    shrink,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2.0)])
def test_a_convolution_of_white_noise_has_the_gain_as_its_spread(gain: float):
    layer = EqualConv2d(64, 256, gain=gain)
    out = layer(torch.randn(4, 64, 12, 12))[:, :, 1:-1, 1:-1]
    assert out.var().item() == pytest.approx(gain**2, rel=0.05)


def test_the_first_adam_step_moves_every_effective_weight_by_rate_times_scale():
    layer = EqualConv2d(8, 8)
    before = (layer.weight * layer.scale).detach().clone()
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.001, betas=(0.0, 0.99))
    layer(torch.randn(2, 8, 6, 6)).square().sum().backward()
    optimiser.step()
    moved = (layer.weight * layer.scale - before).abs()
    assert torch.allclose(moved, torch.full_like(moved, 0.001 * layer.scale), rtol=1e-3)


def test_biases_begin_at_zero_and_are_not_scaled():
    layer = EqualLinear(4, 6, gain=0.5, bias_shared_by=3)
    assert torch.equal(layer.bias, torch.zeros(2))
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, 2.0]))
    assert layer(torch.zeros(1, 4)).tolist() == [[1, 1, 1, 2, 2, 2]]


def test_pixel_norm_makes_the_mean_square_one():
    out = PixelNorm()(torch.randn(3, 16, 5, 5) * 7)
    assert torch.allclose(out.square().mean(dim=1), torch.ones(3, 5, 5), atol=1e-6)


def test_pixel_norm_forgets_the_scale():
    maps = torch.randn(3, 16, 5, 5)
    assert torch.allclose(PixelNorm()(maps), PixelNorm()(maps * 1000), atol=1e-6)


def test_pixel_norms_gradient_is_orthogonal_to_its_input():
    maps = torch.randn(2, 16, 3, 3, dtype=torch.float32, requires_grad=True)
    (gradient,) = torch.autograd.grad((PixelNorm()(maps) * torch.randn(2, 16, 3, 3)).sum(), maps)
    assert (maps * gradient).sum(dim=1).abs().max().item() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixel_norm_of_zeros_is_zero(dtype: torch.dtype):
    assert torch.equal(PixelNorm()(torch.zeros(1, 4, dtype=dtype)), torch.zeros(1, 4, dtype=dtype))


def test_stddev_groups_are_strided():
    maps = torch.zeros(8, 1, 2, 2)
    maps[[0, 2, 4, 6], 0] = torch.tensor([3.0, -3.0, 3.0, -3.0]).reshape(4, 1, 1)
    added = MinibatchStddev(4)(maps)[:, 1, 0, 0]
    assert added[::2].tolist() == pytest.approx([3.0] * 4)
    assert added[1::2].tolist() == pytest.approx([1e-4] * 4)


def test_stddev_of_equal_pictures_is_the_root_of_epsilon():
    picture = torch.randn(1, 3, 4, 4)
    assert MinibatchStddev(4)(picture.repeat(4, 1, 1, 1))[:, 3].flatten().tolist() == pytest.approx([1e-4] * 64)


def test_stddev_does_not_know_the_order_within_a_group():
    maps = torch.randn(4, 3, 4, 4)
    shuffled = maps[[2, 0, 3, 1]]
    assert torch.allclose(MinibatchStddev(4)(maps)[:, 3], MinibatchStddev(4)(shuffled)[:, 3])


def test_a_batch_smaller_than_the_group_is_one_group():
    assert MinibatchStddev(4)(torch.randn(3, 2, 4, 4)).shape == (3, 3, 4, 4)


def test_a_batch_that_cannot_be_grouped_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"batch of 6 .* groups of 4"):
        MinibatchStddev(4)(torch.randn(6, 2, 4, 4))


def test_the_fused_enlarging_is_enlarge_and_convolve():
    fused = EqualConvUp(5, 7)
    maps = torch.randn(2, 5, 6, 4)
    plain = functional.conv2d(enlarge(maps), fused.weight * fused.scale, fused.bias, padding=1)
    assert torch.allclose(fused(maps), plain, atol=1e-5)


def test_the_fused_shrinking_is_convolve_and_shrink():
    fused = EqualConvDown(5, 7)
    maps = torch.randn(2, 5, 6, 4)
    plain = shrink(functional.conv2d(maps, fused.weight * fused.scale, fused.bias, padding=1))
    assert torch.allclose(fused(maps), plain, atol=1e-5)
