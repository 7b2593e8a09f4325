"""Distances between pictures and between sets of images; importable alone, knows nothing of the other rooms.

Picture by picture: `psnr`, `ssim` (on `matlab_luma` for published figures) and `perceptual_distance`. Images are uint8
(n, 3, h, w). Torch is imported with the first name that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from metrics.luma import matlab_luma
from metrics.perceptual import perceptual_distance
from metrics.psnr import psnr
from metrics.ssim import ssim

if TYPE_CHECKING:
    from metrics.arrays import to_uint8

_HOMES = {"to_uint8": "metrics.arrays"}
"""The module of each name that needs torch; no module is called like a name it holds, or it would hide it."""

__all__ = ["matlab_luma", "perceptual_distance", "psnr", "ssim", "to_uint8"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'metrics' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
