import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.layers import EqualLinear, blur, enlarge, leaky, shrink
from gan.zoo import Discriminator, Shape, build_discriminator, build_generator
from gan.zoo.progan import ProGanDiscriminator
from gan.zoo.style import StyleGenerator

SMALL = {"architecture": "style", "resolution": 32, "latent": 8, "most_maps": 8, "map_budget": 64, "mapping_layers": 2}
LAYERS = 8  # two for each of 4, 8, 16 and 32 pixels


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_generator_is_as_large_as_published():
    with torch.device("meta"):
        generator = build_generator("style", 1024)
    # Karras et al. 2019 print 26.2 M; their code has 26,219,627, with a bias of 512 beside the constant
    assert _count(generator) == 26_219_115


@pytest.mark.parametrize(("resolution", "parameters"), [(4, 6_561_793), (32, 20_726_785), (1024, 23_087_249)])
def test_the_discriminator_is_as_large_as_progans(resolution: int, parameters: int):
    with torch.device("meta"):
        discriminator = build_discriminator("style", resolution)
    assert _count(discriminator) == parameters


@pytest.mark.parametrize("training", [True, False])
def test_before_the_first_style_all_pictures_are_equal(training: bool):
    generator = _generator().train(training)  # fresh noise has no strength
    seen = _given_to_norms(generator, 0)
    generator(torch.randn(4, 8))
    assert seen[0].shape == (4, 8, 4, 4)
    assert torch.equal(seen[0], torch.ones(4, 8, 4, 4))  # the fresh constant


def test_the_first_style_tells_pictures_apart():
    generator = _generator()
    pictures = generator(torch.randn(2, 8))
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-2)


def test_pictures_are_equal_where_latents_are_after_training():
    generator = _learned()
    latents = torch.randn(4, 8)
    assert torch.equal(generator(latents), generator(latents))
    assert torch.allclose(generator(latents)[1:3], generator(latents[1:3]), atol=1e-5)


def test_drawing_after_training_uses_no_random_numbers_and_changes_nothing():
    generator = _learned()
    before = torch.get_rng_state()
    generator(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), truncation=0.5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(generator.mean_style, torch.zeros(8))


def test_latents_count_by_direction_alone():
    generator = _learned()
    latents = torch.randn(4, 8)
    assert torch.allclose(generator(latents * 100), generator(latents), atol=1e-4)


@pytest.mark.parametrize("level", [2, 3, 4, 5])
def test_truncated_to_nothing_all_pictures_are_those_of_the_mean_style(level: int):
    generator = _learned()
    generator.mean_style.copy_(torch.randn(8))
    pictures = generator(torch.randn(4, 8), level=level, truncation=0.0)
    assert torch.equal(pictures, pictures[:1].expand(4, -1, -1, -1))


def test_truncation_leaves_styles_beyond_32_pixels_alone():
    generator = _learned(resolution=64)
    latents = torch.randn(4, 8)
    pictures = generator(latents, truncation=0.0)
    coarse = generator(latents, level=5, truncation=0.0)
    assert torch.equal(coarse, coarse[:1].expand(4, -1, -1, -1))
    assert not torch.allclose(pictures[0], pictures[1], atol=1e-3)


def test_truncated_by_one_pictures_stay():
    generator = _learned()
    generator.mean_style.copy_(torch.randn(8))
    latents = torch.randn(4, 8)
    assert torch.equal(generator(latents, truncation=1.0), generator(latents))


def test_truncation_moves_styles_towards_the_mean():
    generator = _learned()
    generator.mean_style.fill_(5.0)
    latents, given = torch.randn(4, 8), _styles_given(generator)
    generator(latents, truncation=0.25)
    wanted = 5.0 + 0.25 * (generator.styles(latents) - 5.0)
    assert torch.allclose(torch.stack(given), wanted.expand(LAYERS, -1, -1), atol=1e-5)


def test_training_does_not_truncate():
    generator = _learned().train()
    latents = torch.randn(4, 8)
    torch.manual_seed(1)
    whole = generator(latents)
    torch.manual_seed(1)
    assert torch.equal(generator(latents, truncation=0.0), whole)


def test_training_draws_by_torchs_seed_alone():
    generator = _learned().train()
    latents = torch.randn(4, 8)
    torch.manual_seed(1)
    first = generator(latents)
    other = generator(latents)
    torch.manual_seed(1)
    assert torch.equal(generator(latents), first)
    assert not torch.allclose(other, first, atol=1e-3)


