import pytest
import torch
from torch import nn

from gan.modulation import SelfModulation
from gan.zoo import Shape, build_discriminator, build_generator
from gan.zoo.resnet import ResnetDiscriminator, ResnetGenerator, resnet_generator
from gan.zoo.selfmod import SelfModulatedGenerator

SMALL = {"resolution": 16, "latent": 6, "most_maps": 8, "map_budget": 32}
NORMS = ("blocks.3.norms.0", "blocks.3.norms.1", "blocks.4.norms.0", "blocks.4.norms.1", "norm")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("training", [True, False])
def test_a_fresh_self_modulated_network_draws_like_one_with_batch_norm(training: bool):
    generator, residual = _generator(), _residual()
    unmatched = generator.load_state_dict(residual.state_dict(), strict=False)
    assert {name.rsplit(".", 1)[0] for name in unmatched.unexpected_keys} == {f"{norm}.normalise" for norm in NORMS}
    assert {name.split(".modulation")[0] for name in unmatched.missing_keys} == set(NORMS)
    latents = torch.randn(4, 6)
    assert torch.equal(generator.train(training)(latents), residual.train(training)(latents))


def test_a_fresh_network_with_labels_does_not_look_at_them():
    generator, plain = _generator(labels=3), _generator()
    generator.load_state_dict(plain.state_dict(), strict=False)
    latents, labels = torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]
    assert torch.equal(generator.condition(latents, labels), latents)
    assert torch.equal(generator(latents, labels), plain(latents))


def test_labels_add_to_the_latent_and_stretch_it():
    generator, latents = _generator(labels=2), torch.tensor([[1.0, 2, 3, 4, 5, 6]]).expand(2, -1)
    generator.added.weight.data.copy_(torch.tensor([[0.0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, -1]]).T)
    generator.multiplied.weight.data.copy_(torch.tensor([[0.0, 1, 0, 0, 0, 0], [0, 0, -1, 0, 0, 10]]).T)
    # equation 4: z' = z + E(y) + E'(y) z
    assert generator.condition(latents, torch.eye(2)).tolist() == [[1, 4, 3, 4, 5, 6], [2, 2, 0, 4, 5, 65]]


def test_gradients_reach_both_embeddings_once_the_modulation_has_learned():
    generator = _generator(labels=3)
    _learn(generator)
    (generator(torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]) * torch.randn(4, 3, 16, 16)).sum().backward()
    assert generator.added.weight.grad.abs().max().item() > 1e-4
    assert generator.multiplied.weight.grad.abs().max().item() > 1e-4


def test_labels_change_the_pictures_of_a_generator_that_has_learned_them():
    generator = _generator(labels=3)
    _learn(generator)
    latents, labels = torch.randn(4, 6), torch.eye(3)[[0, 1, 2, 0]]
    assert not torch.allclose(generator(latents, labels), generator(latents, labels.roll(1, 0)), atol=1e-2)


def test_the_latent_speaks_to_every_normalisation():
    generator, heard = _generator(), []
    for layer in generator.modules():
        if isinstance(layer, SelfModulation):
            layer.register_forward_pre_hook(lambda layer, given: heard.append(given[0]))
    latents = torch.randn(4, 6)
    generator(latents)
    assert len(heard) == len(NORMS)
    assert torch.equal(torch.stack(heard), latents.expand(len(NORMS), -1, -1))


def test_hidden_units_are_as_many_as_asked_for_and_usually_the_papers_32():
    assert _generator().norm.modulation.gamma[0].out_features == 32
    assert _generator(modulation_width=7).norm.modulation.beta[0].out_features == 7


def test_the_usual_pair_is_the_residual_one_with_modulations():
    generator, residual = build_generator("selfmod", 32), build_generator("resnet", 32)
    modulations = 7 * 2 * (128 * 32 + 32 + 32 * 256)  # seven norms of 256 channels, each with two hidden layers
    assert _count(generator) == _count(residual) - 7 * 2 * 256 + modulations == 4_445_635
    discriminator = build_discriminator("selfmod", 32)
    assert type(discriminator) is ResnetDiscriminator
    assert _count(discriminator) == 1_053_825


def test_after_training_a_picture_does_not_depend_on_its_company():
    generator, latents = _generator(), torch.randn(8, 6)
    _learn(generator)
    generator(latents)
    generator.eval()
    assert torch.allclose(generator(latents)[:2], generator(latents[:2]), atol=1e-5)


@pytest.mark.parametrize("labels", [None, torch.zeros(2, 4), torch.zeros(3, 3)])
def test_missing_or_misshapen_labels_are_refused(labels: torch.Tensor | None):
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 3\)"):
        _generator(labels=3)(torch.zeros(2, 6), labels)


def _generator(**changes: object) -> SelfModulatedGenerator:
    return SelfModulatedGenerator(Shape(architecture="selfmod", **{**SMALL, **changes}))


def _residual() -> ResnetGenerator:
    return resnet_generator(Shape(architecture="resnet", **SMALL))


def _learn(network: nn.Module) -> None:
    """Move every parameter away from where a fresh network has it."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
