"""What a training step costs, counted on our own networks without computing anything.

The real steps of `gan.steps` run on meta tensors, which have shapes and no contents, while a dispatch mode looks at
every operation: its floating-point operations, the bytes it reads and writes, and which tensors are alive. (torch's own
FlopCounterMode fails on gradients of gradients.) All tensors are float32 here; with bfloat16 about half the bytes move.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from gan.config import GanConfig
from gan.steps import Part, Steps
from gan.zoo.registry import build_discriminator, build_generator
from hqdata.training.machine import Machine

__all__ = ["Costs", "StepCosts", "count_costs", "step_costs"]

FREE = {torch.ops.aten._unsafe_view.default}
"""Views that do not say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What some computation takes, in float32."""

    flops: int
    """Of convolutions and matrix products; a multiplication and an addition are two."""
    bytes_moved: int
    """Read and written by all operations, each for itself, as in eager execution."""
    convolution_bytes_moved: int
    """Those of the convolutions alone, which are left when everything else is fused into them."""
    operations: int
    """Operations that start a kernel on a GPU."""
    peak_bytes: int
    """Most bytes that were alive at once, of what was made on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCosts:
    """Of one step of each network on one minibatch."""

    discriminator: Costs
    generator: Costs


def count_costs(run: Callable[[], object]) -> Costs:
    """Return what a call costs; on meta tensors it takes about a millisecond an operation and no memory.

    >>> layer, rows = torch.nn.Linear(3, 5, bias=False, device="meta"), torch.empty(7, 3, device="meta")
    >>> count_costs(lambda: layer(rows)).flops == 2 * 3 * 5 * 7
    True
    """
    with _Counter() as counter:
        run()
    return Costs(
        flops=counter.flops,
        bytes_moved=counter.bytes_moved,
        convolution_bytes_moved=counter.convolution_bytes_moved,
        operations=counter.operations,
        peak_bytes=counter.peak_bytes,
    )


def step_costs(config: GanConfig, *, level: int, minibatch: int) -> StepCosts:
    """Return what one step of each network costs at a stable level; a fade adds up to 2 %.

    Args:
        config: of the training.
        level: log2 of the resolution.
        minibatch: pictures in one process, a multiple of the stddev group or below it.
    """
    shape = config.networks
    with torch.device("meta"):
        generator = build_generator(shape.architecture, shape=shape)
        discriminator = build_discriminator(shape.architecture, shape=shape)
        part = _part(config, level, minibatch)
    steps = Steps(generator, discriminator, config.loss, machine=Machine())
    return StepCosts(
        discriminator=count_costs(lambda: steps.discriminator(part)),
        generator=count_costs(lambda: steps.generator(part)),
    )


def _part(config: GanConfig, level: int, minibatch: int) -> Part:
    shape = config.networks
    labels = torch.empty(minibatch, shape.labels) if shape.labels else None
    return Part(
        latents=torch.empty(minibatch, shape.latent),
        labels=labels,
        real=torch.empty(minibatch, shape.channels, *shape.size(level)),
        real_labels=labels,
        shares=torch.empty(minibatch),
        minibatch=minibatch,
        level=level,
        fade=1.0,
    )


class _Counter(TorchDispatchMode):
    """Looks at every operation below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes_moved = self.convolution_bytes_moved = self.operations = self.peak_bytes = 0
        self._alive_bytes = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        if not (func.is_view or func in FREE):
            moved = sum(value.nbytes for value in tree_leaves((args, kwargs, out)) if isinstance(value, Tensor))
            self.bytes_moved += moved
            self.convolution_bytes_moved += moved if "convolution" in func.name() else 0
            self.operations += 1
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._hold(value.untyped_storage())
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        """Count a storage that is new, until it is freed."""
        key = id(storage)  # one object for a storage's whole life
        if key in self._alive:
            return
        self._alive.add(key)
        self._alive_bytes += storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, self._alive_bytes)
        weakref.finalize(storage, self._free, key, storage.nbytes()).atexit = False

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self._alive_bytes -= size
