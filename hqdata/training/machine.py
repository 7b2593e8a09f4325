"""Where a run computes and how exactly: chosen once at its start and recorded, since it decides the last bits."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from hqdata.precision import Precision, check_device, computing_in, resolve_precision

__all__ = ["DeviceChoice", "Machine", "choose_machine"]

DeviceChoice = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A device and the number format of the networks' convolutions on it."""

    device: Literal["cpu", "cuda"] = "cpu"
    precision: Precision = "float32"

    def autocast(self) -> AbstractContextManager:
        """Return the context that the networks run in; losses and optimizers stay in float32 outside it."""
        return computing_in(self.precision, self.device)


def choose_machine(device: DeviceChoice = "auto", precision: Precision | Literal["auto"] = "auto") -> Machine:
    """Return the machine for a run: a GPU where there is one, bfloat16 where the processor computes with it.

    The choice rests on what the processor says it can do, not on a timing, so that it is the same each time.

    Raises:
        ValueError: when "cuda" is asked for and torch sees no such device, or bfloat16 where it cannot be computed.
    """
    if device == "cuda":
        check_device(device)
    chosen = "cuda" if torch.cuda.is_available() and device != "cpu" else "cpu"
    return Machine(device=chosen, precision=resolve_precision(precision, chosen))
