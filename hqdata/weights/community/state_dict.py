"""Reads the tensors, and nothing else, out of a foreign file: PyTorch's `.pth` and `.pt`, or safetensors.

Nothing in such a file is trusted: no code of it runs, and what it claims is compared with its size before memory is
given to it.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_safetensors
from torch import Tensor

__all__ = ["read_tensors"]

WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net", "generator", "netG")
"""Keys under which trainers put the weights; where there are several, the first one holds the averaged ones."""
PREFIXES = ("module.", "_orig_mod.", "generator.", "netG.", "net_g.")
"""What data-parallel training, compiling and trainers put before every name."""
MOST_WRAPPERS = 4
UNUSED = "num_batches_tracked"
"""Batch normalisation's counter, which inference does not use."""
ZIP_MAGIC = b"PK\x03\x04"
SHOWN = 6


def read_tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """Return the weights by name as float32, without wrappers, common prefixes and counters.

    Args:
        path: for messages; a file so named, or that begins like one, is read as safetensors, any other as PyTorch's.
        data: the whole file.

    Raises:
        ValueError: when the file is damaged, wants to run code, holds anything but real tensors with finite values, or
            claims more values than it has bytes for; the message names the file and the cause.
    """
    is_safetensors = path.suffix.lower() == ".safetensors" or data[8:9] == b"{"
    content = _parse_safetensors(path, data) if is_safetensors else _parse_torch(path, data)
    tensors = _without_prefix(_unwrapped(path, content))
    _check_claims(path, tensors, len(data))
    return {name: _checked(path, name, value) for name, value in tensors.items() if not name.endswith(UNUSED)}


def listed(names: list[str]) -> str:
    """Return the first few names for a message.

    >>> listed(["a", "b"])
    'a, b'
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:80] for name in names[:SHOWN]) + more


def _parse_safetensors(path: Path, data: bytes) -> Mapping[str, Any]:
    try:
        return parse_safetensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a whole safetensors file: {error}; fetch it again") from error


def _parse_torch(path: Path, data: bytes) -> Any:
    if not data:
        raise ValueError(f"{path}: is empty; fetch it again")
    if data.startswith(ZIP_MAGIC):
        _check_archive(path, data)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path}: {_pickle_cause(str(error))}") from error
    except Exception as error:  # a hostile pickle can make the parser raise anything
        cause = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path}: PyTorch cannot read it ({cause}); it is damaged or no file of weights") from error


def _pickle_cause(text: str) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", text) or re.search(
        r"(?:class|function|type|instantiate) ([\w.]+\.[\w.]+)", text
    )
    if asked:
        return (
            f"wants to run {asked.group(1)} while it is loaded, so it holds code or a whole pickled module instead of"
            " plain tensors; it was not run, ask for a file of the model's state_dict()"
        )
    cause = text.split("error: ", 1)[-1].partition("\n")[0][:200] or "its first bytes are of another format, or cut"
    return f"not a whole PyTorch file of plain tensors ({cause}); fetch it again"


def _check_archive(path: Path, data: bytes) -> None:
    """Refuse archives that would grow when they are read; PyTorch never compresses."""
    try:
        entries = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise ValueError(f"{path}: a damaged archive ({error}); fetch it again") from error
    grown = sum(entry.file_size for entry in entries)
    if grown > len(data) or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(
            f"{path}: an archive of {len(data):,} bytes that unpacks to {grown:,}; PyTorch stores its files"
            " uncompressed, so this was not written by it"
        )


def _unwrapped(path: Path, content: Any) -> dict[str, Any]:
    """Return the innermost dictionary, that of the weights."""
    for _ in range(MOST_WRAPPERS):
        inner = next((content[key] for key in WRAPPERS if _is_dict(content) and _is_dict(content.get(key))), None)
        if inner is None:
            break
        content = inner
    if not _is_dict(content):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    odd = [f"{name!r} ({type(value).__name__})" for name, value in content.items() if not _is_weight(name, value)]
    if odd or not content:
        seen = f"holds {listed(odd)} beside {len(content) - len(odd)} tensors" if odd else "holds nothing"
        raise ValueError(f"{path}: {seen}; a dictionary of tensors by name is needed, plain or under {WRAPPERS[1]!r}")
    return dict(content)


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _check_claims(path: Path, tensors: Mapping[str, Tensor], size_bytes: int) -> None:
    """Refuse views that would need more memory, one by one or together, than the file has bytes."""
    for name, value in tensors.items():
        if value.numel() * value.element_size() > size_bytes:
            raise ValueError(
                f"{path}: {name} claims shape {tuple(value.shape)}, more values than the file has bytes for"
            )
    claimed = sum(value.numel() * value.element_size() for value in tensors.values())
    if claimed > size_bytes:
        raise ValueError(
            f"{path}: its tensors claim {claimed:,} bytes together, but the file has {size_bytes:,}; they share values,"
            " which those of no known architecture do"
        )


def _checked(path: Path, name: str, value: Tensor) -> Tensor:
    if value.layout != torch.strided or not value.is_floating_point() or value.device.type != "cpu":
        raise ValueError(f"{path}: {name} is a {value.layout} {value.dtype} tensor; dense floating point is needed")
    single = value.detach().to(torch.float32).contiguous()
    if not torch.isfinite(single).all():
        raise ValueError(f"{path}: {name} holds NaN or infinity; the training that made it failed")
    return single
