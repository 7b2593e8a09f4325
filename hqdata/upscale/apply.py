"""Four times enlargement of pictures of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hqdata.precision import Precision
from hqdata.tiling import apply_network as apply
from hqdata.upscale.model import UpscaleGenerator
from hqdata.weights import Builder, Network, load_weights

__all__ = ["DEFAULT", "apply", "load"]

DEFAULT = "sr4-small"
ARCHITECTURES: dict[str, Builder] = {UpscaleGenerator.architecture: UpscaleGenerator}


def load(
    name_or_path: str | Path = DEFAULT, device: str = "cpu", *, precision: Precision | Literal["auto"] = "float32"
) -> Network:
    """Return a trained generator in eval mode; its `sha256` belongs into the run's identity.

    Args:
        name_or_path: name of shipped weights or of a Real-ESRGAN network (extra `realesrgan`), or a file: ours, or a
            state dictionary of RRDBNet, SRVGGNetCompact or MSRResNet (`.pth`, `.pt`, `.safetensors`).
        device: as torch names it.
        precision: of the convolutions; "auto" is bfloat16 where the device has instructions for it.

    Raises:
        ValueError: when the weights are unknown, damaged, hostile or of another kind, or bfloat16 is asked for and
            not there.
    """
    return load_weights(name_or_path, scale=4, builders=ARCHITECTURES, device=device, precision=precision)
