"""Weights between two others: the strength of the GAN as a knob (Wang et al. 2018, section 3.4, network interpolation).

Networks trained from each other lie close enough together that the weights between theirs work too, and better than a
mixture of their pictures: less invented texture, and the noise goes first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors
from torch import Tensor

from hqdata.weights.files import read_weights
from hqdata.weights.registry import read_header, save_network

__all__ = ["blend"]


def blend(first: Path, second: Path, share: float, out: Path, *, name: str | None = None) -> str:
    """Write the weights `(1 - share) * first + share * second` and return the new file's sha256.

    Args:
        first: a `.safetensors` file of ours, such as an error-trained generator.
        second: weights of the same architecture and size, such as that generator after its adversarial stage.
        share: of the second, 0..1; beyond them it extrapolates, which is refused.
        out: the file to write.
        name: of the new weights; the default is the second's.

    Raises:
        ValueError: when a file cannot be read, the two do not fit together, or the share is out of range.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be within 0..1, got {share}")
    (header, a), (other, b) = _read(first), _read(second)
    for key in ("architecture", "channels", "pairs"):
        if header[key] != other[key]:
            raise ValueError(f"{first} and {second} cannot be blended: {key} is {header[key]} and {other[key]}")
    if a.keys() != b.keys() or any(a[key].shape != b[key].shape for key in a):
        raise ValueError(f"{first} and {second} cannot be blended: their tensors differ in name or shape")
    mixed = {key: a[key].float().lerp(b[key].float(), share) for key in a}
    return save_network(
        out,
        mixed,
        name=name or other["name"],
        architecture=header["architecture"],
        channels=header["channels"],
        pairs=header["pairs"],
    )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    data = read_weights(path)
    return read_header(path, data), parse_tensors(data)
