"""Finding and reading weights files that people bring: checked against the published hash, and never run as code.

A file is read once, hashed, and only then parsed: safetensors, torch's zip and old formats through
`weights_only=True`, and TorchScript archives by `torchscript_archive`, which builds tensors alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import string
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from metrics.features.interface import MissingWeights, WeightsError
from metrics.features.torchscript_archive import is_torchscript, read_torchscript

__all__ = [
    "ANY",
    "FOLDER_VARIABLE",
    "PUBLISHED",
    "WeightSource",
    "Weights",
    "filled",
    "packaged",
    "read_weights",
    "with_weights",
]

FOLDER_VARIABLE = "HQ_WEIGHTS"
"""Environment variable that names a folder of weights files."""
PUBLISHED = "published"
"""Accept the files alone whose hashes are known; the default everywhere."""
ANY = "any"
"""Accept every file whose tensors fit: retrained networks, other people's conversions, random weights in tests."""
COUNTERS = "num_batches_tracked"
"""Batch norm's count of training batches: not used for inference, and absent from older files."""
NESTED = ("state_dict", "model", "model_state_dict")
"""Keys under which training programs put what we look for."""
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSource:
    """Where a network's weights come from, told to those who lack them."""

    network: str
    """Such as "inception-fid"."""
    files: tuple[str, ...]
    """Names under which the file is known, looked for in this order."""
    sha256: tuple[str, ...]
    """Of the published files."""
    origin: str
    """Where people get it, for messages; nothing is ever downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What was read of one file."""

    path: Path
    sha256: str
    published: bool
    """Whether the hash is a known one, so that results may carry the network's established name."""
    tensors: Mapping[str, Tensor]


