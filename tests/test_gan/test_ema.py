import copy

import pytest
import torch

from gan.ema import decay_for, update_average


def test_half_a_weight_is_left_after_the_half_life():
    network, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
        average.weight.fill_(1.0)
    for _ in range(100):
        update_average(average, network, decay_for(16, 1600))
    assert average.weight.item() == pytest.approx(0.5, rel=1e-5)


def test_the_papers_decay_belongs_to_its_minibatch():
    assert decay_for(16, 11_084) == pytest.approx(0.999, abs=1e-6)


def test_no_half_life_means_the_network_itself():
    assert decay_for(16, 0) == 0.0


def test_the_average_of_a_constant_is_that_constant():
    network = torch.nn.Conv2d(3, 4, 3)
    average = copy.deepcopy(network)
    update_average(average, network, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), network.parameters(), strict=True))


def test_buffers_are_copied():
    network, average = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    network(torch.randn(4, 2, 3, 3) + 5)
    update_average(average, network, 0.9)
    assert torch.equal(average.running_mean, network.running_mean)
    assert average.num_batches_tracked.item() == 1
