"""RED-Net has the paper's size and symmetry, starts as the identity and can learn."""

import pytest
import torch

from hqdata.restore.red import RedNet


def random_network(channels=8, pairs=5):
    torch.manual_seed(0)
    network = RedNet(channels, pairs)
    torch.nn.init.normal_(network.decoder[-1].weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize(("pairs", "expected"), [(5, 298_947), (10, 668_227), (15, 1_037_507)])
def test_the_convolutions_have_as_many_parameters_as_the_papers(pairs, expected):
    convolutions = [module for module in RedNet(64, pairs).modules() if isinstance(module, torch.nn.Conv2d)]
    assert sum(value.numel() for module in convolutions for value in module.parameters()) == expected


def test_an_untrained_network_is_the_identity():
    picture = torch.rand(1, 3, 9, 11) * 2 - 1
    torch.testing.assert_close(RedNet(8, 5)(picture), picture, atol=0, rtol=0)


@pytest.mark.parametrize("pairs", [1, 2, 5, 6])
def test_an_input_pixel_changes_outputs_up_to_its_reach_and_none_beyond(pairs):
    network = random_network(pairs=pairs).double()
    picture = torch.rand(1, 3, 41, 41, dtype=torch.float64)
    touched = picture.clone()
    touched[:, :, 20, 20] += 1.0
    with torch.inference_mode():
        rows = (network(touched) - network(picture)).abs().amax(dim=(0, 1, 3)).nonzero().flatten()
    assert (int(rows.min()), int(rows.max())) == (20 - network.reach, 20 + network.reach)


def test_the_skips_join_layers_of_equal_depth():
    """With every layer an identity, 5 pairs carry the feature once, and add it where depths 4 and 2 are mirrored."""
    network = random_network(channels=3, pairs=5)
    for layer in [*network.encoder, *network.decoder]:
        torch.nn.init.dirac_(layer.weight)
    picture = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(network(picture), picture + 3 * picture)


def test_training_lowers_the_error():
    torch.manual_seed(0)
    network = RedNet(8, 5)
    target = torch.rand(4, 3, 16, 16)
    given = torch.nn.functional.avg_pool2d(target, 3, 1, 1)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = (network(given) - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]
