"""Where a network runs, and in which number format: float32, or bfloat16 where the device computes it natively.

bfloat16 keeps 8 bits of a number, too few for a picture and enough for the correction that a network adds to it. The
weights stay float32; convolutions convert as they go. Half precision (float16) is not offered: its range is so small
that some networks overflow to black pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

__all__ = ["Precision", "check_device", "computing_in", "has_bfloat16", "resolve_precision"]

Precision = Literal["float32", "bfloat16"]
CPU_FACTS = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names that Linux gives to bfloat16 arithmetic: of x86 (two kinds) and of Arm."""


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or does not see here.

    Raises:
        ValueError: the message says what to do.
    """
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is none that torch knows ({error}); use cpu or cuda") from error
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise ValueError(f"device {device}: torch sees {seen} CUDA devices here; use cpu, or install torch with CUDA")


def resolve_precision(wanted: Precision | Literal["auto"], device: str) -> Precision:
    """Return the format to run in.

    Args:
        wanted: "auto" is bfloat16 where the device has instructions for it. Not for builds: the same photo would give
            other bytes on another machine.
        device: as torch names it.

    Raises:
        ValueError: when bfloat16 is asked for by name and the device has no instructions for it, or for another word.
    """
    if wanted not in ("float32", "bfloat16", "auto"):
        raise ValueError(f"precision must be float32, bfloat16 or auto, got {wanted!r}")
    if wanted == "float32":
        return "float32"
    if has_bfloat16(device):
        return "bfloat16"
    if wanted == "auto":
        return "float32"
    raise ValueError(f"precision is bfloat16, but {device} has no instructions for it; use float32 or auto")


def has_bfloat16(device: str) -> bool:
    """Return whether the device has instructions for bfloat16; False on a processor that does not say.

    Only Linux says. Emulated bfloat16 is slower than float32, so it does not count.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    try:
        facts = CPU_FACTS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return not BFLOAT16_FLAGS.isdisjoint(facts.split())


@contextmanager
def computing_in(precision: Precision, device: str) -> Iterator[None]:
    """Run the block's convolutions in `precision`, whatever autocast the caller is in.

    On CUDA, float32 means float32 (torch would use TF32 with 10 bits), by algorithms that give the same bits each time.
    """
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        if kind != "cuda":
            yield
            return
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
