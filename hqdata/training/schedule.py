"""How fast a network learns, from the share of the run that is over."""

from __future__ import annotations

import math

__all__ = ["cosine_rate"]


def cosine_rate(images: int, settings_images: int, highest: float) -> float:
    """Return the learning rate after `images` of `settings_images`: a short rise, then half a cosine to 1 %."""
    share = images / settings_images
    rise = min(1.0, (share + 1e-4) / 0.01)
    return highest * rise * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share))))
