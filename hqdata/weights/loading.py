"""From a name or a file, ours or somebody else's, to a network of the kind that is asked for."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from hqdata.precision import Precision, check_device, resolve_precision
from hqdata.weights.community import build_module, realesrgan
from hqdata.weights.files import read_weights
from hqdata.weights.registry import SUFFIX, Builder, Network, describe, is_own, load_network, shipped

__all__ = ["is_file", "load_weights", "weights_sha256"]

SUFFIXES = (SUFFIX, ".pth", ".pt", ".ckpt", ".bin")
"""Of files of weights; anything with a folder in it is a file too."""
SLOW_PARAMETERS = 3_000_000
"""Above, a processor core takes more than a second for 100 x 100 pixels."""

_LOGGER = logging.getLogger(__name__)


def load_weights(
    name_or_path: str | Path,
    *,
    scale: int,
    builders: Mapping[str, Builder],
    device: str = "cpu",
    precision: Precision | Literal["auto"] = "float32",
) -> Network:
    """Return a trained network in eval mode.

    Args:
        name_or_path: name of shipped weights, of a converted model (`realesrgan.MODELS`), or a file: ours, or a state
            dictionary of a known architecture as `.pth`, `.pt` or `.safetensors`.
        scale: 1 for a restorer, 4 for an upscaler; a network of another scale is refused.
        builders: our own architectures that the caller can use, by name.
        device: where the network runs, as torch names it.
        precision: see `hqdata.precision.resolve_precision`.

    Raises:
        ValueError: when the weights are unknown, missing, damaged, hostile or of the other kind; the message names the
            file and the cause. Also when bfloat16 is asked for and the device has no instructions for it.
    """
    name = str(name_or_path)
    if name in realesrgan.MODELS:
        network = _foreign(realesrgan.converted(name), scale, device, precision)
        return replace(network, name=name, sha256=realesrgan.MODELS[name].sha256)
    if not is_file(name_or_path):
        _check_name(name)
        return load_network(name, builders=builders, device=device, precision=precision)
    path = Path(name_or_path)
    if is_own(read_weights(path)):
        return load_network(path, builders=builders, device=device, precision=precision)
    return _foreign(path, scale, device, precision)


def weights_sha256(name_or_path: str) -> str:
    """Return the checksum that the loaded network will have, without loading it.

    Raises:
        ValueError: when the name is unknown, the package that it needs is missing, or the file cannot be read.
    """
    if name_or_path in realesrgan.MODELS:
        realesrgan.installed_files(name_or_path)
        return realesrgan.MODELS[name_or_path].sha256
    if not is_file(name_or_path):
        _check_name(name_or_path)
        return describe(name_or_path)["sha256"]
    return hashlib.sha256(read_weights(Path(name_or_path))).hexdigest()


def is_file(name_or_path: str | Path) -> bool:
    """Return whether this means a file rather than a name.

    >>> is_file("4x.pth"), is_file("models/4x"), is_file("sr4-small")
    (True, True, False)
    """
    if isinstance(name_or_path, Path):
        return True
    return name_or_path.lower().endswith(SUFFIXES) or "/" in name_or_path


def _check_name(name: str) -> None:
    if name not in shipped():
        known = ", ".join(shipped())
        extra = ", ".join(realesrgan.MODELS)
        raise ValueError(
            f"no weights are called {name!r}; there are {known}, with the extra realesrgan also {extra}, and any file"
            f" whose name ends in {', '.join(SUFFIXES)}"
        )


def _foreign(path: Path, scale: int, device: str, precision: Precision | Literal["auto"]) -> Network:
    check_device(device)
    resolved = resolve_precision(precision, device)
    data = read_weights(path)
    module, title = build_module(path, data)
    if module.scale != scale:
        raise ValueError(f"{path}: holds {title}, {_what(module.scale)}; {_what(scale)} is needed here")
    _warn_if_slow(path, module, title, device)
    _LOGGER.debug("%s: %s", path, title)
    return Network(
        name=path.stem,
        module=module.to(device=device, memory_format=torch.channels_last),  # pyright: ignore[reportCallIssue]
        scale=module.scale,
        stride=module.stride,
        reach=module.reach,
        margin=module.margin,
        sha256=hashlib.sha256(data).hexdigest(),
        device=device,
        precision=resolved,
    )


def _what(scale: int) -> str:
    return "a restorer, which keeps the size" if scale == 1 else f"an upscaler, which enlarges {scale} times"


def _warn_if_slow(path: Path, module: nn.Module, title: str, device: str) -> None:
    parameters = sum(value.numel() for value in module.parameters())
    if parameters > SLOW_PARAMETERS and torch.device(device).type == "cpu":
        _LOGGER.warning(
            "%s: %s has %.1f million parameters; without a GPU a face takes minutes", path, title, parameters / 1e6
        )