def test_while_training_most_pictures_go_over_to_another_style_once():
    generator, latents = _generator(most_maps=2), torch.randn(500, 8)
    given = _styles_given(generator)
    generator(latents)
    own = torch.stack([(styles == generator.styles(latents)).all(dim=1) for styles in given])
    assert own[0].all()  # the first layer's is always the latent's own
    assert not (own[1:] & ~own[:-1]).any()  # nobody comes back
    assert (~own[-1]).float().mean().item() == pytest.approx(0.9, abs=0.04)  # three deviations of 500 draws


def test_the_other_style_is_no_picture_of_the_minibatchs():
    generator, latents = _generator(), torch.randn(64, 8)
    given, own = _styles_given(generator), generator.styles(latents)
    generator(latents)
    kept = (given[-1] == own).all(dim=1)
    known = (given[-1][:, None] == own).all(dim=2).any(dim=1)
    assert torch.equal(known, kept)
    assert 0 < kept.sum().item() < 32


def test_while_training_every_place_to_go_over_is_as_likely():
    generator, latents = _generator(most_maps=2, resolution=8), torch.randn(2000, 8)
    given = _styles_given(generator)
    generator(latents)
    own = torch.stack([(styles == generator.styles(latents)).all(dim=1) for styles in given])
    left = (own[:-1] & ~own[1:]).float().mean(dim=1)
    assert torch.allclose(left, torch.full((3,), 0.3), atol=0.03)  # three deviations of 2000 draws


def test_after_training_every_layer_has_the_latents_own_style():
    generator, latents = _learned(), torch.randn(4, 8)
    given = _styles_given(generator)
    generator(latents)
    assert torch.equal(torch.stack(given), generator.styles(latents).expand(LAYERS, -1, -1))


def test_the_mean_style_follows_slowly_and_only_while_training():
    generator, latents = _generator(), torch.randn(4, 8)
    generator.mean_style.fill_(2.0)
    generator.eval()(latents)
    assert torch.equal(generator.mean_style, torch.full((8,), 2.0))
    generator.train()(latents)
    wanted = 0.995 * 2.0 + 0.005 * generator.styles(latents).mean(dim=0)
    assert torch.allclose(generator.mean_style, wanted, atol=1e-6)


def test_the_mean_style_takes_no_part_in_descending():
    generator = _generator()
    generator(torch.randn(4, 8)).sum().backward()
    assert not generator.mean_style.requires_grad
    assert "mean_style" in generator.state_dict()


@pytest.mark.parametrize("fade", [0.0, torch.tensor(0.0)], ids=["number", "tensor"])
@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_level_begins_as_the_one_before_bit_for_bit(level: int, fade: float):
    generator, discriminator = _learned(), _discriminator()
    latents, images = torch.randn(4, 8), torch.randn(4, 3, 1 << level, 1 << level)
    assert torch.equal(generator(latents, level=level, fade=fade), enlarge(generator(latents, level=level - 1)))
    old = discriminator(shrink(images), level=level - 1)
    assert torch.equal(discriminator(images, level=level, fade=fade), old)


@pytest.mark.parametrize("level", [3, 4, 5])
def test_a_level_ends_as_its_own_block_alone(level: int):
    generator, discriminator = _learned(), _discriminator()
    latents, images, end = torch.randn(4, 8), torch.randn(4, 3, 1 << level, 1 << level), torch.tensor(1.0)
    assert torch.allclose(generator(latents, level=level, fade=end), generator(latents, level=level), atol=1e-5)
    assert torch.allclose(discriminator(images, level=level, fade=end), discriminator(images, level=level), atol=1e-5)


def test_pictures_change_linearly_with_the_fade():
    generator, latents = _learned(), torch.randn(2, 8)
    low, middle, high = (generator(latents, fade=fade) for fade in (0.25, 0.5, 0.75))
    assert torch.allclose(middle, (low + high) / 2, atol=1e-5)


def test_noise_is_each_pictures_own_while_training_and_a_constant_afterwards():
    generator = _generator()
    generator.blocks["2"].dressings[0].strength.data.fill_(1.0)
    seen = _given_to_norms(generator, 0)
    generator(torch.randn(2, 8))
    generator.eval()(torch.randn(2, 8))
    assert not torch.allclose(seen[0][0], seen[0][1], atol=0.1)
    assert torch.equal(seen[1][0], seen[1][1])


