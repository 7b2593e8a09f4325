"""The mixture of two levels while one fades in (Karras et al. 2018, figure 2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from gan.zoo.networks import Fade

__all__ = ["is_number", "mixed"]


def is_number(fade: Fade, value: float) -> bool:
    """Return whether the fade is this number; a tensor never is, since reading it would stop the device."""
    return not isinstance(fade, Tensor) and fade == value


def mixed(old: Float[Tensor, "n c h w"], new: Float[Tensor, "n c h w"], fade: Fade) -> Float[Tensor, "n c h w"]:
    """Return old + fade (new - old).

    Raises:
        ValueError: when the fade is a number outside 0..1.
    """
    if not isinstance(fade, Tensor) and not 0.0 <= fade <= 1.0:
        raise ValueError(f"fade must be 0..1, got {fade}")
    weight = torch.as_tensor(fade, dtype=new.dtype, device=new.device)
    return torch.lerp(old.to(new.dtype), new, weight)
