"""Trained weights: where they are, what they are, and that they are what they claim to be.

A weights file is safetensors with one metadata key, `hqdata`, whose JSON names the network and its architecture. The
shipped ones lie beside this module, each with a `.json` (checksum, licence, data, scores) and a `.md` card.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors
from torch import Tensor, nn

from hqdata.atomic import write_bytes
from hqdata.precision import Precision, resolve_precision

__all__ = ["Builder", "Network", "describe", "load_network", "read_header", "save_network", "shipped"]

METADATA_KEY = "hqdata"
SUFFIX = ".safetensors"
FOLDER = Path(__file__).parent


class PictureModule(Protocol):
    """A convolutional module whose output pixels depend on input pixels at most `reach` away."""

    scale: int
    stride: int

    @property
    def reach(self) -> int:
        """In input pixels."""
        ...


Builder = Callable[[int, int], nn.Module]
"""Makes an untrained network from its (channels, pairs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A trained network, ready to run."""

    name: str
    module: nn.Module
    """In eval mode, float32, on `device`."""
    scale: int
    """Output pixels per input pixel along each axis."""
    stride: int
    """Tiles must start on a multiple of this many input pixels."""
    reach: int
    """How many input pixels away an input pixel can be and still change an output pixel."""
    sha256: str
    """Of the weights file; part of a run's identity."""
    device: str
    precision: Precision = "float32"
    """What the convolutions compute in; the weights stay float32."""


def load_network(
    name_or_path: str | Path,
    *,
    builders: Mapping[str, Builder],
    device: str = "cpu",
    precision: Precision | Literal["auto"] = "float32",
) -> Network:
    """Return a trained network in eval mode.

    Args:
        name_or_path: the name of shipped weights, or the path of a `.safetensors` file.
        builders: architectures that the caller can use, by name.
        device: where the network runs, as torch names it.
        precision: see `hqdata.precision.resolve_precision`.

    Raises:
        ValueError: when the name is unknown, or the file is missing, damaged, of another kind, holds NaN, or differs
            from the checksum beside it; the message names the file and the cause. Also when bfloat16 is asked for and
            the device has no instructions for it.
    """
    resolved = resolve_precision(precision, device)
    path = _path_of(name_or_path)
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    _check_sum(path, sha256)
    header, tensors = read_header(path, data), parse_tensors(data)
    module = _build(path, header, builders)
    _fill(path, module, tensors)
    module = module.eval().to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    shape = _shape_of(module)
    return Network(
        name=header["name"],
        module=module,
        scale=shape.scale,
        stride=shape.stride,
        reach=shape.reach,
        sha256=sha256,
        device=device,
        precision=resolved,
    )


def save_network(
    path: Path, tensors: Mapping[str, Tensor], *, name: str, architecture: str, channels: int, pairs: int
) -> str:
    """Write weights as float16 and return the file's sha256; equal weights give equal bytes.

    Args:
        path: of the `.safetensors` file.
        tensors: the network's state dictionary.
        name: what the weights are called.
        architecture: name of the builder.
        channels: the builder's first argument.
        pairs: the builder's second argument.
    """
    header = {"name": name, "architecture": architecture, "channels": channels, "pairs": pairs}
    halves = {key: value.detach().to("cpu", torch.float16).contiguous() for key, value in tensors.items()}
    data = format_tensors(halves, metadata={METADATA_KEY: json.dumps(header, sort_keys=True)})
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def read_header(path: Path, data: bytes) -> dict[str, Any]:
    """Return the name, architecture and sizes that a weights file names, after checking that the file is whole.

    Args:
        path: for messages.
        data: the whole file.

    Raises:
        ValueError: when it is not a whole safetensors file, or not one of ours.
    """
    try:
        parse_tensors(data)
        (length,) = struct.unpack_from("<Q", data)
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, struct.error, ValueError) as error:
        raise ValueError(f"{path}: not a whole safetensors file: {error}; fetch it again") from error
    if METADATA_KEY not in metadata:
        raise ValueError(f"{path}: has no {METADATA_KEY!r} metadata; only files that this package wrote can be used")
    return json.loads(metadata[METADATA_KEY])


def shipped() -> list[str]:
    """Return the names of the weights that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def describe(name: str) -> dict[str, Any]:
    """Return what is known of shipped weights: checksum, licence, data, training and scores.

    Raises:
        ValueError: when no shipped weights have this name.
    """
    if name not in shipped():
        raise ValueError(f"no shipped weights are called {name!r}; there are {', '.join(shipped())}")
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def _path_of(name_or_path: str | Path) -> Path:
    if str(name_or_path).endswith(SUFFIX):
        return Path(name_or_path)
    describe(str(name_or_path))
    return FOLDER / f"{name_or_path}{SUFFIX}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: weights cannot be read: {error.strerror}; give an existing {SUFFIX} file") from error


def _check_sum(path: Path, sha256: str) -> None:
    """Compare with the `.json` beside the weights, where there is one."""
    card = path.with_suffix(".json")
    if not card.exists():
        return
    expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    if sha256 != expected:
        raise ValueError(
            f"{path}: sha256 is {sha256[:12]}... but {card.name} says {expected[:12]}...; "
            "the file is damaged or was replaced, install the package again"
        )


def _build(path: Path, header: Mapping[str, Any], builders: Mapping[str, Builder]) -> nn.Module:
    architecture = header.get("architecture")
    if not isinstance(architecture, str) or architecture not in builders:
        raise ValueError(f"{path}: holds a {architecture!r}, but {', '.join(builders)} is needed here")
    return builders[architecture](header["channels"], header["pairs"])


def _fill(path: Path, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ValueError(f"{path}: {key} holds NaN or infinity; the training that made it failed")
    try:
        module.load_state_dict({key: value.to(torch.float32) for key, value in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path}: does not fit the architecture that it names: {error}") from error


def _shape_of(module: Any) -> PictureModule:
    return module
