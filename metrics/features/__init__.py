"""Feature extractors: networks that turn pictures into the rows that distances between sets compare.

`extractor("inception-fid", weights=path)` opens one of the known networks or wraps any `nn.Module`;
`register_extractor` adds a name. Nothing is ever downloaded: weights are files, found by path or in the folder that
$HQ_WEIGHTS names.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from metrics.features.interface import Embedding, FeatureExtractor, MissingWeights, WeightsError

if TYPE_CHECKING:
    from metrics.features.network_extractor import NetworkExtractor
    from metrics.features.preparation import Preparation
    from metrics.features.registry import extractor, extractor_names, register_extractor

_HOMES = {
    "NetworkExtractor": "metrics.features.network_extractor",
    "Preparation": "metrics.features.preparation",
    "extractor": "metrics.features.registry",
    "extractor_names": "metrics.features.registry",
    "register_extractor": "metrics.features.registry",
}
"""The module of each name that needs torch."""

__all__ = [
    "Embedding",
    "FeatureExtractor",
    "MissingWeights",
    "NetworkExtractor",
    "Preparation",
    "WeightsError",
    "extractor",
    "extractor_names",
    "register_extractor",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'metrics.features' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
