"""A generator as a file for other programs, written only when the file draws what the generator draws.

"safetensors": weights that say what they are, for `load_snapshot`. "torch-export": a .pt2 program for torch without
this package. "onnx": for ONNX runtimes; needs the packages of the extra "onnx". Programs draw at the level and fade
where the training stood, take any number of latents, and return float pictures around -1..1; x 127.5 + 127.5, rounded
and saturated, is what is stored.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from gan.checkpoint import Snapshot, load_snapshot, save_generator
from gan.sample import latents_of
from gan.zoo.networks import Generator
from hqdata.atomic import atomic_path_with_suffix

__all__ = ["FORMATS", "ExportError", "Format", "Parity", "export_generator"]

Format = Literal["safetensors", "torch-export", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES = MappingProxyType({"safetensors": ".safetensors", "torch-export": ".pt2", "onnx": ".onnx"})
ALLOWED = MappingProxyType({"safetensors": 0.0, "torch-export": 1e-6, "onnx": 1e-4})
"""Greatest difference from the generator, of pictures in -1..1. Other runtimes add up convolutions in another order; a
stored level is 1/127.5, so 1e-4 changes one in eighty by one level."""
BATCHES = (1, 3)
"""Numbers of latents that are compared: a program that has learned one number by heart fails."""

_Inputs: TypeAlias = "tuple[Tensor, ...]"
_Program: TypeAlias = Callable[..., Float32[np.ndarray, "n c h w"]]


class ExportError(RuntimeError):
    """The generator cannot be exported so, or the file draws something else; nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far pictures drawn from the file are from the generator's."""

    greatest: float
    """Difference of one value of one picture, in -1..1."""
    allowed: float
    checked_with: str
    """What drew from the file."""


def export_generator(snapshot: Snapshot, path: Path, kind: Format) -> Parity:
    """Write a snapshot's generator for other programs, after having drawn from the file and compared.

    Args:
        snapshot: of `load_snapshot`.
        path: of the file; its suffix must be that of the kind.
        kind: one of `FORMATS`.

    Returns:
        The greatest difference found, which is within what is allowed.

    Raises:
        ValueError: for another kind or suffix.
        ExportError: when the packages for ONNX are missing, or the file does not draw the same.
    """
    if kind not in FORMATS:
        raise ValueError(f"kind must be one of {', '.join(FORMATS)}, got {kind!r}")
    if path.suffix != SUFFIXES[kind]:
        raise ValueError(f"{path}: the name of a {kind} file must end in {SUFFIXES[kind]}")
    write = {"safetensors": _write_safetensors, "torch-export": _write_program, "onnx": _write_onnx}[kind]
    with atomic_path_with_suffix(path) as temporary:
        program, checked_with = write(snapshot, temporary)
        greatest = _greatest_difference(snapshot, program)
        if not greatest <= ALLOWED[kind]:  # NaN fails too
            raise ExportError(
                f"{path}: pictures drawn from it with {checked_with} differ by up to {greatest:g} from the generator's,"
                f" allowed is {ALLOWED[kind]:g}; it was not kept"
            )
    return Parity(greatest=greatest, allowed=ALLOWED[kind], checked_with=checked_with)


def _greatest_difference(snapshot: Snapshot, program: _Program) -> float:
    eager, differences = _Drawing(snapshot), []
    for count in BATCHES:
        inputs = _inputs(snapshot.generator, count)
        with torch.inference_mode():
            wanted = eager(*inputs).numpy()
        got = program(*inputs)
        if got.shape != wanted.shape:
            raise ExportError(
                f"for {count} latents it draws pictures of shape {got.shape}, the generator {wanted.shape}"
            )
        differences.append(np.abs(got - wanted).max())
    return float(np.max(differences))


class _Drawing(nn.Module):
    """The generator at its level and fade, which become constants of what is traced."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.generator, self.level, self.fade = snapshot.generator, snapshot.level, snapshot.fade
        self.eval()

    def forward(self, latents: Float32[Tensor, "n d"], labels: Float32[Tensor, "n k"] | None = None) -> Tensor:
        """Return float pictures."""
        return self.generator(latents, labels, self.level, self.fade)


def _inputs(generator: Generator, count: int) -> _Inputs:
    """Return latents, and labels where the network has them."""
    latents = latents_of(range(count), generator.shape.latent)
    if not generator.shape.labels:
        return (latents,)
    return latents, torch.eye(generator.shape.labels)[torch.arange(count) % generator.shape.labels]


def _write_safetensors(snapshot: Snapshot, path: Path) -> tuple[_Program, str]:
    save_generator(path, snapshot.generator, level=snapshot.level, fade=snapshot.fade, images=snapshot.images)
    drawing = _Drawing(load_snapshot(path))
    return lambda *inputs: drawing(*inputs).numpy(), "load_snapshot"


def _write_program(snapshot: Snapshot, path: Path) -> tuple[_Program, str]:
    inputs = _inputs(snapshot.generator, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of parts of its own exporter
        exported = torch.export.export(_Drawing(snapshot), inputs, dynamic_shapes=_any_number(inputs))
        torch.export.save(exported, path, extra_files={"progan-hq.json": json.dumps(_facts(snapshot))})
        program = torch.export.load(path).module()
    return lambda *inputs: program(*inputs).detach().numpy(), "torch.export"


def _write_onnx(snapshot: Snapshot, path: Path) -> tuple[_Program, str]:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise ExportError(f"exporting to ONNX needs the package {package}: pip install 'progan-hq[onnx]'")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it would tell that torchvision is missing
    inputs = _inputs(snapshot.generator, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Drawing(snapshot),
            inputs,
            dynamo=True,
            dynamic_shapes=_any_number(inputs),
            input_names=["latents", "labels"][: len(inputs)],
            output_names=["pictures"],
            verbose=False,
        )
    if program is None:
        raise ExportError(f"torch {torch.__version__} returned no ONNX program; update torch")
    program.model.metadata_props["progan-hq"] = json.dumps(_facts(snapshot))
    program.save(path)
    return _open_onnx(path)


def _open_onnx(path: Path) -> tuple[_Program, str]:
    """Return the file as a function: with onnxruntime where there is one, else with the slow reference of onnx."""
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime  # pyright: ignore[reportMissingImports]

        session, name = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]), "onnxruntime"
    else:
        from onnx.reference import ReferenceEvaluator  # pyright: ignore[reportMissingImports]

        session, name = ReferenceEvaluator(str(path)), "onnx.reference"

    def draw(*inputs: Tensor) -> np.ndarray:
        named = dict(zip(("latents", "labels"), (value.numpy() for value in inputs), strict=False))
        return session.run(None, named)[0]

    return draw, name


def _any_number(inputs: _Inputs) -> tuple[dict[int, torch.export.Dim], ...]:
    """Return which sizes of the inputs are open: the number of rows, from 1."""
    return tuple({0: torch.export.Dim("count")} for _ in inputs)


def _facts(snapshot: Snapshot) -> dict[str, object]:
    """Return what the file says of itself."""
    shape = snapshot.generator.shape
    return {
        "architecture": shape.architecture,
        "latent": shape.latent,
        "labels": shape.labels,
        "level": snapshot.level,
        "fade": snapshot.fade,
        "images": snapshot.images,
        "pictures": "float32 around -1..1; x 127.5 + 127.5, rounded and saturated, is what is stored",
    }
