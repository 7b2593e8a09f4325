"""How a run begins: torch's settings and the network's first weights; and how its result is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hqdata.training.machine import Machine
from hqdata.weights import Network, save_network

__all__ = ["begin_from", "prepare_torch", "write_network"]

Module = TypeVar("Module", bound=nn.Module)


def prepare_torch(seed: int) -> None:
    """Seed torch and make its arithmetic repeatable; of a whole process, so only a run's start may call it."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def begin_from(start: Network | None, build: Callable[[], Module], machine: Machine) -> Module:
    """Return a network with the weights of `start`, or random ones, in the layout that convolutions are fast in.

    Raises:
        ValueError: when `start` is of another architecture or size.
    """
    module = build()
    if start is not None:
        try:
            module.load_state_dict(start.module.state_dict())
        except RuntimeError as error:
            raise ValueError(
                f"start: {start.name} does not fit into the network to be trained ({str(error).splitlines()[0]});"
                " give weights of the same kind and size"
            ) from error
    return module.to(device=machine.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def write_network(run: Path, network: Any, values: Mapping[str, Tensor], name: str) -> str:
    """Write weights as `<name>.safetensors` into the run's folder and return their sha256."""
    return save_network(
        run / f"{name}.safetensors",
        values,
        name=name,
        architecture=network.architecture,
        channels=network.channels,
        pairs=network.pairs,
    )
