"""Removes JPEG artefacts from a photo, or from the part of it that a face crop will see.

`apply` runs the shipped network; `model`, `red`, `degrade` and `train` are how it came to be.
"""

from hqdata.restore.apply import DEFAULT, apply, load

__all__ = ["DEFAULT", "apply", "load"]
