"""Feature extractors: networks that turn pictures into the rows that distances between sets compare.

Each is a module of its own, because it needs torch and a weights file: `efficientnet_lite0.load()`. Nothing is ever
downloaded.
"""

from metrics.features.extractor import Embedding, FeatureExtractor, MissingWeights, WeightsError

__all__ = ["Embedding", "FeatureExtractor", "MissingWeights", "WeightsError"]
