"""The tensors of a TorchScript archive, read without TorchScript: no code of the file is loaded, none is run.

OpenAI publishes CLIP in this format. An archive is a zip whose `data.pkl` pickles the module tree; its classes, all
named `__torch__...`, become empty objects here, and anything that is neither such a class nor a tensor is refused.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["is_torchscript", "read_torchscript"]

DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
}


def is_torchscript(data: bytes) -> bool:
    """Return whether a zip is TorchScript's: it alone keeps a second pickle, of its code's constants."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(data: bytes) -> dict[str, Tensor]:
    """Return parameters and buffers by their dotted names, as `state_dict()` would.

    Raises:
        pickle.UnpicklingError: when the module tree holds anything but modules, plain values and tensors.
        KeyError, ValueError: when the archive is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        folder = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        tree = _TreeUnpickler(archive, folder).load()
    return dict(_named_tensors(tree, ""))


class _Module:
    """Any class of the archive: keeps its attributes and does nothing."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"a module's state must be a dictionary, got {type(state).__name__}")
        self.__dict__.update(state)


class _TreeUnpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] == "__torch__":
            return _Module
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _view,
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch.jit._pickle", "build_intlist"): list,
            ("torch.jit._pickle", "build_doublelist"): list,
            ("torch.jit._pickle", "build_boollist"): list,
            ("torch.jit._pickle", "build_tensorlist"): list,
            ("torch.jit._pickle", "restore_type_tag"): _untagged,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}")
        return known[module, name]

    def persistent_load(self, pid: object) -> Tensor:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], torch.dtype):
            raise pickle.UnpicklingError("refused a reference that is no tensor's storage")
        dtype, key, numbers = pid[1], str(pid[2]), int(pid[4])
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            self._storages[key] = torch.frombuffer(content, dtype=dtype, count=numbers)
        return self._storages[key]


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _untagged(value: object, _tag: str) -> object:
    return value


def _named_tensors(node: object, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(node, Tensor):
        yield prefix.removesuffix("."), node
    elif isinstance(node, _Module):
        for name, value in vars(node).items():
            yield from _named_tensors(value, f"{prefix}{name}.")
