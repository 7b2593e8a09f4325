"""One answer from many processes under torch.distributed: moments are summed, rows are gathered.

Every process of the group must make the same calls in the same order, also those that saw no picture.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from metrics.moments import Moments

__all__ = ["all_reduce_moments", "gather_rows"]


def all_reduce_moments(moments: Moments, group: dist.ProcessGroup | None = None) -> Moments:
    """Return the moments of all processes' rows, the same on each; `moments` keeps its own.

    Counts and means go first, width + 1 numbers; then every process shifts its scatter to the common mean, as in Chan's
    merge, and the lower halves are summed in one flat all-reduce of width * (width + 1) / 2 numbers. Agrees with one
    process to rounding, 1e-12 of the variance, since sums are formed in another order.

    Args:
        moments: this process's; may be empty.
        group: of the processes; None for all.

    Raises:
        ValueError: on every process, when widths differ.
    """
    width = _agreed("the moments' width", moments.width, group)
    device = _transport(moments.device, group)
    sums = torch.zeros(width + 1, dtype=torch.float64, device=device)
    if moments.count:
        sums[0], sums[1:] = moments.count, moments.mean.to(device) * moments.count
    dist.all_reduce(sums, group=group)
    count = int(sums[0])
    if not count:
        return Moments(width)
    mean = sums[1:] / count
    scatter = _about(moments, mean)
    row, column = torch.tril_indices(width, width, device=device)
    packed = scatter[row, column]
    dist.all_reduce(packed, group=group)
    scatter[row, column] = packed
    scatter[column, row] = packed
    state = {"width": width, "count": count, "mean": mean, "scatter": scatter}
    return Moments.from_state_dict({name: _home(value, moments) for name, value in state.items()})


def gather_rows(rows: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """Return all processes' rows on each, in the order of the ranks; for features, logits and descriptors.

    Processes may have different counts, also none. Every process then holds all rows: for moments alone
    `all_reduce_moments` sends far less.

    Args:
        rows: (n, ...), n may differ; on the same kind of device everywhere.
        group: of the processes; None for all.

    Raises:
        ValueError: on every process, when dtypes or the shapes of a row differ.
    """
    _agreed("dtype and shape of a row", (str(rows.dtype), tuple(rows.shape[1:])), group)
    counts = _everyones(len(rows), group)
    device = _transport(rows.device, group)
    mine = torch.zeros(max(counts), *rows.shape[1:], dtype=rows.dtype, device=device)
    mine[: len(rows)] = rows.detach()
    parts = [torch.empty_like(mine) for _ in counts]
    if max(counts):
        dist.all_gather(parts, mine, group=group)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).to(rows.device)


def _about(moments: Moments, mean: Tensor) -> Tensor:
    """Return this process's scatter about another mean."""
    if not moments.count:
        return torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
    apart = moments.mean.to(mean.device) - mean
    return moments.scatter().to(mean.device) + moments.count * torch.outer(apart, apart)


def _agreed(what: str, mine: Any, group: dist.ProcessGroup | None) -> Any:
    """Return what all processes have in common; else the collectives below would hang or mix memory."""
    all_of_them = _everyones(mine, group)
    if any(other != mine for other in all_of_them):
        raise ValueError(f"{what} must be the same in all processes, got {all_of_them} by rank; use one extractor")
    return mine


def _everyones(mine: Any, group: dist.ProcessGroup | None) -> list[Any]:
    if not dist.is_initialized():
        raise ValueError("no process group; call torch.distributed.init_process_group first, or merge in one process")
    gathered: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, mine, group=group)
    return gathered


def _transport(device: torch.device, group: dist.ProcessGroup | None) -> torch.device:
    """Return where tensors must lie to be sent: NCCL sends from the GPU alone, gloo from the CPU."""
    if dist.get_backend(group) == "nccl":
        return device if device.type == "cuda" else torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _home(value: Any, moments: Moments) -> Any:
    return value.to(moments.device) if isinstance(value, Tensor) else value
