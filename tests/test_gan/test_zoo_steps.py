"""A step's gradients are those of its losses for every architecture: in parts, with penalties, compiled, and rough."""

import functools
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_gan import CPU
from small_zoo import GAMES, STILL, zoo_pair, zoo_part
from torch import Tensor, nn

from gan.config import LossConfig
from gan.processes import deal
from gan.steps import Part, Steps
from gan.zoo import Discriminator, Generator
from hqdata.training.machine import Machine

GAME = LossConfig(adversarial="non-saturating", penalty="none", drift=0.0)
CRITICS = {
    "resnet": {"name": "resnet"},
    "resnet-labels": {"name": "resnet", "labels": 3},
    "resnet-none": {"name": "resnet", "discriminator_norm": "none"},
    "selfmod": {"name": "selfmod"},
    "sagan": {"name": "sagan"},
    "style": {"name": "style"},
    "dcgan-none": {"name": "dcgan", "discriminator_norm": "none"},
    "dcgan-spectral": {"name": "dcgan", "discriminator_norm": "spectral"},
    "dcgan-spectral-labels": {"name": "dcgan", "discriminator_norm": "spectral", "labels": 3},
}
"""Networks whose discriminators look at pictures one by one, or in groups."""
Pair = tuple[Generator, Discriminator]


@pytest.fixture(params=CRITICS.values(), ids=CRITICS)
def sizes(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.mark.parametrize("penalty", ["none", "gradient", "r1"])
def test_with_settled_statistics_parts_add_up_to_the_whole(sizes: dict[str, Any], penalty: Any):
    pair, part = _settled_pair(**sizes), zoo_part(count=16, labels=sizes.get("labels", 0))
    steps = Steps(*pair, LossConfig(penalty=penalty), machine=CPU)
    whole = _gradients(steps, pair, part)
    parts = _gradients(steps, pair, *(part.only(places) for places in deal(16, 4, 4)))
    assert _apart(whole, parts, 1e-4) == []


@pytest.mark.parametrize("name", STILL)
def test_parts_with_statistics_of_their_own_are_something_else(name: str):
    pair, part = zoo_pair(name), zoo_part(count=16)
    steps = Steps(*pair, GAME, machine=CPU)
    whole = _gradients(steps, pair, part)
    parts = _gradients(steps, pair, *(part.only(places) for places in deal(16, 1, 2)))
    assert _apart(whole, parts, 1e-2) != []
    assert all(bool(value.isfinite().all()) for value in parts.values())


def test_the_gradients_of_wgan_gp_are_those_of_autograd(sizes: dict[str, Any]):
    (generator, discriminator), part = _settled_pair(**sizes), zoo_part(labels=sizes.get("labels", 0))
    loss = LossConfig(adversarial="wgan", penalty="gradient", drift=0.0, label_weight=0.0)
    Steps(generator, discriminator, loss, machine=CPU).discriminator(part)
    ours = _taken(discriminator)
    generated = generator(part.latents, part.labels).detach()
    mixed = part.real + part.shares.reshape(-1, 1, 1, 1) * (generated - part.real)
    slopes = _slopes(discriminator, mixed, part.labels).flatten(1).norm(dim=1)
    scores = discriminator(generated, part.labels) - discriminator(part.real, part.labels)
    (scores + 10 * (slopes - 1).square()).mean().backward()
    assert _apart(ours, _taken(discriminator), 1e-3) == []


@pytest.mark.parametrize(("penalty", "both"), [("r1", 0.0), ("r1+r2", 1.0)])
def test_the_gradients_of_zero_centred_penalties_are_those_of_autograd(
    sizes: dict[str, Any], penalty: Any, both: float
):
    (generator, discriminator), part = _settled_pair(**sizes), zoo_part(labels=sizes.get("labels", 0))
    loss = LossConfig(adversarial="wgan", penalty=penalty, weight=6.0, drift=0.0, label_weight=0.0)
    Steps(generator, discriminator, loss, machine=CPU).discriminator(part)
    ours = _taken(discriminator)
    generated = generator(part.latents, part.labels).detach()
    at_real = _slopes(discriminator, part.real, part.labels).square().sum(dim=(1, 2, 3))
    at_generated = _slopes(discriminator, generated, part.labels).square().sum(dim=(1, 2, 3))
    scores = discriminator(generated, part.labels) - discriminator(part.real, part.labels)
    (scores + 3 * (at_real + both * at_generated)).mean().backward()
    assert _apart(ours, _taken(discriminator), 1e-3) == []


@pytest.mark.parametrize("name", GAMES)
def test_each_network_learns_everything_from_its_own_step_alone(name: str):
    pair, part = zoo_pair(name, labels=3), zoo_part(labels=3)
    steps = Steps(*pair, LossConfig(adversarial="hinge", penalty="none"), machine=CPU)
    steps.discriminator(part)
    assert _without_gradient(pair[0]) == [key for key, _ in pair[0].named_parameters()]
    assert _without_gradient(pair[1]) == _not_at(4, pair[1])
    pair[1].zero_grad()
    steps.generator(part)
    assert _without_gradient(pair[0]) == _not_at(4, pair[0])
    assert _without_gradient(pair[1]) == [key for key, _ in pair[1].named_parameters()]


@pytest.mark.parametrize("name", ["dcgan", "resnet", "selfmod", "sagan"])
def test_only_guessed_labels_have_a_loss(name: str):
    pair, part = zoo_pair(name, labels=3), zoo_part(labels=3)
    terms = Steps(*pair, GAME, machine=CPU).discriminator(part)
    assert ("score/labels" in terms) == pair[1].guesses_labels == (name == "dcgan")


@pytest.mark.parametrize("name", GAMES)
def test_bfloat16_points_the_same_way(name: str):
    pair, part = _settled_pair(name), zoo_part(count=16)
    exact, rough = (
        _gradients(Steps(*pair, GAME, machine=machine), pair, part)
        for machine in (CPU, Machine(device="cpu", precision="bfloat16"))
    )
    assert {value.dtype for value in rough.values()} == {torch.float32}
    together = [torch.cat([value.flatten() for value in gradients.values()]) for gradients in (exact, rough)]
    assert torch.cosine_similarity(*together, dim=0) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["none", "r1"])
