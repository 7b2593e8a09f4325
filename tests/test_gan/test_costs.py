"""Costs counted on our own networks equal the arithmetic that is known of the paper's."""

import functools

import pytest
import torch

from gan.config import gan_config_from_dict
from gan.costs import StepCosts, count_costs, step_costs

GIGA = 1e9

# multiply-adds of every layer of Karras et al. 2018, table 2, worked out by hand: per real picture, 18 times a forward
# pass less what first and last layers spare; "separate" is table 2, "fused" has 4 taps for 9 where the size changes
TRAINING_GFLOP = {
    "separate": {2: 1.504, 3: 12.38, 6: 490.8, 8: 1013.0, 10: 1536.0},
    "fused": {3: 9.36, 5: 166.4, 10: 989.3},
}
DISCRIMINATOR_GFLOP = {2: 1.093, 6: 354.5, 10: 1109.0}
GENERATOR_GFLOP = {2: 0.4116, 6: 136.3, 10: 426.7}

# bytes of 2-byte numbers for a picture at a minibatch of 16, from an independent ProGAN: the convolutions' own, and all
CONVOLUTION_GB = {5: 0.147, 8: 1.487, 10: 6.14}
ALL_GB = {8: 5.29, 10: 21.84}


@pytest.mark.parametrize(
    ("scaling", "level"), [(scaling, level) for scaling in TRAINING_GFLOP for level in TRAINING_GFLOP[scaling]]
)
def test_training_takes_the_known_arithmetic(scaling: str, level: int):
    costs = _costs(level, 4, scaling)
    total = (costs.discriminator.flops + costs.generator.flops) / 4 / GIGA
    assert total == pytest.approx(TRAINING_GFLOP[scaling][level], rel=0.001)


@pytest.mark.parametrize("level", DISCRIMINATOR_GFLOP)
def test_each_networks_step_takes_its_known_part(level: int):
    costs = _costs(level, 4)
    assert costs.discriminator.flops / 4 / GIGA == pytest.approx(DISCRIMINATOR_GFLOP[level], rel=0.001)
    assert costs.generator.flops / 4 / GIGA == pytest.approx(GENERATOR_GFLOP[level], rel=0.001)


def test_a_real_picture_costs_eighteen_forward_passes():
    costs = _costs(10, 4)
    forward = 85.35 * GIGA * 4
    assert costs.discriminator.flops / forward == pytest.approx(13, rel=0.01)
    assert costs.generator.flops / forward == pytest.approx(5, rel=0.01)


def test_the_penalty_is_a_third_of_the_arithmetic():
    with_penalty = _costs(8, 4)
    without = _costs(8, 4, penalty="none")
    total = with_penalty.discriminator.flops + with_penalty.generator.flops
    saved = with_penalty.discriminator.flops - without.discriminator.flops
    assert saved / total == pytest.approx(1 / 3, rel=0.01)


@pytest.mark.parametrize("level", CONVOLUTION_GB)
def test_the_convolutions_move_the_known_bytes(level: int):
    costs = _costs(level, 16)
    moved = costs.discriminator.convolution_bytes_moved + costs.generator.convolution_bytes_moved
    assert moved / 2 / 16 / GIGA == pytest.approx(CONVOLUTION_GB[level], rel=0.01)


@pytest.mark.parametrize("level", ALL_GB)
def test_all_operations_move_no_more_than_an_independent_progan(level: int):
    costs = _costs(level, 16)
    moved = (costs.discriminator.bytes_moved + costs.generator.bytes_moved) / 2 / 16 / GIGA
    assert 0.975 * ALL_GB[level] < moved < ALL_GB[level]


@pytest.mark.parametrize(("level", "discriminator_mb", "generator_mb"), [(8, 474, 495), (10, 2007, 2028)])
def test_a_step_holds_the_known_activations(level: int, discriminator_mb: float, generator_mb: float):
    """Of each further picture, so that weights and their gradients do not count; scores first and then the penalty."""
    few, more = (_costs(level, minibatch) for minibatch in (4, 16))
    assert (more.discriminator.peak_bytes - few.discriminator.peak_bytes) / 12e6 == pytest.approx(
        discriminator_mb, rel=0.01
    )
    assert 0.96 * generator_mb < (more.generator.peak_bytes - few.generator.peak_bytes) / 12e6 < generator_mb


def test_costs_other_than_arithmetic_have_a_part_that_pictures_share():
    one, two = (_costs(4, minibatch, "fused") for minibatch in (4, 8))
    assert two.discriminator.flops == 2 * one.discriminator.flops
    assert one.discriminator.bytes_moved < two.discriminator.bytes_moved < 2 * one.discriminator.bytes_moved
    assert two.discriminator.operations <= one.discriminator.operations + 5


def test_labels_are_counted_too():
    config = gan_config_from_dict({"networks": {"resolution": 8, "labels": 10, "latent": 16, "map_budget": 64}})
    bare = gan_config_from_dict({"networks": {"resolution": 8, "latent": 16, "map_budget": 64}})
    assert (
        step_costs(config, level=3, minibatch=4).generator.flops
        > step_costs(bare, level=3, minibatch=4).generator.flops
    )


def test_a_view_moves_nothing():
    rows = torch.empty(4, 8, device="meta")
    costs = count_costs(lambda: rows.t().reshape(32)[:2])
    assert (costs.bytes_moved, costs.operations, costs.flops) == (4 * 8 * 4 * 2, 1, 0)  # reshape copies here


def test_the_peak_is_of_what_lives_at_once():
    numbers = torch.empty(1000, device="meta")

    def three_in_turn() -> None:
        for _ in range(3):
            numbers.exp()

    assert count_costs(three_in_turn).peak_bytes == 4000
    assert count_costs(lambda: [numbers.exp() for _ in range(3)]).peak_bytes == 12_000


def test_a_convolutions_way_back_costs_twice_the_way_there():
    layer = torch.nn.Conv2d(8, 8, 3, device="meta")
    maps = torch.empty(2, 8, 6, 6, device="meta", requires_grad=True)
    there = count_costs(lambda: layer(maps)).flops
    assert there == 2 * 9 * 8 * 8 * 2 * 16
    assert count_costs(lambda: layer(maps).sum().backward()).flops == 3 * there


@functools.cache
def _costs(level: int, minibatch: int, scaling: str = "separate", penalty: str = "gradient") -> StepCosts:
    config = gan_config_from_dict({"networks": {"scaling": scaling}, "loss": {"penalty": penalty}})
    return step_costs(config, level=level, minibatch=minibatch)
