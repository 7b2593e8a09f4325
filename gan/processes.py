"""Several processes that train one pair of networks: equal weights everywhere, gradients averaged once a step."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor, nn

__all__ = ["ALONE", "Processes", "deal", "join_processes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def share(self, minibatch: int, group: int) -> Int64[Tensor, " b"]:
        """Return the places of the minibatch that are this process's."""
        return deal(minibatch, group, self.world)[self.rank]

    def average_gradients(self, network: nn.Module) -> None:
        """Replace every gradient by its sum over the processes, in one message; parameters without one stay so."""
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].reshape(gradient.shape))
            start += gradient.numel()

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the values of the leading one."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor.detach(), src=0)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over the processes, the same in all of them; all must ask."""
        if self.world > 1:
            torch.distributed.all_reduce(values)
        return values

    def any(self, here: bool) -> bool:
        """Return whether it holds in at least one process; all must ask."""
        if self.world == 1:
            return here
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        return bool(self.sum(torch.tensor([float(here)], device=device)).item() > 0)


ALONE = Processes()
"""The only process."""


def deal(size: int, group: int, parts: int) -> list[Int64[Tensor, " b"]]:
    """Return which pictures of a minibatch go into each of several parts of whole stddev groups.

    Groups are strided through the minibatch (see `gan.layers.MinibatchStddev`), and each part's groups are strided
    through the part, so that the statistics are those of the minibatch in one piece.

    Args:
        size: pictures to deal.
        group: pictures in a group; more than `size` means one group.
        parts: how many.

    Raises:
        ValueError: when the groups cannot be dealt evenly.

    >>> [part.tolist() for part in deal(8, 2, 2)]
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    group = min(group, size)
    if size % group or size // group % parts:
        raise ValueError(f"{size} pictures in groups of {group} cannot be dealt evenly to {parts} parts")
    dealt = torch.arange(size).reshape(group, parts, -1)
    return [dealt[:, part].reshape(-1) for part in range(parts)]


def join_processes(device: str) -> Processes:
    """Join the others that torchrun started, or be alone where it did not.

    Args:
        device: "cuda" for one GPU a process with NCCL, else gloo.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return ALONE
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return Processes(rank=torch.distributed.get_rank(), world=torch.distributed.get_world_size())
