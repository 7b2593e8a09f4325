"""A step's gradients are those of its losses, in parts or in one piece, compiled or not."""

import dataclasses
import functools
import shutil
from typing import Any

import pytest
import torch
from torch import Tensor

from gan.config import LossConfig
from gan.losses import gradient_norms, label_loss
from gan.processes import deal
from gan.steps import Part, Steps
from gan.zoo import Shape
from gan.zoo.progan import ProGanDiscriminator, ProGanGenerator
from hqdata.training.machine import Machine

CPU = Machine(device="cpu", precision="float32")
SMALL = {"resolution": 16, "latent": 8, "most_maps": 8, "map_budget": 32}
LOSSES = {
    "wgan-gp": LossConfig(),
    "wgan-gp-native": LossConfig(norm="native", target=2.0, drift=0.0),
    "lsgan": LossConfig(adversarial="lsgan", penalty="none"),
    "non-saturating-r1": LossConfig(adversarial="non-saturating", penalty="r1", weight=5.0),
    "hinge": LossConfig(adversarial="hinge", penalty="none"),
    "relativistic-r1-r2": LossConfig(adversarial="relativistic", penalty="r1+r2"),
}


@pytest.fixture(params=LOSSES)
def loss(request: pytest.FixtureRequest) -> LossConfig:
    return LOSSES[request.param]


def test_parts_add_up_to_the_whole(loss: LossConfig):
    pair, part = _pair(labels=3), _part(labels=3, count=16)
    whole = _gradients(pair, loss, [part])
    parts = _gradients(pair, loss, [part.only(places) for places in deal(16, 4, 4)])
    assert all(torch.allclose(whole[name], parts[name], rtol=1e-4, atol=1e-6) for name in whole)


def test_parts_with_noise_add_up_to_the_whole():
    pair, part = _pair(), dataclasses.replace(_part(count=16), noise=0.3 * torch.randn(16, 3, 8 + 8 + 9))
    whole = _gradients(pair, LossConfig(), [part])
    parts = _gradients(pair, LossConfig(), [part.only(places) for places in deal(16, 4, 2)])
    assert all(torch.allclose(whole[name], parts[name], rtol=1e-4, atol=1e-6) for name in whole)


@pytest.mark.parametrize("role", [0, 1, 2])
def test_each_look_of_the_discriminator_has_noise_of_its_own(role: int):
    pair, part = _pair(), _part()
    noise = torch.zeros(8, 3, 8 + 8 + 9)
    quiet = Steps(*pair, LossConfig(), machine=CPU).discriminator(dataclasses.replace(part, noise=noise))
    noise[:, role] = 0.3
    noisy = Steps(*pair, LossConfig(), machine=CPU).discriminator(dataclasses.replace(part, noise=noise))
    touched = {"real_score": 0, "generated_score": 1, "penalty": 2}
    assert {name for name in touched if float(noisy[name]) != float(quiet[name])} == {
        name for name, its in touched.items() if its == role
    }


def test_the_generators_step_leaves_the_discriminator_alone(loss: LossConfig):
    generator, discriminator = _pair()
    Steps(generator, discriminator, loss, machine=CPU).generator(_part())
    assert [name for name, value in discriminator.named_parameters() if value.grad is not None] == []
    assert all(value.requires_grad for value in discriminator.parameters())
    assert generator.conv.weight.grad is not None


def test_the_discriminators_step_leaves_the_generator_alone(loss: LossConfig):
    generator, discriminator = _pair()
    Steps(generator, discriminator, loss, machine=CPU).discriminator(_part())
    assert [name for name, value in generator.named_parameters() if value.grad is not None] == []
    assert discriminator.conv.weight.grad is not None


def test_the_discriminator_is_free_again_after_a_failed_step():
    generator, discriminator = _pair()
    with pytest.raises(ValueError, match="latents must have shape"):
        Steps(generator, discriminator, LossConfig(), machine=CPU).generator(_part(latent=7))
    assert all(value.requires_grad for value in discriminator.parameters())


def test_the_gradients_are_those_of_the_papers_loss_in_one_piece():
    """Karras et al. 2018, appendix A.1, written down once more with autograd."""
    (generator, discriminator), part = _pair(), _part(level=4)
    ours = _gradients((generator, discriminator), LossConfig(), [part])
    discriminator.zero_grad()
    with torch.no_grad():
        generated = generator(part.latents, level=4, fade=part.fade)
    mixed = (part.real + part.shares.reshape(-1, 1, 1, 1) * (generated - part.real)).requires_grad_()
    real, fake, between = (discriminator(x, level=4, fade=part.fade) for x in (part.real, generated, mixed))
    (slope,) = torch.autograd.grad(between.sum(), mixed, create_graph=True)
    each = fake - real + 10 * (slope.flatten(1).norm(dim=1) - 1).square() + 0.001 * real.square()
    each.mean().backward()
    theirs = {name: value.grad for name, value in discriminator.named_parameters() if value.grad is not None}
    assert theirs.keys() == {name.removeprefix("d.") for name in ours if name.startswith("d.")}
    assert all(torch.allclose(ours[f"d.{name}"], value, rtol=1e-3, atol=1e-6) for name, value in theirs.items())


def test_below_the_last_level_the_full_norm_counts_a_share():
    (generator, discriminator), part = _pair(), _part(level=3, fade=1.0)
    terms = {}
    for norm in ("full", "native"):
        steps = Steps(generator, discriminator, LossConfig(norm=norm), machine=CPU)
        terms[norm] = float(steps.discriminator(part)["penalty"])
    with torch.no_grad():
        generated = generator(part.latents, level=3)
    mixed = part.real + part.shares.reshape(-1, 1, 1, 1) * (generated - part.real)
    norms = gradient_norms(lambda images: discriminator(images, level=3), mixed).detach()
    assert terms["native"] == pytest.approx(float(10 * (norms - 1).square().mean()), rel=1e-5)
    assert terms["full"] == pytest.approx(float(10 * (norms / 2 - 1).square().mean()), rel=1e-5)


