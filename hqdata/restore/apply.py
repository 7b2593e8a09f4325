"""JPEG-artefact removal on pictures of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hqdata.precision import Precision
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.restore.red import RedNet
from hqdata.tiling import apply_network as apply
from hqdata.weights import Builder, Network, load_weights

__all__ = ["DEFAULT", "apply", "load"]

DEFAULT = "dejpeg-small"
ARCHITECTURES: dict[str, Builder] = {
    SymmetricAutoencoder.architecture: SymmetricAutoencoder,
    RedNet.architecture: RedNet,
}


def load(
    name_or_path: str | Path = DEFAULT, device: str = "cpu", *, precision: Precision | Literal["auto"] = "float32"
) -> Network:
    """Return a trained restorer in eval mode; its `sha256` belongs into the run's identity.

    Args:
        name_or_path: name of shipped weights, or a file: ours, or a state dictionary of RED-Net, DnCNN, FBCNN or an
            RRDBNet that keeps the size (`.pth`, `.pt`, `.safetensors`).
        device: as torch names it.
        precision: of the convolutions; "auto" is bfloat16 where the device has instructions for it.

    Raises:
        ValueError: when the weights are unknown, damaged, hostile or of another kind, or bfloat16 is asked for and
            not there.
    """
    return load_weights(name_or_path, scale=1, builders=ARCHITECTURES, device=device, precision=precision)
