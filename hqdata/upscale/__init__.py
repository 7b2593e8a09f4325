"""Enlarges a photo four times, or the part of it that a face crop will see.

`apply` runs the shipped network; `model`, `losses`, `adversary` and `train` are how it came to be.
"""

from hqdata.upscale.apply import DEFAULT, apply, load

__all__ = ["DEFAULT", "apply", "load"]
