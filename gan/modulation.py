"""Normalisations whose scale and shift are told by something else: a label, the latent, or a style."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = [
    "AdaptiveInstanceNorm",
    "ModulatedBatchNorm",
    "SelfModulation",
    "has_batch_statistics",
    "label_modulation",
    "measure_statistics",
]

EPSILON = 1e-8
"""Under the square root of instance normalisation."""


class ModulatedBatchNorm(nn.Module):
    """Batch normalisation, then scale and shift for each picture: gamma(c) (h - mu) / sigma + beta(c).

    While training, mu and sigma are those of the minibatch at hand, in this process and this part of it; afterwards
    they are running averages.

    Args:
        channels: of the maps.
        modulation: from conditions (n, k) to rows (n, 2 channels) of gamma - 1 and beta; None for one learned gamma
            and beta, plain batch normalisation.
    """

    def __init__(self, channels: int, modulation: nn.Module | None = None) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(channels, affine=modulation is None)
        self.modulation = modulation

    def forward(
        self, maps: Float[Tensor, "n c h w"], condition: Float[Tensor, "n k"] | None = None
    ) -> Float[Tensor, "n c h w"]:
        """Return the maps normalised and modulated; a plain one does not look at the condition."""
        values = self.normalise(maps)
        if self.modulation is None:
            return values
        return _scaled(values, self.modulation(condition))


class SelfModulation(nn.Module):
    """Scales and shifts out of the latent itself (Chen et al. 2019, equations 2 and 3).

    gamma and beta are each V max(0, U z + b); V begins as 0, and 1 is added to gamma, so that a fresh network
    normalises like any other.

    Args:
        latent: length of z.
        channels: of the maps.
        width: hidden units.
    """

    def __init__(self, latent: int, channels: int, *, width: int = 32) -> None:
        super().__init__()
        self.gamma = _hidden_layer(latent, width, channels)
        self.beta = _hidden_layer(latent, width, channels)

    def forward(self, latents: Float[Tensor, "n d"]) -> Float[Tensor, "n 2*c"]:
        """Return gamma - 1 and beta side by side."""
        return torch.cat([self.gamma(latents), self.beta(latents)], dim=1)


def label_modulation(labels: int, channels: int) -> nn.Linear:
    """Return conditional batch normalisation's table: gamma - 1 and beta for each label (Dumoulin et al. 2017).

    It has a bias as well, so that a row of labels that are all 0 has a gamma and a beta to learn.
    """
    table = nn.Linear(labels, 2 * channels)
    nn.init.zeros_(table.weight)
    nn.init.zeros_(table.bias)
    return table


class AdaptiveInstanceNorm(nn.Module):
    """Each map of each picture brought to the mean and the deviation that a style asks for (Karras et al. 2019, eq. 1).

    Args:
        modulation: from styles (n, k) to rows (n, 2 channels) of y_s - 1 and y_b.
    """

    def __init__(self, modulation: nn.Module) -> None:
        super().__init__()
        self.modulation = modulation

    def forward(self, maps: Float[Tensor, "n c h w"], styles: Float[Tensor, "n k"]) -> Float[Tensor, "n c h w"]:
        """Return the maps with the styles' means and deviations; the statistics are taken in float32."""
        wide = maps.float()
        centred = wide - wide.mean(dim=(2, 3), keepdim=True)
        values = centred * torch.rsqrt(centred.square().mean(dim=(2, 3), keepdim=True) + EPSILON)
        return _scaled(values.to(maps.dtype), self.modulation(styles))


def has_batch_statistics(network: nn.Module) -> bool:
    """Return whether what a network makes of a picture depends on the others of its minibatch, by normalisation."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.no_grad()
def measure_statistics(network: nn.Module, draw: Callable[[int], object], *, passes: int = 1) -> None:
    """Replace the running averages of batch normalisations by the mean statistics of some passes.

    A fresh network's would begin with 0 and 1, and those of another network's features do not go with averaged weights.

    Args:
        network: in either mode; without batch normalisations nothing is done.
        draw: lets many pictures through the network, which is in training mode then; called with 0, 1, ...
        passes: how often.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta, training = [norm.momentum for norm in norms], network.training
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # an average of all passes alike
    network.train()
    for index in range(passes):
        draw(index)
    network.train(training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _hidden_layer(width_in: int, width: int, width_out: int) -> nn.Sequential:
    last = nn.Linear(width, width_out, bias=False)
    nn.init.zeros_(last.weight)
    return nn.Sequential(nn.Linear(width_in, width), nn.ReLU(), last)


def _scaled(values: Float[Tensor, "n c h w"], rows: Float[Tensor, "n 2*c"]) -> Float[Tensor, "n c h w"]:
    scales, shifts = rows[:, :, None, None].to(values.dtype).chunk(2, dim=1)
    return values * (1 + scales) + shifts