@pytest.mark.parametrize("name", ["resnet", "selfmod", "sagan", "style"])
def test_traced_losses_have_the_eager_gradients(monkeypatch: pytest.MonkeyPatch, name: str, penalty: Any):
    """style draws the same numbers from torch's generator when its graph is run as it is, so it can be compared."""
    _check_compiled(monkeypatch, zoo_pair(name), penalty, backend="aot_eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own are not ours
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile for processors needs g++")
@pytest.mark.parametrize("name", ["resnet", "style"])
def test_compiled_losses_have_the_eager_gradients(monkeypatch: pytest.MonkeyPatch, name: str):
    """The compiler draws numbers of its own, so it is told to draw torch's; trainings do not tell it."""
    from torch._inductor import config  # loads the compiler, which other tests can do without

    with config.patch(fallback_random=True):
        _check_compiled(monkeypatch, zoo_pair(name), "none", backend="inductor")


def _settled_pair(name: str, **sizes: Any) -> Pair:
    """Return networks whose generator draws each picture alone."""
    generator, discriminator = zoo_pair(name, **sizes)
    return generator.eval(), discriminator


def _gradients(steps: Steps, pair: Pair, *parts: Part) -> dict[str, Tensor]:
    """Return both networks' gradients of one step in parts."""
    for network in pair:
        network.zero_grad()
    torch.manual_seed(3)
    for part in parts:
        steps.discriminator(part)
        steps.generator(part)
    named = [(letter, _taken(network)) for letter, network in zip("gd", pair, strict=True)]
    return {f"{letter}.{key}": value for letter, values in named for key, value in values.items()}


def _taken(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's gradients, and let it forget them."""
    taken = {key: value.grad.clone() for key, value in network.named_parameters() if value.grad is not None}
    network.zero_grad()
    return taken


def _slopes(discriminator: Discriminator, images: Tensor, labels: Tensor | None) -> Tensor:
    images = images.clone().requires_grad_()
    return torch.autograd.grad(discriminator(images, labels).sum(), images, create_graph=True)[0]


def _apart(one: dict[str, Tensor], other: dict[str, Tensor], share: float) -> list[str]:
    """Return which gradients differ by more than a share of their largest value; 1e-6 is nothing anyhow."""
    assert one.keys() == other.keys()
    return [key for key in one if float((one[key] - other[key]).abs().max() - share * one[key].abs().max()) > 1e-6]


def _without_gradient(network: nn.Module) -> list[str]:
    return [key for key, value in network.named_parameters() if value.grad is None]


def _not_at(level: int, network: nn.Module) -> list[str]:
    """Return what only other levels' pictures go through."""
    ways = [key for key, _ in network.named_parameters() if key.startswith(("to_pictures.", "from_pictures."))]
    return [key for key in ways if key.split(".")[1].isdecimal() and f".{level}." not in key]


def _check_compiled(monkeypatch: pytest.MonkeyPatch, pair: Pair, penalty: Any, *, backend: str) -> None:
    torch.compiler.reset()
    compile_with: Callable = functools.partial(torch.compile, backend=backend)
    monkeypatch.setattr(torch, "compile", compile_with)
    loss = LossConfig(adversarial="non-saturating", penalty=penalty)
    eager, compiled = (Steps(*pair, loss, machine=CPU, compiled=compiled) for compiled in (False, True))
    one, other = _gradients(eager, pair, zoo_part()), _gradients(compiled, pair, zoo_part())
    assert _apart(one, other, 0.01) == []
    larger = [
        key for key in one if float(one[key].abs().max()) > 1e-6
    ]  # biases in front of normalisations learn nothing
    least = min(float(torch.cosine_similarity(one[key].flatten(), other[key].flatten(), dim=0)) for key in larger)
    assert least > 0.9999
