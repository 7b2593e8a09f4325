"""One pass over a source that feeds everything: pictures are decoded, copied and computed on at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from jaxtyping import UInt8
from torch import Tensor

from metrics.arrays import ArrayLike
from metrics.feature_store import FeatureStore
from metrics.features.interface import Embedding, FeatureExtractor
from metrics.sources.batches import MixedBatch
from metrics.sources.source import ImageSource

__all__ = ["Consumer", "Extraction", "NetworkRows", "Pass", "extract", "one_pass", "usual_batch_size"]

CPU_BATCH = 32
"""Pictures; networks gain nothing from more on a core."""
CUDA_BATCH = 256
CUDA_BYTES_A_PICTURE = 64 * 2**20
"""Set aside for each picture of a batch by "auto": two to three times what Inception needs at 299 pixels."""

RowConsumer = Callable[[Tensor, int], None]
"""Called with rows and the index of the first one's picture."""


class Consumer(Protocol):
    """Something that one pass feeds."""

    part: str
    """What its time is reported as, such as "features"."""

    def add(self, batch: MixedBatch) -> None:
        """Take in the next pictures; `batch.first_index` says which."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass did."""

    count: int
    """Pictures seen."""
    batch_size: int
    seconds: dict[str, float]
    """Waiting for "pictures", then each consumer's part; on CUDA a part's time on the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """A network's rows for all pictures of a source."""

    features: FeatureStore
    logits: FeatureStore | None
    """None where the network has no classifier."""
    count: int
    batch_size: int
    seconds: dict[str, float]
    """As in `Pass`."""


def one_pass(
    source: ImageSource,
    consumers: Sequence[Consumer],
    *,
    device: torch.device | str,
    batch_size: int | str = "auto",
    progress: Callable[[int, int | None], None] | None = None,
) -> Pass:
    """Feed every picture of a source to all consumers, once, in order.

    Args:
        source: the pictures, or this process's part of them.
        consumers: each is given every batch. Pictures do not depend on the batch size; a network's rows do by float32
            rounding, 2e-6 of the greatest for EfficientNet-Lite0 at 7 against 32, since kernels are chosen by size.
        device: where the pictures go.
        batch_size: pictures at a time; "auto" takes 32 on a CPU, and on CUDA one for each 64 MiB of free memory, at
            most 256.
        progress: called after each batch with the pictures done and their number, None for a stream.
    """
    place = torch.device(device)
    size = _batch_size(batch_size, place)
    clock = _Clock(place, ["pictures", *(consumer.part for consumer in consumers)])
    count = 0
    batches = source.mixed_batches(size, place)
    while True:
        with clock.waiting("pictures"):
            batch = next(batches, None)
        if batch is None:
            break
        for consumer in consumers:
            with clock.working(consumer.part):
                consumer.add(batch)
        count += batch.count
        if progress:
            progress(count, source.count)
    return Pass(count=count, batch_size=size, seconds=clock.seconds())


def extract(
    source: ImageSource,
    network: FeatureExtractor,
    *,
    batch_size: int | str = "auto",
    progress: Callable[[int, int | None], None] | None = None,
) -> Extraction:
    """Return a network's features and logits of every picture; see `one_pass` for the arguments."""
    rows = NetworkRows("features", network)
    done = one_pass(source, [rows], device=network.device, batch_size=batch_size, progress=progress)
    return Extraction(
        features=rows.features,
        logits=rows.logits,
        count=done.count,
        batch_size=done.batch_size,
        seconds=done.seconds,
    )


@dataclass(slots=True)
class NetworkRows:
    """A consumer that runs a network and keeps its rows in stores, passing them on to whoever else wants them.

    When CUDA has not enough memory for a batch, it is run in halves, and so are the next ones.
    """

    part: str
    network: FeatureExtractor
    on_features: Sequence[RowConsumer] = ()
    on_logits: Sequence[RowConsumer] = ()
    features: FeatureStore = field(init=False)
    logits: FeatureStore | None = field(init=False, default=None)
    _most: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.features = FeatureStore(self.network.width)

    def add(self, batch: MixedBatch) -> None:
        """Run the network on each size of picture, and put the rows back in the pictures' order."""
        parts = [self._embed(group.images) for group in batch.groups]
        places = [place for group in batch.groups for place in group.places]
        features = _in_order([part.features for part in parts], places)
        scores = [part.logits for part in parts if part.logits is not None]
        logits = _in_order(scores, places) if scores else None
        self.keep(features, logits, first_index=batch.first_index)
        for take in self.on_features:
            take(features, batch.first_index)
        if logits is not None:
            for take in self.on_logits:
                take(logits, batch.first_index)

    def keep(self, features: ArrayLike, logits: ArrayLike | None, *, first_index: int) -> None:
        """Put rows of the pictures from `first_index` on into the stores, wherever the network ran."""
        self.features.update(features, first_index=first_index)
        if logits is not None:
            if self.logits is None:
                self.logits = FeatureStore(logits.shape[1])
            self.logits.update(logits, first_index=first_index)

    def _embed(self, images: UInt8[Tensor, "n 3 h w"]) -> Embedding:
        while True:
            size = min(self._most or len(images), len(images))
            try:
                return _joined(
                    [self.network.embed(images[start : start + size]) for start in range(0, len(images), size)]
                )
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
            torch.cuda.empty_cache()  # outside of the handler, whose traceback keeps the failed tensors
            self._most = (size + 1) // 2


def _joined(parts: list[Embedding]) -> Embedding:
    if len(parts) == 1:
        return parts[0]
    logits = [part.logits for part in parts if part.logits is not None]
    return Embedding(
        features=torch.cat([part.features for part in parts]), logits=torch.cat(logits) if logits else None
    )


def _in_order(parts: list[Tensor], places: list[int]) -> Tensor:
    """Return the groups' rows at the places of their pictures."""
    if len(parts) == 1:
        return parts[0]
    rows = torch.cat(parts)
    order = torch.argsort(torch.tensor(places)).to(rows.device)
    return rows[order]


def usual_batch_size(device: str) -> int:
    """Return what "auto" means on such a device where memory is no matter, the same on every machine."""
    return CUDA_BATCH if torch.device(device).type == "cuda" else CPU_BATCH


def _batch_size(wanted: int | str, device: torch.device) -> int:
    if wanted != "auto":
        if not isinstance(wanted, int) or wanted < 1:
            raise ValueError(f'batch_size must be a whole number of at least 1, or "auto", got {wanted!r}')
        return wanted
    if device.type != "cuda":
        return CPU_BATCH
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(CUDA_BATCH, free // CUDA_BYTES_A_PICTURE))


class _Clock:
    """Adds up where the time goes; on CUDA by events, which cost no waiting until the end."""

    def __init__(self, device: torch.device, parts: Sequence[str]) -> None:
        self._device = device
        self._seconds = dict.fromkeys(parts, 0.0)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def waiting(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] += time.perf_counter() - start

    @contextmanager
    def working(self, part: str) -> Iterator[None]:
        if self._device.type != "cuda":
            with self.waiting(part):
                yield
            return
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(torch.cuda.current_stream(self._device))
        yield
        end.record(torch.cuda.current_stream(self._device))
        self._events.append((part, start, end))

    def seconds(self) -> dict[str, float]:
        """Return each part's sum."""
        if self._events:
            torch.cuda.synchronize(self._device)
        for part, start, end in self._events:
            self._seconds[part] += start.elapsed_time(end) / 1000
        self._events.clear()
        return dict(self._seconds)
