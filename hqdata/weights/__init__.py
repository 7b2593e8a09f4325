"""Trained weights that ship with the package, each with its checksum, licence and a card, and how they are loaded."""

from hqdata.weights.loading import load_weights, weights_sha256
from hqdata.weights.registry import Builder, Network, describe, load_network, save_network, shipped

__all__ = [
    "Builder",
    "Network",
    "describe",
    "load_network",
    "load_weights",
    "save_network",
    "shipped",
    "weights_sha256",
]
