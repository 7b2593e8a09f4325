import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gan.modulation import AdaptiveInstanceNorm, ModulatedBatchNorm, SelfModulation, label_modulation

LATENT, LABELS, CHANNELS = 6, 3, 4


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("training", [True, False])
def test_without_modulation_it_is_torchs_batch_norm_bit_for_bit(training: bool):
    ours, theirs = ModulatedBatchNorm(CHANNELS).train(training), nn.BatchNorm2d(CHANNELS).train(training)
    learned = {"weight": torch.randn(CHANNELS), "bias": torch.randn(CHANNELS)}
    ours.normalise.load_state_dict(learned, strict=False)
    theirs.load_state_dict(learned, strict=False)
    maps = _maps()
    assert torch.equal(ours(maps), theirs(maps))
    assert torch.equal(ours.normalise.running_var, theirs.running_var)


def test_a_plain_norm_does_not_look_at_the_condition():
    norm, maps = ModulatedBatchNorm(CHANNELS), _maps()
    assert torch.equal(norm(maps, torch.randn(8, LATENT)), norm(maps))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_fresh_self_modulation_changes_nothing_whatever_the_latents(scale: float, training: bool):
    norm = ModulatedBatchNorm(CHANNELS, SelfModulation(LATENT, CHANNELS)).train(training)
    maps = _maps()
    assert torch.equal(norm(maps, torch.randn(8, LATENT) * scale), _bare(training)(maps))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("label", range(LABELS))
def test_a_fresh_table_of_labels_changes_nothing_whatever_the_label(label: int, training: bool):
    norm = ModulatedBatchNorm(CHANNELS, label_modulation(LABELS, CHANNELS)).train(training)
    maps = _maps()
    assert torch.equal(norm(maps, torch.eye(LABELS)[[label] * 8]), _bare(training)(maps))


@pytest.mark.parametrize("branch", ["gamma", "beta"])
def test_gradients_reach_the_zeros_at_the_end_of_a_fresh_self_modulation(branch: str):
    norm = ModulatedBatchNorm(CHANNELS, SelfModulation(LATENT, CHANNELS))
    (norm(_maps(), torch.randn(8, LATENT)) * torch.randn(8, CHANNELS, 5, 3)).sum().backward()
    last = norm.modulation.get_submodule(branch)[-1].weight
    assert torch.equal(last, torch.zeros(CHANNELS, 32))
    assert last.grad.abs().max(dim=1).values.min().item() > 1e-3


def test_self_modulation_is_a_hidden_layer_of_its_own_for_each_of_scale_and_shift():
    modulation, latents = SelfModulation(LATENT, CHANNELS, width=5), torch.randn(8, LATENT)
    state = {name: torch.randn_like(value) for name, value in modulation.state_dict().items()}
    modulation.load_state_dict(state)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "gamma.0.weight": (5, 6),
        "gamma.0.bias": (5,),
        "gamma.2.weight": (4, 5),
        "beta.0.weight": (5, 6),
        "beta.0.bias": (5,),
        "beta.2.weight": (4, 5),
    }
    gamma = (latents @ state["gamma.0.weight"].T + state["gamma.0.bias"]).clamp(min=0) @ state["gamma.2.weight"].T
    beta = (latents @ state["beta.0.weight"].T + state["beta.0.bias"]).clamp(min=0) @ state["beta.2.weight"].T
    maps = _maps()
    wanted = (1 + gamma)[:, :, None, None] * _bare(True)(maps) + beta[:, :, None, None]
    assert torch.allclose(ModulatedBatchNorm(CHANNELS, modulation)(maps, latents), wanted, atol=1e-4)


def test_equal_labels_give_equal_pictures_and_others_do_not():
    norm = ModulatedBatchNorm(CHANNELS, _trained_table(LABELS))
    out = norm(_maps()[:1].expand(3, -1, -1, -1), torch.eye(LABELS)[[1, 1, 2]])
    assert torch.equal(out[0], out[1])
    assert not torch.allclose(out[0], out[2], atol=0.1)


def test_a_table_of_one_label_is_a_plain_scale_and_shift():
    table, maps = _trained_table(1), _maps()
    gamma, beta = (table.weight[:, 0] + table.bias).detach().chunk(2)
    plain = nn.BatchNorm2d(CHANNELS)
    plain.load_state_dict({"weight": 1 + gamma, "bias": beta}, strict=False)
    out = ModulatedBatchNorm(CHANNELS, table)(maps, torch.ones(8, 1))
    assert torch.allclose(out, plain(maps), atol=1e-5)


