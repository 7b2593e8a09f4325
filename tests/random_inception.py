"""Random weights for FID's Inception that keep every layer's numbers near one, in a file like the published one."""

from pathlib import Path

import torch
from torch import nn

from metrics.features.inception_layers import InceptionTrunk


def write_random_inception(path: Path, seed: int = 0) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = InceptionTrunk("2048")
        for module in trunk.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=(2 / module.weight[0].numel()) ** 0.5)
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        torch.save(trunk.state_dict(), path)
    return path
