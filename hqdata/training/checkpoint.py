"""The state of a training run on disk: one safetensors file and one JSON file, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hqdata.atomic import atomic_path, write_json

__all__ = ["STATE_FILE", "Average", "load_state", "save_state"]

STATE_FILE = "state.json"


class Average:
    """Exponential moving average of a network's parameters: what is shipped in the end.

    Args:
        network: the network being trained.
        decay: share kept at each update.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, images: int, batch: int) -> None:
        """Move towards the network; faster in the beginning, so that the start is forgotten."""
        steps = images // batch
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for name, value in network.state_dict().items():
            self.values[name].lerp_(value, 1.0 - decay)

    @torch.no_grad()
    def take(self, values: Mapping[str, Tensor]) -> None:
        """Become these values, on the device where the average is kept."""
        for name, value in self.values.items():
            value.copy_(values[name])


def save_state(
    folder: Path,
    *,
    progress: Mapping[str, Any],
    networks: Mapping[str, Mapping[str, Tensor]],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    """Write the run's state under a name that holds its progress, then point `state.json` at it.

    Args:
        folder: the run's folder.
        progress: JSON values; `images` names the state.
        networks: state dictionaries by name.
        optimizers: Adam optimizers by name.
    """
    tensors = {f"{name}/{key}": value for name, values in networks.items() for key, value in values.items()}
    for name, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{key}": torch.as_tensor(value) for key, value in moments.items()}
    file = f"state-{progress['images']}.safetensors"
    with atomic_path(folder / file) as temporary:
        save_file({key: value.contiguous() for key, value in tensors.items()}, temporary)
    write_json(folder / STATE_FILE, {**progress, "file": file})
    for old in folder.glob("state-*.safetensors"):
        if old.name != file:
            old.unlink()


def load_state(
    folder: Path, *, networks: Mapping[str, nn.Module | Average], optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, Any] | None:
    """Restore everything in place and return the progress, or None when the run has not been saved yet."""
    if not (folder / STATE_FILE).exists():
        return None
    progress = json.loads((folder / STATE_FILE).read_text())
    tensors = load_file(folder / progress["file"])
    for name, network in networks.items():
        values = _under(tensors, name)
        if isinstance(network, Average):
            network.take(values)
        else:
            network.load_state_dict(values)
    for name, optimizer in optimizers.items():
        _restore_moments(optimizer, _under(tensors, name))
    return progress


def _restore_moments(optimizer: torch.optim.Optimizer, values: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in values.items():
        index, field = key.split("/")
        moments.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def _under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}/")}
