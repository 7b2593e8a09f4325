"""What GPUs, and this machine, can do at best: by their data sheets, or measured in a second.

A plan divides by these numbers (`gan.plan`).
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from hqdata.precision import Precision, has_bfloat16
from hqdata.settings import ConfigError
from hqdata.training.machine import Machine

__all__ = ["DEVICES", "Device", "find_device", "measure_this_machine"]

LAUNCH_S = 6e-6
"""From the start of one small operation on a GPU to that of the next, in eager execution."""
GIB = 1024.0**3
THIS_MACHINE = "this-machine"
TRIALS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device can do at best."""

    name: str
    flops_per_s: float
    """Attainable by large convolutions, in `precision`."""
    bytes_per_s: float
    """Attainable by large copies, read and written together."""
    memory_bytes: float
    precision: Precision
    launch_s: float = LAUNCH_S
    """From one operation to the next at least, in eager execution."""

    @property
    def bytes_per_number(self) -> int:
        """2 or 4."""
        return 2 if self.precision == "bfloat16" else 4


def _gpu(
    name: str, tera_flops: float, tera_bytes_per_s: float, gib: float, precision: Precision = "bfloat16"
) -> Device:
    """Return a GPU by its data sheet: dense, accumulating in float32, of which large kernels reach 80 and 90 %."""
    return Device(
        name=name,
        flops_per_s=0.8e12 * tera_flops,
        bytes_per_s=0.9e12 * tera_bytes_per_s,
        memory_bytes=gib * GIB,
        precision=precision,
    )


DEVICES = {
    device.name: device
    for device in (
        _gpu("h200", 989.4, 4.8, 139.8),  # NVIDIA H200 SXM data sheet (half of the figure with sparsity)
        _gpu("h100", 989.4, 3.35, 79.6),  # NVIDIA H100 SXM5 data sheet
        _gpu("a100", 312.0, 2.039, 79.2),  # NVIDIA A100 80GB SXM data sheet
        _gpu("a100-40gb", 312.0, 1.555, 39.4),  # NVIDIA A100 40GB data sheet
        _gpu("l4", 121.0, 0.300, 22.5),  # NVIDIA L4 data sheet (half of the figure with sparsity)
        _gpu("rtx4090", 165.2, 1.008, 23.6),  # NVIDIA Ada architecture white paper, appendix A
        _gpu("rtx3090", 71.0, 0.936, 23.7),  # NVIDIA GA102 architecture white paper, table 2
        _gpu("v100", 15.7, 0.9, 31.7, "float32"),  # NVIDIA V100 SXM2 data sheet; it has no bfloat16
        _gpu("p100", 10.6, 0.732, 15.9, "float32"),  # NVIDIA P100 SXM2 data sheet; the paper's own
    )
}
"""By name."""


def find_device(name: str, precision: Precision | None = None) -> Device:
    """Return a device by name; "this-machine" is measured, in about two seconds.

    Args:
        name: one of `DEVICES`, or "this-machine".
        precision: of this machine's measurement; by default what a training would choose.

    Raises:
        ConfigError: when there is no such device; the message names the nearest.
    """
    if name == THIS_MACHINE:
        return measure_this_machine(precision)
    if name not in DEVICES:
        near = difflib.get_close_matches(name, DEVICES, n=1, cutoff=0.0)[0]
        known = ", ".join([*DEVICES, THIS_MACHINE])
        raise ConfigError(f"there is no device {name!r}; did you mean {near!r}? All: {known}")
    return DEVICES[name]


def measure_this_machine(
    precision: Precision | None = None, *, clock: Callable[[], float] = time.perf_counter
) -> Device:
    """Return what this machine reached just now in a convolution, a copy and a row of small operations.

    Args:
        precision: of the convolution; by default bfloat16 where the device computes with it.
        clock: seconds; on a processor that others use too, `time.process_time` says what it could do alone.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    chosen: Precision = precision or ("bfloat16" if has_bfloat16(kind) else "float32")
    maps = torch.randn(16, 256, 32, 32, device=kind)
    weight = torch.randn(256, 256, 3, 3, device=kind)
    copied = torch.empty((1 << 30 if kind == "cuda" else 1 << 26) // 4, device=kind)
    small = torch.zeros(16, device=kind)
    with torch.no_grad(), Machine(device=kind, precision=chosen).autocast():
        convolution_s = _seconds(lambda: functional.conv2d(maps, weight, padding=1), kind, clock)
        copy_s = _seconds(copied.clone, kind, clock)
        small_s = _seconds(lambda: [small.add(1) for _ in range(100)], kind, clock) / 100
    memory = torch.cuda.get_device_properties(0).total_memory if kind == "cuda" else _ram_bytes()
    return Device(
        name=torch.cuda.get_device_name(0) if kind == "cuda" else f"{THIS_MACHINE} ({torch.get_num_threads()} threads)",
        flops_per_s=2 * 9 * 256 * maps.numel() / convolution_s,
        bytes_per_s=2 * copied.nbytes / copy_s,
        memory_bytes=memory,
        precision=chosen,
        launch_s=small_s,
    )


def _seconds(run: Callable[[], object], kind: str, clock: Callable[[], float]) -> float:
    """Return the shortest time of a few, after a first one that does not count."""
    times = []
    for _ in range(1 + TRIALS):
        begun_s = clock()
        run()
        if kind == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - begun_s)
    return min(times[1:])


def _ram_bytes() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