def test_labels_are_guessed_of_real_and_of_generated_pictures():
    (generator, discriminator), part = _pair(labels=3), _part(labels=3)
    terms = Steps(generator, discriminator, LossConfig(label_weight=2.0), machine=CPU).discriminator(part)
    assert part.labels is not None
    with torch.no_grad():
        generated = generator(part.latents, part.labels, level=3, fade=part.fade)
        guesses = [discriminator.judge(images, level=3, fade=part.fade)[1] for images in (part.real, generated)]
        real, fake = (label_loss(logits, part.labels) for logits in guesses)
    assert float(terms["score/labels"]) == pytest.approx(2 * float((real + fake).mean()), rel=1e-5)


@pytest.mark.parametrize(("loss", "named"), [("none", False), ("gradient", True)])
def test_no_penalty_is_no_term(loss: Any, named: bool):
    terms = Steps(*_pair(), LossConfig(penalty=loss), machine=CPU).discriminator(_part())
    assert ("penalty" in terms) == named
    assert "penalty" not in Steps(*_pair(), LossConfig(weight=0.0), machine=CPU).discriminator(_part())


def test_bfloat16_points_the_same_way():
    pair, part = _pair(), _part(count=16)
    exact = _gradients(pair, LossConfig(), [part])
    rough = _gradients(pair, LossConfig(), [part], machine=Machine(device="cpu", precision="bfloat16"))
    assert all(value.dtype == torch.float32 for value in rough.values())
    together = [torch.cat([value.flatten() for value in gradients.values()]) for gradients in (exact, rough)]
    assert torch.cosine_similarity(*together, dim=0) > 0.97


@pytest.mark.slow
def test_traced_losses_have_the_eager_gradients_and_one_graph_a_level(monkeypatch: pytest.MonkeyPatch):
    graphs = _count_graphs(monkeypatch, backend="aot_eager")
    pair = _pair()
    eager, compiled = (Steps(*pair, LossConfig(), machine=CPU, compiled=compiled) for compiled in (False, True))
    counts = []
    for level, fade in [(2, 1.0), (3, torch.tensor(0.2)), (3, torch.tensor(0.7)), (3, 1.0), (4, torch.tensor(0.5))]:
        part = _part(level=level, fade=fade)
        assert _least_cosine(_of(eager, pair, part), _of(compiled, pair, part)) > 0.9999
        counts.append(len(graphs))
    assert counts == [3, 6, 6, 9, 12]  # of each level scores, penalty and generator; another fade is no other graph


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the compiler's own are not ours
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile for processors needs g++")
def test_compiled_losses_have_the_eager_gradients(monkeypatch: pytest.MonkeyPatch):
    graphs = _count_graphs(monkeypatch, backend="inductor")
    pair = _pair()
    eager, compiled = (Steps(*pair, LossConfig(), machine=CPU, compiled=compiled) for compiled in (False, True))
    for fade in (0.3, 0.6):
        part = _part(level=3, fade=torch.tensor(fade))
        assert _least_cosine(_of(eager, pair, part), _of(compiled, pair, part)) > 0.9999
    assert len(graphs) == 3


def _pair(**changes: Any) -> tuple[ProGanGenerator, ProGanDiscriminator]:
    torch.manual_seed(0)
    shape = Shape(**{**SMALL, **changes})
    generator, discriminator = ProGanGenerator(shape), ProGanDiscriminator(shape)
    with torch.no_grad():
        discriminator.score.bias.fill_(0.1)
    return generator, discriminator


def _part(*, level: int = 3, fade: Any = 0.4, count: int = 8, labels: int = 0, latent: int = 8) -> Part:
    rng = torch.Generator().manual_seed(1)
    named = torch.eye(labels)[torch.arange(count) % labels] if labels else None
    return Part(
        latents=torch.randn(count, latent, generator=rng),
        labels=named,
        real=torch.rand(count, 3, 1 << level, 1 << level, generator=rng) * 2 - 1,
        real_labels=named,
        shares=torch.rand(count, generator=rng),
        minibatch=count,
        level=level,
        fade=fade,
    )


def _gradients(
    pair: tuple[ProGanGenerator, ProGanDiscriminator], loss: LossConfig, parts: list[Part], machine: Machine = CPU
) -> dict[str, Tensor]:
    return _of(Steps(*pair, loss, machine=machine), pair, *parts)


def _of(steps: Steps, pair: tuple[ProGanGenerator, ProGanDiscriminator], *parts: Part) -> dict[str, Tensor]:
    """Return both networks' gradients of one step in parts."""
    for network in pair:
        network.zero_grad()
    for part in parts:
        steps.discriminator(part)
        steps.generator(part)
    named = [
        (f"{letter}.{name}", value.grad)
        for letter, net in zip("gd", pair, strict=True)
        for name, value in net.named_parameters()
    ]
    return {name: value.clone() for name, value in named if value is not None}


def _least_cosine(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return min(float(torch.cosine_similarity(one[name].flatten(), other[name].flatten(), dim=0)) for name in one)


def _count_graphs(monkeypatch: pytest.MonkeyPatch, *, backend: str) -> list[int]:
    """Let torch.compile note each graph that it hands to a backend."""
    from torch._dynamo import lookup_backend  # loads the compiler, which other tests can do without

    torch.compiler.reset()
    graphs: list[int] = []
    compile_with = lookup_backend(backend)

    def noting(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Any:
        graphs.append(len(graph.graph.nodes))
        return compile_with(graph, examples)

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=noting))
    return graphs