def test_noise_is_one_for_all_channels_and_scaled_for_each():
    generator = _generator().eval()
    dressing, strength = generator.blocks["2"].dressings[0], torch.arange(8.0).reshape(8, 1, 1)
    dressing.strength.data.copy_(strength)
    generator.constant.data.fill_(100.0)  # where the rectifier is straight
    seen = _given_to_norms(generator, 0)
    generator(torch.randn(1, 8))
    assert torch.allclose(seen[0][0] - 100.0, strength * dressing.noise[0], atol=1e-4)


def test_fresh_noise_has_no_strength_but_learns():
    generator = _generator()
    (generator(torch.randn(4, 8)) * torch.randn(4, 3, 32, 32)).sum().backward()
    strengths = [dressing.strength for block in generator.blocks.values() for dressing in block.dressings]
    assert [strength.count_nonzero().item() for strength in strengths] == [0] * LAYERS
    assert min(strength.grad.abs().max().item() for strength in strengths) > 0


def test_every_parameter_learns_but_those_of_other_levels_pictures():
    generator, discriminator = _generator(), _discriminator()
    pictures = generator(torch.randn(4, 8), fade=0.5)
    discriminator(pictures, fade=0.5).sum().backward()
    idle = {name for name, parameter in generator.named_parameters() if parameter.grad is None}
    assert idle == {f"to_pictures.{level}.{kind}" for level in (2, 3) for kind in ("weight", "bias")}


def test_after_every_style_maps_have_its_mean_and_deviation():
    generator, latents, seen = _learned(), torch.randn(2, 8), []
    dressing = generator.blocks["3"].dressings[1]
    dressing.register_forward_hook(lambda module, given, maps: seen.append(maps.detach()))
    generator(latents)
    scales, shifts = dressing.norm.modulation(generator.styles(latents)).detach().chunk(2, dim=1)
    assert torch.allclose(seen[0].mean(dim=(2, 3)), shifts, atol=1e-4)
    assert torch.allclose(seen[0].std(dim=(2, 3), correction=0), (1 + scales).abs(), atol=1e-3)


