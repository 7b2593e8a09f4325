"""The same network's tensors are called differently by those who publish it; this brings them to our names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["joined_attention", "substituted"]


def substituted(tensors: Mapping[str, Tensor], names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Return the tensors with every pattern of their keys replaced, in the order given.

    >>> list(substituted({"layer.0.ln_1": torch.zeros(1)}, [(r"^layer", "blocks"), ("ln_", "norm")]))
    ['blocks.0.norm1']
    """
    ours = {}
    for key, value in tensors.items():
        for pattern, name in names:
            key = re.sub(pattern, name, key)
        ours[key] = value
    return ours


def joined_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with `attn.q`, `attn.k` and `attn.v` of each block stacked to `attn.qkv`."""
    ours = {}
    for key, value in tensors.items():
        if ".attn.q." in key:
            parts = [tensors[key.replace(".attn.q.", f".attn.{letter}.")] for letter in "qkv"]
            ours[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat(parts)
        elif not re.search(r"\.attn\.[kv]\.", key):
            ours[key] = value
    return ours
