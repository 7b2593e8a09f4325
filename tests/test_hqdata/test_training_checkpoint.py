"""A saved state holds everything that the next step depends on."""

import torch

from hqdata.training.checkpoint import Average, load_state, save_state


def test_a_saved_state_restores_networks_and_optimizers(tmp_path):
    module, optimizer, average = stepped(seed=1)
    save_state(
        tmp_path,
        progress={"images": 5},
        networks={"net": module.state_dict(), "average": average.values},
        optimizers={"adam": optimizer},
    )
    other, other_optimizer, other_average = stepped(seed=2)
    progress = load_state(
        tmp_path, networks={"net": other, "average": other_average}, optimizers={"adam": other_optimizer}
    )
    assert progress is not None
    assert progress["images"] == 5
    one_step(module, optimizer)
    one_step(other, other_optimizer)
    assert torch.equal(other.weight, module.weight)
    assert torch.equal(other_average.values["weight"], average.values["weight"])


def test_a_new_folder_has_no_state(tmp_path):
    assert load_state(tmp_path, networks={}, optimizers={}) is None


def stepped(seed):
    torch.manual_seed(seed)
    module = torch.nn.Linear(3, 3)
    average = Average(module)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    one_step(module, optimizer)
    average.update(module, images=1, batch=1)
    return module, optimizer, average


def one_step(module, optimizer):
    optimizer.zero_grad()
    module(torch.ones(2, 3)).square().sum().backward()
    optimizer.step()
