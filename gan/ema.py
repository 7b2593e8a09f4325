"""The running average of the generator, which is what is looked at and shipped (Karras et al. 2018, section 5)."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["decay_for", "update_average"]


def decay_for(minibatch: int, half_life_images: float) -> float:
    """Return the share that an average keeps at a step, so that a weight's part halves in `half_life_images` images.

    The paper's 0.999 a step is, at its minibatch of 16, a half-life of 11,084 images.

    >>> round(decay_for(16, 11_084.0), 6)
    0.999
    """
    if half_life_images <= 0:
        return 0.0
    return 0.5 ** (minibatch / half_life_images)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average's parameters towards the network's by 1 - decay, in place, and copy its buffers.

    Args:
        average: of the network's architecture.
        network: being trained.
        decay: share kept, 0..1; see `decay_for`.
    """
    kept, values = list(average.parameters()), list(network.parameters())
    torch._foreach_lerp_(kept, values, 1.0 - decay)  # pyright: ignore
    for held, value in zip(average.buffers(), network.buffers(), strict=True):
        held.copy_(value)
