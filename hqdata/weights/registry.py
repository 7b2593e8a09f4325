"""Trained weights: where they are, what they are, and that they are what they claim to be.

A weights file is safetensors with one metadata key, `hqdata`, whose JSON names the network and its architecture. The
shipped ones lie beside this module, each with a `.json` (checksum, licence, data, scores) and a `.md` card.
"""

from __future__ import annotations

import hashlib
import json
import re
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
from hqdata.precision import Precision, check_device, resolve_precision
from hqdata.weights.files import read_weights

__all__ = ["Builder", "Network", "describe", "is_own", "load_network", "read_header", "save_network", "shipped"]

METADATA_KEY = "hqdata"
SUFFIX = ".safetensors"
FOLDER = Path(__file__).parent
NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,63}", re.ASCII)
"""It becomes part of file names and messages."""
SANE_SIZES = {"channels": range(1, 1025), "pairs": range(1, 257)}
"""What a header may say."""


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
    margin: int | None = None
    """How many input pixels around a tile are read; None is `reach`. Less, for a network so deep that its reach would
    cost many times the tile: then tiles agree about as well as `reach`'s own documentation says, not exactly. The same
    region of the same picture still gives the same bits."""
    sha256: str
    """Of the weights file, or of the one that it was converted from; part of a run's identity."""
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
        name_or_path: the name of shipped weights, or the path of a safetensors file; a string that ends in
            `.safetensors` is a path.
        builders: architectures that the caller can use, by name.
        device: where the network runs, as torch names it.
        precision: see `hqdata.precision.resolve_precision`.

    Raises:
        ValueError: when the name is unknown, or the file is missing, damaged, of another kind, holds NaN, or differs
            from the checksum beside it; the message names the file and the cause. Also when bfloat16 is asked for and
            the device has no instructions for it.
    """
    check_device(device)
    resolved = resolve_precision(precision, device)
    path = _path_of(name_or_path)
    data = read_weights(path)
    sha256 = hashlib.sha256(data).hexdigest()
    _check_sum(path, sha256)
    header, tensors = read_header(path, data), parse_tensors(data)
    module = _build(path, header, builders, tensors)
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

    Raises:
        ValueError: when a value is NaN, infinite or too large for float16; nothing is written.
    """
    header = {"name": name, "architecture": architecture, "channels": channels, "pairs": pairs}
    halves = {key: value.detach().to("cpu", torch.float16).contiguous() for key, value in tensors.items()}
    for key, half in halves.items():
        if not half.isfinite().all():
            largest = float(tensors[key].detach().abs().max())
            raise ValueError(f"{path}: {key} has values that float16 cannot hold ({largest:g}); not written")
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
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, struct.error, ValueError, KeyError) as error:  # KeyError: a number format torch lacks
        raise ValueError(f"{path}: not a whole safetensors file: {error}; fetch it again") from error
    if METADATA_KEY not in metadata:
        raise ValueError(f"{path}: has no {METADATA_KEY!r} metadata; only files that this package wrote can be used")
    return _checked_header(path, metadata[METADATA_KEY])


def is_own(data: bytes) -> bool:
    """Return whether a file says that this package wrote it; whether that is true, `read_header` tells."""
    if data[8:9] != b"{":  # spares a copy of a large file of another format
        return False
    try:
        (length,) = struct.unpack_from("<Q", data)
        return METADATA_KEY in json.loads(data[8 : 8 + length])["__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        return False


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
    if isinstance(name_or_path, Path) or name_or_path.endswith(SUFFIX):
        return Path(name_or_path)
    describe(str(name_or_path))
    return FOLDER / f"{name_or_path}{SUFFIX}"


def _checked_header(path: Path, text: Any) -> dict[str, Any]:
    """Return the header when it names a network of a size that anyone would train."""
    try:
        header = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: its {METADATA_KEY!r} metadata is no JSON object: {error}; fetch it again") from error
    if not isinstance(header.get("name"), str) or not NAME.fullmatch(header["name"]):
        raise ValueError(
            f"{path}: its name is {header.get('name')!r:.80}; up to 64 letters, digits and .+-_ are allowed"
        )
    if not isinstance(header.get("architecture"), str):
        raise ValueError(f"{path}: its architecture is {header.get('architecture')!r:.80}; a name is needed")
    for key, sane in SANE_SIZES.items():
        value = header.get(key)
        if type(value) is not int or value not in sane:
            raise ValueError(f"{path}: its {key} is {value!r:.80}; {sane.start} to {sane.stop - 1} is allowed")
    return header


def _check_sum(path: Path, sha256: str) -> None:
    """Compare with the `.json` beside the weights, where there is one that names a checksum."""
    card = path.with_suffix(".json")
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # none, or somebody's notes
        return
    expected = facts.get("sha256") if isinstance(facts, dict) else None
    if isinstance(expected, str) and sha256 != expected:
        raise ValueError(
            f"{path}: sha256 is {sha256[:12]}... but {card.name} says {expected[:12]}...; "
            "the file is damaged or was replaced, install the package again"
        )


def _build(
    path: Path, header: Mapping[str, Any], builders: Mapping[str, Builder], tensors: Mapping[str, Tensor]
) -> nn.Module:
    """Return the network that the header names, filled."""
    architecture = header["architecture"]
    if architecture not in builders:
        raise ValueError(f"{path}: holds a {architecture!r:.80}, but {', '.join(builders)} is needed here")
    channels, pairs = header["channels"], header["pairs"]
    values = sum(value.numel() for value in tensors.values())
    if 9 * channels**2 * (pairs - 1) > values:  # every pair but one has a 3 x 3 convolution, so memory is not wasted
        raise ValueError(f"{path}: names {pairs} pairs of {channels} channels, but has {values:,} values only")
    module = builders[architecture](channels, pairs)
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if wanted != found:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        name = differing[0]
        raise ValueError(
            f"{path}: does not fit the architecture that it names, {architecture} of {channels} channels and {pairs}"
            f" pairs: {name} has shape {found.get(name)} where {wanted.get(name)} is needed; {len(differing)} differ"
        )
    module.load_state_dict({name: _finite(path, name, value) for name, value in tensors.items()})
    return module


def _finite(path: Path, name: str, value: Tensor) -> Tensor:
    single = value.to(torch.float32)
    if not torch.isfinite(single).all():
        raise ValueError(f"{path}: {name} holds NaN or infinity; the training that made it failed")
    return single


def _shape_of(module: Any) -> PictureModule:
    return module
