"""Networks of other people, loaded from their own files: recognised by the names and shapes of the tensors alone.

One file an architecture, written from its paper and its files' names; `FAMILIES` lists them. All work on colour
pictures; those of one channel correct the luma.
"""

from hqdata.weights.community.recognise import FAMILIES, build_module

__all__ = ["FAMILIES", "build_module"]
