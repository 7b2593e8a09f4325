"""Random numbers that a training draws: a function of the seed, the purpose and the images shown, and of nothing else.

So a resumed run needs no saved state of any generator, and processes agree without talking: each draws the whole
minibatch's numbers and takes its part.
"""

from __future__ import annotations

import hashlib

import torch

__all__ = ["stream"]


def stream(seed: int, purpose: str, images: int, attempt: int = 0) -> torch.Generator:
    """Return a fresh generator on the CPU.

    Args:
        seed: of the training.
        purpose: such as "latents"; other purposes are independent.
        images: shown when the numbers are drawn.
        attempt: raised after a roll-back, so that the same images are not lived through again the same way.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{images}/{attempt}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
