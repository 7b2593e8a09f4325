import math

import pytest
import torch

from gan.losses import (
    ADVERSARIAL,
    drift,
    full_resolution_factor,
    gradient_norms,
    gradient_penalty,
    label_loss,
    mixtures,
    zero_centred_penalty,
)

SOFTPLUS_1 = math.log1p(math.e)  # softplus(1)
SOFTPLUS_M1 = math.log1p(math.exp(-1))


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        # reference score 2, generated score 1
        ("wgan", -1.0, -1.0),
        ("lsgan", 0.5 + 0.5, 0.0),
        ("non-saturating", SOFTPLUS_1 + math.log1p(math.exp(-2)), SOFTPLUS_M1),
        ("hinge", 2.0, -1.0),
        ("relativistic", SOFTPLUS_M1, SOFTPLUS_1),
    ],
)
def test_each_game_has_its_closed_form(name: str, critic: float, generator: float):
    reference, generated = torch.tensor([2.0]), torch.tensor([1.0])
    assert ADVERSARIAL[name].discriminator(reference, generated).item() == pytest.approx(critic, abs=1e-6)
    assert ADVERSARIAL[name].generator(reference, generated).item() == pytest.approx(generator, abs=1e-6)


def test_the_hinge_has_no_gradient_beyond_its_margin():
    scores = torch.tensor([1.5, -1.5], requires_grad=True)
    ADVERSARIAL["hinge"].discriminator(scores[:1], scores[1:]).sum().backward()
    assert torch.equal(scores.grad, torch.zeros(2))


def test_least_squares_of_equal_sets_is_best_at_one_half():
    scores = torch.linspace(0, 1, 101)
    assert scores[ADVERSARIAL["lsgan"].discriminator(scores, scores).argmin()].item() == pytest.approx(0.5)


def test_only_the_relativistic_generator_looks_at_real_pictures():
    reference, generated = torch.tensor([2.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    for name, game in ADVERSARIAL.items():
        terms = torch.autograd.grad(game.generator(reference, generated).sum(), reference, allow_unused=True)
        assert (terms[0] is not None) == game.generator_needs_reference, name


@pytest.mark.parametrize("target", [1.0, 750.0])
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_the_penalty_of_a_linear_critic_is_exact(target: float, factor: float):
    weights = torch.randn(3 * 8 * 8, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    penalty = gradient_penalty(_linear(weights), torch.randn(4, 3, 8, 8).double(), target=target, factor=factor)
    norm = weights.detach().norm()
    wanted = 10.0 / target**2 * (norm * factor - target) ** 2
    assert penalty.tolist() == pytest.approx([wanted.item()] * 4, rel=1e-6)
    (gradient,) = torch.autograd.grad(penalty.mean(), weights)
    exact = 20.0 / target**2 * (norm * factor - target) * factor * weights.detach() / norm
    assert torch.allclose(gradient, exact, rtol=1e-5)


def test_the_penaltys_gradient_equals_a_finite_difference():
    torch.manual_seed(0)
    critic = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(288, 1))
    critic = critic.double()
    images, weight, step = torch.randn(2, 3, 8, 8).double(), critic[0].weight, 1e-5

    def penalty() -> torch.Tensor:
        return gradient_penalty(lambda pictures: critic(pictures)[:, 0], images).mean()

    (gradient,) = torch.autograd.grad(penalty(), weight)
    with torch.no_grad():
        weight[0, 0, 1, 1] += step
    above = penalty().item()
    with torch.no_grad():
        weight[0, 0, 1, 1] -= 2 * step
    assert gradient[0, 0, 1, 1].item() == pytest.approx((above - penalty().item()) / (2 * step), rel=1e-6)


def test_a_vanishing_gradient_leaves_everything_finite():
    weights = torch.zeros(12, requires_grad=True)
    gradient_penalty(_linear(weights), torch.randn(2, 3, 2, 2)).mean().backward()
    assert torch.isfinite(weights.grad).all()


def test_norms_are_those_of_each_picture():
    images = torch.randn(3, 1, 4, 4)
    norms = gradient_norms(lambda pictures: 0.5 * pictures.square().sum(dim=(1, 2, 3)), images)
    assert torch.allclose(norms, images.flatten(1).norm(dim=1), rtol=1e-6)


def test_the_zero_centred_penalty_of_a_linear_critic_is_exact():
    weights = torch.arange(12.0)
    penalty = zero_centred_penalty(_linear(weights), torch.randn(2, 3, 2, 2), weight=4.0)
    assert penalty.tolist() == pytest.approx([2.0 * weights.square().sum().item()] * 2)


@pytest.mark.parametrize("level", [2, 5, 9])
def test_the_factor_turns_a_levels_norm_into_that_of_enlarged_pictures(level: int):
    last = level + 1
    weights = torch.randn(1 << level, 1 << level)

    def critic(pictures: torch.Tensor) -> torch.Tensor:
        return (pictures * weights).sum(dim=(1, 2, 3))

    images = torch.randn(1, 1, 1 << level, 1 << level)
    large = torch.nn.functional.interpolate(images, scale_factor=2)
    native = gradient_norms(critic, images)
    full = gradient_norms(lambda pictures: critic(torch.nn.functional.avg_pool2d(pictures, 2)), large)
    assert full.item() == pytest.approx(native.item() * full_resolution_factor(level, last), rel=1e-5)


def test_mixtures_lie_between_their_pair():
    reference, generated = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    mixed = mixtures(reference, generated, torch.tensor([0.0, 0.25, 1.0]))
    assert mixed[:, 0, 0, 0].tolist() == [0.0, 0.25, 1.0]


def test_drift_is_the_weighted_square():
    assert drift(torch.tensor([3.0]), 0.001).item() == pytest.approx(0.009)


def test_the_label_loss_is_cross_entropy():
    logits, classes = torch.randn(4, 5), torch.tensor([0, 3, 4, 1])
    wanted = torch.nn.functional.cross_entropy(logits, classes, reduction="none")
    assert torch.allclose(label_loss(logits, torch.eye(5)[classes]), wanted)


def _linear(weights: torch.Tensor):
    return lambda pictures: pictures.flatten(1) @ weights
