"""Batches of pictures on the device that wants them: equal or mixed sizes, resized or not, copied ahead of need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

__all__ = ["RESIZE_METHOD", "Batch", "Block", "MixedBatch", "SizeGroup", "batched", "on_device", "resized"]

RESIZE_METHOD = "bicubic antialiased (a = -0.5), float32, rounded"
"""How pictures are brought to the size asked for; belongs in every report of resized pictures."""

Block = tuple[int, UInt8[Tensor, "n 3 h w"]]
"""Consecutive pictures of one size with the index of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Consecutive pictures of one size."""

    images: UInt8[Tensor, "n 3 h w"]
    """Contiguous, 0..255 RGB; perhaps a view of the caller's own memory, so not to be written to."""
    first_index: int
    """Place of the first picture in the whole source, whichever part of it this process has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeGroup:
    """Those pictures of a batch that have one size."""

    images: UInt8[Tensor, "k 3 h w"]
    places: tuple[int, ...]
    """Where each stands in its batch, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedBatch:
    """Consecutive pictures of any sizes, sorted by size."""

    groups: tuple[SizeGroup, ...]
    first_index: int

    @property
    def count(self) -> int:
        """Pictures in all groups."""
        return sum(len(group.places) for group in self.groups)


def batched(blocks: Iterable[Block], size: int) -> Iterator[MixedBatch]:
    """Yield batches of `size` pictures; the last, and one that ends before a missing index, may be smaller."""
    held: list[Block] = []
    count = 0
    for first, images in blocks:
        if held and first != held[0][0] + count:
            yield _grouped(held)
            held, count = [], 0
        while count + len(images) >= size:
            part = size - count
            yield _grouped([*held, (first, images[:part])])
            first, images = first + part, images[part:]
            held, count = [], 0
        if len(images):
            held.append((first, images))
            count += len(images)
    if held:
        yield _grouped(held)


def resized(batch: MixedBatch, size: tuple[int, int]) -> MixedBatch:
    """Return the batch with every picture stretched to `size`, (height, width); see `RESIZE_METHOD`.

    Computed on the pictures' device. Each picture's result depends on that picture alone.
    """
    groups = tuple(SizeGroup(images=_stretched(group.images, size), places=group.places) for group in batch.groups)
    if len(groups) == 1:
        return MixedBatch(groups=groups, first_index=batch.first_index)
    images = torch.empty((batch.count, 3, *size), dtype=torch.uint8, device=groups[0].images.device)
    for group in groups:
        images[torch.tensor(group.places, device=images.device)] = group.images
    whole = SizeGroup(images=images, places=tuple(range(batch.count)))
    return MixedBatch(groups=(whole,), first_index=batch.first_index)


def on_device(batches: Iterator[MixedBatch], device: torch.device | None) -> Iterator[MixedBatch]:
    """Yield the batches on `device`, or where they are; copies to CUDA run one batch ahead on a stream of their own."""
    if device is None or device.type != "cuda":
        yield from (batch if device is None else _moved(batch, device) for batch in batches)
        return
    copying = torch.cuda.Stream(device)
    waiting: tuple[MixedBatch, torch.cuda.Event] | None = None
    for batch in batches:
        if any(group.images.is_cuda for group in batch.groups):  # made there, by work on the current stream
            if waiting:
                yield _arrived(*waiting, device)
            waiting = None
            yield _moved(batch, device)
            continue
        with torch.cuda.stream(copying):
            moved = _moved(batch, device)
        done = torch.cuda.Event()
        done.record(copying)
        if waiting:
            yield _arrived(*waiting, device)
        waiting = moved, done
    if waiting:
        yield _arrived(*waiting, device)


def _grouped(blocks: list[Block]) -> MixedBatch:
    """Return the blocks as one batch; a single block is taken without a copy."""
    places: dict[tuple[int, ...], list[int]] = {}
    images: dict[tuple[int, ...], list[Tensor]] = {}
    start = blocks[0][0]
    for first, block in blocks:
        shape = tuple(block.shape[1:])
        places.setdefault(shape, []).extend(range(first - start, first - start + len(block)))
        images.setdefault(shape, []).append(block)
    groups = [
        SizeGroup(images=torch.cat(images[shape]) if len(images[shape]) > 1 else images[shape][0], places=tuple(where))
        for shape, where in places.items()
    ]
    return MixedBatch(groups=tuple(groups), first_index=start)


def _stretched(images: UInt8[Tensor, "n 3 h w"], size: tuple[int, int]) -> UInt8[Tensor, "n 3 i j"]:
    if images.shape[2:] == size:
        return images
    stretched = functional.interpolate(images.float(), size=size, mode="bicubic", antialias=True)
    return stretched.round_().clamp_(0, 255).to(torch.uint8)


def _moved(batch: MixedBatch, device: torch.device) -> MixedBatch:
    """Return the batch on `device`, by way of pinned memory where a copy can then overlap with work."""
    groups = []
    for group in batch.groups:
        images = group.images
        if device.type == "cuda" and images.device.type == "cpu":
            images = images.pin_memory()
        groups.append(SizeGroup(images=images.to(device, non_blocking=True), places=group.places))
    return MixedBatch(groups=tuple(groups), first_index=batch.first_index)


def _arrived(batch: MixedBatch, done: torch.cuda.Event, device: torch.device) -> MixedBatch:
    """Return the batch for use on the current stream, which waits for its copy."""
    current = torch.cuda.current_stream(device)
    current.wait_event(done)
    for group in batch.groups:
        group.images.record_stream(current)
    return batch