def test_a_penalty_on_the_critics_gradients_can_be_descended():
    discriminator = _discriminator()
    images = torch.randn(4, 3, 32, 32, requires_grad=True)
    (slopes,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    slopes.square().sum().backward()
    assert discriminator.blocks["5"].conv.weight.grad.abs().max().item() > 0


def test_enlarged_maps_are_blurred_then_get_noise_and_are_rectified():
    generator, maps, styles = _learned(), torch.randn(2, 8, 4, 4), [torch.randn(2, 8)] * LAYERS
    seen, block = _given_to_norms(generator, 2), generator.blocks["3"]
    block(maps, styles)
    noise = block.dressings[0].strength * block.dressings[0].noise
    assert torch.allclose(seen[0], functional.leaky_relu(blur(block.up(maps)) + noise, 0.2), atol=1e-5)


def test_the_critic_is_progans_with_a_blur_before_the_maps_shrink():
    ours, progans = _discriminator().blocks["5"], ProGanDiscriminator(Shape(**SMALL)).blocks["5"]
    progans.load_state_dict(ours.state_dict())
    maps = torch.randn(4, 4, 32, 32)
    wanted = leaky(progans.down(blur(leaky(progans.conv(maps)))))
    assert torch.allclose(ours(maps), wanted, atol=1e-5)
    assert not torch.allclose(ours(maps), progans(maps), atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
def test_pictures_have_the_number_type_of_the_network(training: bool, dtype: torch.dtype):
    generator = _generator(labels=3).to(dtype).train(training)
    pictures = generator(torch.randn(4, 8, dtype=dtype), torch.eye(3)[[0, 1, 2, 0]])
    assert pictures.dtype == dtype


def test_labels_change_pictures_and_are_guessed_by_the_discriminator():
    generator, discriminator = _learned(labels=3), _discriminator(labels=3)
    latents, labels = torch.randn(4, 8), torch.eye(3)[[0, 1, 2, 0]]
    pictures = generator(latents, labels)
    assert not torch.allclose(pictures, generator(latents, labels.roll(1, 0)), atol=1e-3)
    assert discriminator.judge(pictures)[1].shape == (4, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_may_be_grey_or_have_alpha(channels: int):
    pictures = _generator(channels=channels)(torch.randn(4, 8))
    assert pictures.shape == (4, channels, 32, 32)
    assert _discriminator(channels=channels)(pictures).shape == (4,)


@pytest.mark.parametrize("training", [True, False])
def test_pictures_need_not_be_square(training: bool):
    pictures = _generator(base=(4, 6)).train(training)(torch.randn(4, 8), level=4, fade=0.5)
    assert pictures.shape == (4, 3, 16, 24)
    assert _discriminator(base=(4, 6))(pictures, level=4, fade=0.5).shape == (4,)


def test_the_least_pictures_have_four_pixels():
    assert _generator(resolution=4)(torch.randn(4, 8)).shape == (4, 3, 4, 4)


def test_latents_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"latents must have shape \(n, 8\), got \(2, 7\)"):
        _generator()(torch.zeros(2, 7))


def test_a_level_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"level must be 2..5 for style of 32 px, got 6"):
        _generator()(torch.zeros(2, 8), level=6)


def test_a_blur_keeps_what_is_even_up_to_the_rim():
    maps = torch.randn(2, 3, 1, 1).expand(-1, -1, 5, 4)
    assert torch.allclose(blur(maps), maps, atol=1e-6)


def test_a_blur_spreads_a_pixel_and_loses_nothing():
    maps = torch.zeros(1, 2, 5, 5)
    maps[0, 1, 2, 2] = 16.0
    assert blur(maps)[0].tolist() == [
        [[0.0] * 5] * 5,
        [[0, 0, 0, 0, 0], [0, 1, 2, 1, 0], [0, 2, 4, 2, 0], [0, 1, 2, 1, 0], [0, 0, 0, 0, 0]],
    ]


def test_a_blur_removes_the_checkerboard():
    maps = torch.tensor([1.0, -1.0]).repeat(3).expand(1, 1, 6, 6) * torch.tensor([1.0, -1.0]).repeat(3)[:, None]
    assert torch.equal(blur(maps)[:, :, 1:-1, 1:-1], torch.zeros(1, 1, 4, 4))


def test_a_fresh_layer_has_the_same_outputs_at_any_pace():
    torch.manual_seed(3)
    usual = EqualLinear(8, 5)
    torch.manual_seed(3)
    slow = EqualLinear(8, 5, pace=0.01)
    rows = torch.randn(4, 8)
    assert torch.allclose(slow(rows), usual(rows), atol=1e-5)


@pytest.mark.parametrize("pace", [1.0, 0.01])
def test_a_step_of_adam_moves_effective_weights_and_biases_in_proportion_to_the_pace(pace: float):
    layer, zeros = EqualLinear(8, 5, gain=1.0, pace=pace), torch.zeros(1, 8)
    before = (layer.weight * layer.scale).detach().clone()
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.001, betas=(0.0, 0.99))
    (layer(torch.randn(2, 8)) * torch.randn(2, 5)).sum().backward()
    optimiser.step()
    moved = (layer.weight * layer.scale - before).abs()
    # weights around 100 hold steps of 1e-3 only within 1e-5
    assert torch.allclose(moved, torch.full((5, 8), 0.001 * pace / math.sqrt(8)), rtol=0.01)
    assert torch.allclose(layer(zeros).abs(), torch.full((1, 5), 0.001 * pace), rtol=1e-3)


def test_the_mapping_learns_at_a_hundredth_of_the_pace():
    generator = _generator()
    assert [layer.pace for layer in generator.mapping] == [0.01, 0.01]
    assert generator.blocks["2"].dressings[0].norm.modulation.pace == 1.0


def _generator(**changes: object) -> StyleGenerator:
    return StyleGenerator(Shape(**{**SMALL, **changes}))


def _learned(**changes: object) -> StyleGenerator:
    """Return a generator whose parameters are not where a fresh one has them, for drawing."""
    generator = _generator(**changes)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return generator.eval()


def _discriminator(**changes: object) -> Discriminator:
    return build_discriminator("style", shape=Shape(**{**SMALL, **changes}))


def _norms(generator: StyleGenerator) -> list[nn.Module]:
    return [dressing.norm for block in generator.blocks.values() for dressing in block.dressings]


def _given_to_norms(generator: StyleGenerator, layer: int) -> list[Tensor]:
    """Return a list that gets the maps that a layer's style is put on, from now on."""
    seen: list[Tensor] = []
    _norms(generator)[layer].register_forward_pre_hook(lambda norm, given: seen.append(given[0].detach()))
    return seen


def _styles_given(generator: StyleGenerator) -> list[Tensor]:
    """Return a list that gets every layer's styles, from now on."""
    given: list[Tensor] = []
    for norm in _norms(generator):
        norm.register_forward_pre_hook(lambda norm, seen: given.append(seen[1].detach()))
    return given


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