@pytest.mark.parametrize("modulated", [lambda: None, lambda: label_modulation(1, CHANNELS)], ids=["plain", "labels"])
def test_while_training_every_channel_comes_to_mean_zero_and_deviation_one(modulated):
    out = ModulatedBatchNorm(CHANNELS, modulated())(_maps(), torch.ones(8, 1))
    assert torch.allclose(out.mean(dim=(0, 2, 3)), torch.zeros(CHANNELS), atol=1e-5)
    assert torch.allclose(out.std(dim=(0, 2, 3), correction=0), torch.ones(CHANNELS), atol=1e-4)


def test_afterwards_a_picture_does_not_depend_on_its_company():
    norm = ModulatedBatchNorm(CHANNELS, _trained_table(LABELS))
    maps, labels = _maps(), torch.eye(LABELS)[[0, 1, 2, 0, 1, 2, 0, 1]]
    norm(maps, labels)
    norm.eval()
    assert torch.equal(norm(maps, labels)[:2], norm(maps[:2], labels[:2]))


def test_afterwards_the_running_statistics_are_used_and_stay():
    norm = ModulatedBatchNorm(CHANNELS).eval()
    norm.normalise.running_mean.fill_(3.0)
    norm.normalise.running_var.fill_(4.0)
    out = norm(_maps() * 0 + 7.0)
    assert torch.allclose(out, torch.full_like(out, 2.0), atol=1e-5)  # (7 - 3) / 2
    assert torch.equal(norm.normalise.running_mean, torch.full((CHANNELS,), 3.0))


def test_each_map_of_each_picture_gets_the_mean_and_the_deviation_of_its_style():
    table, styles = nn.Linear(LATENT, 2 * CHANNELS), torch.randn(8, LATENT)
    scales, shifts = table(styles).detach().chunk(2, dim=1)
    out = AdaptiveInstanceNorm(table)(_maps(), styles).detach()
    assert torch.allclose(out.mean(dim=(2, 3)), shifts, atol=1e-5)
    assert torch.allclose(out.std(dim=(2, 3), correction=0), (1 + scales).abs(), atol=1e-4)


def test_without_a_style_it_is_torchs_instance_norm():
    maps = _maps()
    out = AdaptiveInstanceNorm(label_modulation(LATENT, CHANNELS))(maps, torch.randn(8, LATENT))
    assert torch.allclose(out, functional.instance_norm(maps, eps=1e-8), atol=1e-5)


def test_a_style_forgets_the_scale_and_the_level_of_maps():
    norm, styles = AdaptiveInstanceNorm(nn.Linear(LATENT, 2 * CHANNELS)), torch.randn(8, LATENT)
    maps = _maps()
    assert torch.allclose(norm(maps * 50 + 4, styles), norm(maps, styles), atol=1e-4)


def test_a_constant_map_becomes_its_styles_mean():
    table, styles = nn.Linear(LATENT, 2 * CHANNELS), torch.randn(2, LATENT)
    out = AdaptiveInstanceNorm(table)(torch.full((2, CHANNELS, 4, 4), 7.0), styles)
    shifts = table(styles)[:, CHANNELS:, None, None]
    assert torch.equal(out, shifts.expand(-1, -1, 4, 4))


@pytest.mark.parametrize("kind", [AdaptiveInstanceNorm, lambda table: ModulatedBatchNorm(CHANNELS, table)])
def test_bfloat16_maps_stay_bfloat16(kind):
    out = kind(label_modulation(LATENT, CHANNELS))(_maps().bfloat16(), torch.randn(8, LATENT))
    assert out.dtype == torch.bfloat16


def _maps() -> Tensor:
    """Return maps whose channels have means and deviations of their own."""
    return torch.randn(8, CHANNELS, 5, 3) * torch.tensor([1.0, 2.0, 0.5, 3.0]).reshape(4, 1, 1) + 1.5


def _bare(training: bool) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(CHANNELS, affine=False).train(training)


def _trained_table(labels: int) -> nn.Linear:
    table = label_modulation(labels, CHANNELS)
    nn.init.normal_(table.weight)
    nn.init.normal_(table.bias)
    return table
