"""What a machine computes with. Equal hardware gives equal pixels; other hardware may change their last bits."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["Hardware", "hardware_here"]

CPU_FACTS = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """A machine's processor, and the GPUs that this process may use."""

    cpu: str
    """The model, and which instructions torch chose its kernels for."""
    gpus: tuple[str, ...] = ()
    """Models; torch's device "cuda" is the first."""
    gpu_fault: str = ""
    """Why the first cannot be used although it is there; empty otherwise."""

    @property
    def has_gpu(self) -> bool:
        """Whether there is a GPU that torch can compute on."""
        return bool(self.gpus) and not self.gpu_fault

    @property
    def described(self) -> str:
        """What there is, for messages."""
        if self.gpu_fault:
            return f"{', '.join(self.gpus)}, which fails: {self.gpu_fault}"
        return f"{', '.join(self.gpus)} with {self.cpu}" if self.gpus else self.cpu

    def group(self, device: str) -> str:
        """Return what machines share that give equal pixels on `device`; photos are decoded on the processor anyway."""
        return f"{self.gpus[0]} with {self.cpu}" if device == "cuda" and self.has_gpu else self.cpu


def hardware_here() -> Hardware:
    """Return this machine's; computes one number on the GPU, to know that it answers."""
    cpu = f"{_cpu_model()} ({torch.backends.cpu.get_cpu_capability()})"
    if not torch.cuda.is_available():
        return Hardware(cpu=cpu)
    gpus = tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return Hardware(cpu=cpu, gpus=gpus, gpu_fault=_gpu_fault())


def _gpu_fault() -> str:
    try:
        torch.ones(1, device="cuda").sum().item()
    except RuntimeError as error:  # a model newer than this torch, memory that others hold, a lost device
        return str(error).splitlines()[0]
    return ""


def _cpu_model() -> str:
    try:
        facts = CPU_FACTS.read_text(encoding="ascii", errors="replace")
    except OSError:
        facts = ""
    named = re.search(r"^model name\s*:\s*(.+)$", facts, re.MULTILINE)
    return " ".join(named.group(1).split()) if named else platform.processor() or platform.machine()
