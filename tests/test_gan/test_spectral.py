import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional

from gan.spectral import SpectralConv2d, SpectralLinear, advance_norms

MAKERS = {
    "linear": lambda: SpectralLinear(12, 7),
    "conv": lambda: SpectralConv2d(3, 8),
    "strided": lambda: SpectralConv2d(3, 8, 4, stride=2, padding=1),
    "one-by-one": lambda: SpectralConv2d(9, 2, 1, bias=False),
}
SHAPES = {"linear": (2, 12), "conv": (2, 3, 6, 6), "strided": (2, 3, 6, 6), "one-by-one": (2, 9, 6, 6)}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_largest_singular_value_becomes_one(kind: str):
    layer = MAKERS[kind]()
    advance_norms(layer, iterations=200)
    assert _greatest(layer) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_fresh_layer_is_normalised_already(seed: int):
    torch.manual_seed(seed)
    assert _greatest(SpectralConv2d(16, 32)) == pytest.approx(1.0, abs=0.1)  # fifteen iterations from anywhere


def test_the_norm_does_not_see_the_size_of_the_weights():
    layer, rows = SpectralLinear(12, 7, bias=False), torch.randn(3, 12)
    before = layer(rows)
    with torch.no_grad():
        layer.weight.mul_(1000.0)
    assert torch.allclose(layer(rows), before, rtol=1e-5, atol=1e-6)


def test_advanced_norms_follow_changed_weights():
    layer = MAKERS["conv"]()
    with torch.no_grad():
        layer.weight.copy_(torch.randn_like(layer.weight) * 5)
    assert _greatest(layer) > 1.5
    advance_norms(layer, iterations=200)
    assert _greatest(layer) == pytest.approx(1.0, abs=1e-3)


def test_one_iteration_a_step_keeps_up_with_training():
    layer, rows = SpectralLinear(12, 7), torch.randn(32, 12)
    advance_norms(layer, iterations=200)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.002)
    for _ in range(50):
        advance_norms(layer)
        optimiser.zero_grad()
        (layer(rows) - rows[:, :7]).square().mean().backward()
        optimiser.step()
    assert _greatest(layer) == pytest.approx(1.0, abs=0.02)


def test_all_spectral_layers_of_a_network_advance_and_no_other_changes():
    network = nn.Sequential(MAKERS["conv"](), nn.Conv2d(8, 4, 3), nn.Sequential(MAKERS["linear"]()))
    with torch.no_grad():
        network[0].weight.copy_(torch.randn_like(network[0].weight))
        network[2][0].weight.copy_(torch.randn_like(network[2][0].weight))
    parameters = copy.deepcopy(list(network.parameters()))
    advance_norms(network, iterations=200)
    assert (_greatest(network[0]), _greatest(network[2][0])) == pytest.approx((1.0, 1.0), abs=1e-3)
    assert all(torch.equal(*pair) for pair in zip(network.parameters(), parameters, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_pass_changes_no_buffer(training: bool):
    layer = MAKERS["conv"]().train(training)
    before = copy.deepcopy(layer.state_dict())
    layer(torch.randn(2, 3, 6, 6))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_normalised_layer_is_the_plain_one_with_weights_over_their_norm():
    layer, maps = MAKERS["strided"](), torch.randn(2, 3, 6, 8)
    advance_norms(layer, iterations=500)
    weight = layer.weight / torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
    plain = functional.conv2d(maps, weight, layer.bias, stride=2, padding=1)
    assert layer(maps).shape == (2, 8, 3, 4)
    assert torch.allclose(layer(maps), plain, atol=1e-5)


def test_gradients_flow_through_the_singular_value():
    layer, rows, answers = SpectralLinear(6, 4).double(), torch.randn(5, 6).double(), torch.randn(5, 4).double()
    advance_norms(layer, iterations=500)

    def loss_by_definition(weight: Tensor) -> Tensor:
        return (functional.linear(rows, weight / torch.linalg.svdvals(weight)[0], layer.bias) * answers).sum()

    (layer(rows) * answers).sum().backward()
    slopes = _finite_differences(loss_by_definition, layer.weight.detach())
    assert torch.allclose(layer.weight.grad, slopes, rtol=1e-6, atol=1e-8)  # central differences of 1e-6, squared


def test_gradients_are_orthogonal_to_the_weights():
    layer = SpectralLinear(6, 4)
    (layer(torch.randn(5, 6)) * torch.randn(5, 4)).sum().backward()  # the layer does not see its weights' size
    assert (layer.weight.grad * layer.weight).sum().item() == pytest.approx(0.0, abs=1e-4)


def test_a_penalty_on_gradients_has_one_gradient_however_it_is_asked_for():
    network = nn.Sequential(MAKERS["strided"](), nn.LeakyReLU(0.2), nn.Flatten(), SpectralLinear(72, 1))
    images, weights = torch.randn(2, 3, 6, 6), dict(network.named_parameters())

    def penalty(parameters: dict[str, Tensor]) -> Tensor:
        slopes = grad(lambda seen: functional_call(network, parameters, seen).sum())(images)
        return slopes.square().sum()

    functionally = grad(penalty)(weights)["0.weight"]
    inputs = images.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(network(inputs).sum(), inputs, create_graph=True)
    slopes.square().sum().backward()
    assert functionally.abs().max().item() > 1e-3
    assert torch.allclose(functionally, network[0].weight.grad, atol=1e-6)


@pytest.mark.parametrize("kind", MAKERS)
def test_copies_and_loaded_layers_compute_the_same_bits(kind: str):
    layer, loaded, inputs = MAKERS[kind](), MAKERS[kind](), torch.randn(SHAPES[kind])
    loaded.load_state_dict(layer.state_dict())
    assert torch.equal(copy.deepcopy(layer)(inputs), layer(inputs))
    assert torch.equal(loaded(inputs), layer(inputs))


def test_copies_advance_alone():
    layer = MAKERS["linear"]()
    before = layer.norm.left.clone()
    advance_norms(copy.deepcopy(layer))
    assert torch.equal(layer.norm.left, before)


def test_the_singular_value_keeps_float32_where_the_rest_is_bfloat16():
    layer = MAKERS["conv"]()
    with torch.autocast("cpu", torch.bfloat16):
        weight, maps = layer.norm(layer.weight), layer(torch.randn(1, 3, 6, 6))
    assert maps.dtype == torch.bfloat16
    assert torch.equal(weight, layer.norm(layer.weight))


def test_padding_keeps_the_size_of_maps_unless_told_otherwise():
    maps = torch.randn(1, 3, 7, 5)
    assert SpectralConv2d(3, 2, 5)(maps).shape == (1, 2, 7, 5)
    assert SpectralConv2d(3, 2, 5, padding=0)(maps).shape == (1, 2, 3, 1)


def _greatest(layer: nn.Module) -> float:
    """Return the largest singular value of the weights that a layer really uses."""
    return torch.linalg.svdvals(layer.norm(layer.weight).detach().flatten(1))[0].item()


def _finite_differences(function, point: Tensor, step: float = 1e-6) -> Tensor:
    slopes = torch.zeros_like(point)
    for place in range(point.numel()):
        moved = torch.zeros_like(point)
        moved.view(-1)[place] = step
        slopes.view(-1)[place] = (function(point + moved) - function(point - moved)) / (2 * step)
    return slopes