def packaged(source: WeightSource, package: str, folder: str | Path, install: str) -> Path:
    """Return the folder of an installed package in which the network's weights are, without importing the package.

    Raises:
        MissingWeights: when it is not installed; the message says the command that installs it.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise MissingWeights(f"the weights of {source.network} are not installed; run `{install}`")
    return Path(found.origin).parent / folder


def read_weights(
    source: WeightSource,
    path: str | Path | None,
    *,
    sha256: str = PUBLISHED,
    parse: Callable[[bytes], object] | None = None,
) -> Weights:
    """Return the tensors of a weights file.

    Args:
        source: the network's.
        path: the file, or a folder that holds it under one of its known names; None looks in the folder that
            $HQ_WEIGHTS names.
        sha256: PUBLISHED, ANY, or the 64 hexadecimal digits of the file that you mean.
        parse: of a format of its own: bytes to a state dictionary, without running what the bytes say. None knows
            safetensors, torch's formats and TorchScript.

    Raises:
        MissingWeights: when there is no such file; the message says which file to put where.
        WeightsError: when it is another file than asked for, or cannot be read as weights.
    """
    found = _found(source, path)
    try:
        data = found.read_bytes()
    except OSError as error:
        raise MissingWeights(f"{found}: weights cannot be read: {error.strerror}; {_advice(source)}") from error
    digest = hashlib.sha256(data).hexdigest()
    _check_digest(source, found, digest, sha256)
    tensors = _parsed(source, found, data, parse)
    return Weights(path=found, sha256=digest, published=digest in source.sha256, tensors=tensors)


def with_weights(make: Callable[[], M], weights: Weights) -> M:
    """Return `filled` of a network that is built without memory for its own tensors."""
    with torch.device("meta"):
        module = make()
    return filled(module, weights)


def filled(module: M, weights: Weights) -> M:
    """Return the network in eval mode with every tensor, in float32, replaced by the file's.

    Args:
        module: whose keys and shapes the file must have exactly, batch norm's counters excepted.
        weights: what `read_weights` returned, with keys renamed where the file calls them otherwise.

    Raises:
        WeightsError: when keys or shapes differ, or a number is NaN or infinite.
    """
    wanted = module.state_dict()
    given = {key: value for key, value in weights.tensors.items() if key in wanted or not key.endswith(COUNTERS)}
    _check_keys(weights.path, [key for key in wanted if not key.endswith(COUNTERS)], given, wanted)
    ready = {}
    for key, value in wanted.items():
        ready[key] = torch.zeros((), dtype=torch.long) if key.endswith(COUNTERS) else _checked(weights, key, value)
    module.load_state_dict(ready, assign=True)
    return module.eval().requires_grad_(False)


def _found(source: WeightSource, path: str | Path | None) -> Path:
    if path is None:
        folder = os.environ.get(FOLDER_VARIABLE)
        if not folder:
            raise MissingWeights(f"no weights given for {source.network}; {_advice(source)}")
        return _inside(source, Path(folder))
    return _inside(source, Path(path)) if Path(path).is_dir() else Path(path)


def _inside(source: WeightSource, folder: Path) -> Path:
    for name in source.files:
        if (folder / name).is_file():
            return folder / name
    raise MissingWeights(f"{folder}: holds no weights of {source.network}; {_advice(source)}")


def _advice(source: WeightSource) -> str:
    return (
        f"get {' or '.join(source.files)} from {source.origin}, and pass weights=PATH or put it into the folder that"
        f" ${FOLDER_VARIABLE} names; nothing is downloaded"
    )


def _check_digest(source: WeightSource, path: Path, digest: str, wanted: str) -> None:
    if wanted == ANY or (wanted == PUBLISHED and not source.sha256):
        return
    if wanted != PUBLISHED and (len(wanted) != 64 or set(wanted.lower()) - set(string.hexdigits)):
        raise ValueError(f"sha256 must be {PUBLISHED!r}, {ANY!r} or 64 hexadecimal digits, got {wanted!r}")
    accepted = source.sha256 if wanted == PUBLISHED else (wanted.lower(),)
    if digest not in accepted:
        known = " or ".join(f"{value[:12]}..." for value in accepted)
        raise WeightsError(
            f"{path}: sha256 is {digest[:12]}..., {source.network} needs {known}; the file is damaged or another one."
            f" Get {source.files[0]} from {source.origin}, or accept other weights with sha256={ANY!r}"
        )


def _parsed(
    source: WeightSource, path: Path, data: bytes, parse: Callable[[bytes], object] | None
) -> dict[str, Tensor]:
    try:
        loaded = (parse or _loader(data))(data)
    except Exception as error:  # torch's and safetensors' parsers raise whatever a damaged file leads them to
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no details'}"
        raise WeightsError(
            f"{path}: cannot be read as weights of {source.network} ({cause[:200]}); it is cut short, or no file of"
            " tensors alone (code in a pickle is never run)"
        ) from error
    for key in NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping):
        raise WeightsError(
            f"{path}: holds a {type(loaded).__name__}, weights are named tensors; give a state dictionary"
        )
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


def _loader(data: bytes) -> Callable[[bytes], object]:
    """Return the parser for what the bytes are, whatever the file is called."""
    if zipfile.is_zipfile(io.BytesIO(data)) and is_torchscript(data):
        return read_torchscript
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return safetensors.torch.load
    return lambda content: torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _check_keys(path: Path, needed: Sequence[str], given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing = [key for key in needed if key not in given]
    strange = [key for key in given if key not in wanted]
    if missing:
        raise WeightsError(
            f"{path}: lacks {len(missing)} of {len(needed)} tensors, such as {missing[0]!r}; these are another"
            " network's weights"
        )
    if strange:
        raise WeightsError(
            f"{path}: holds {len(strange)} tensors too many, such as {strange[0]!r}; these are another"
            " network's weights"
        )


def _checked(weights: Weights, key: str, wanted: Tensor) -> Tensor:
    value = weights.tensors[key]
    if value.shape != wanted.shape:
        raise WeightsError(
            f"{weights.path}: {key!r} has shape {tuple(value.shape)}, the network needs {tuple(wanted.shape)}; these"
            " are another network's weights"
        )
    if not value.is_floating_point():
        raise WeightsError(f"{weights.path}: {key!r} holds {value.dtype}, not floats; give the original weights")
    if not bool(torch.isfinite(value).all()):
        raise WeightsError(f"{weights.path}: {key!r} holds NaN or infinity; the training or the conversion failed")
    return value.float().contiguous()
