"""Real pictures in the order of a training: which ones come next is a function of the seed and the images shown."""

from __future__ import annotations

import functools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from gan.layers import enlarge, shrink
from gan.pictures import Pictures
from gan.streams import stream
from gan.zoo.networks import Fade

__all__ = ["Feed", "Minibatch", "order", "prepare"]


def order(count: int, *, seed: int, first: int, size: int) -> Int64[np.ndarray, " size"]:
    """Return which of `count` pictures are shown as number first, first + 1, ... of a training.

    Every picture is shown once in each epoch, in an order of the epoch's own.

    >>> sorted(order(5, seed=0, first=5, size=5).tolist())
    [0, 1, 2, 3, 4]
    """
    places = np.arange(first, first + size)
    epochs = places // count
    chosen = np.empty(size, dtype=np.int64)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        here = epochs == epoch
        chosen[here] = _epoch_order(count, seed, epoch)[places[here] % count]
    return chosen


@functools.lru_cache(maxsize=2)
def _epoch_order(count: int, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def prepare(
    images: UInt8[Tensor, "n c h w"], mirrored: UInt8[Tensor, " n"] | None, fade: Fade
) -> Float[Tensor, "n c h w"]:
    """Return stored pictures as the discriminator is to see them, on their own device.

    Args:
        images: uint8.
        mirrored: 1 for pictures to turn left to right; None for none.
        fade: below 1 the pictures are mixed with their enlarged halves, as the generator's are (Karras et al. 2018).

    Returns:
        float32 in -1..1.
    """
    values = images.float() / 127.5 - 1.0
    if mirrored is not None:
        values = torch.where(mirrored.bool().reshape(-1, 1, 1, 1), values.flip(3), values)
    if isinstance(fade, Tensor) or fade < 1.0:
        values = torch.lerp(enlarge(shrink(values)), values, torch.as_tensor(fade, device=values.device))
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Minibatch:
    """Real pictures on the device, as stored."""

    images: UInt8[Tensor, "b c h w"]
    mirrored: UInt8[Tensor, " b"] | None
    """1 where the picture is to be turned left to right; None where none is."""
    labels: Float32[Tensor, "b k"] | None


_Reading: TypeAlias = "tuple[tuple[int, int, int], Future[tuple[Tensor, np.ndarray]]]"


class Feed:
    """Reads minibatches ahead of a training, in a thread of its own.

    Args:
        pictures: to draw from.
        seed: of the training.
        mirror: show every second picture mirrored, at random.
        device: where the pictures are wanted.
    """

    def __init__(self, pictures: Pictures, *, seed: int, mirror: bool, device: str) -> None:
        self._pictures, self._seed, self._mirror, self._device = pictures, seed, mirror, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead: _Reading | None = None

    def take(self, images: int, size: int, level: int, share: Int64[Tensor, " b"]) -> Minibatch:
        """Return this process's part of the minibatch that begins after `images` shown.

        Args:
            images: real pictures shown so far.
            size: of the whole minibatch.
            level: whose pictures.
            share: places within the minibatch that are wanted.
        """
        key = (images, size, level)
        if self._ahead is None or self._ahead[0] != key:
            self._ahead = self._begin(key, share)
        stored, chosen = self._ahead[1].result()
        self._ahead = None
        labels = self._pictures.labels
        return Minibatch(
            images=self._on_device(stored),
            mirrored=self._mirrored(images, size, share),
            labels=None if labels is None else self._on_device(labels[torch.from_numpy(chosen)]),
        )

    def read_ahead(self, images: int, size: int, level: int, share: Int64[Tensor, " b"]) -> None:
        """Begin to read what the next `take` will ask for."""
        self._ahead = self._begin((images, size, level), share)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _begin(self, key: tuple[int, int, int], share: Tensor) -> _Reading:
        return key, self._thread.submit(self._read, *key, share)

    def _read(self, images: int, size: int, level: int, share: Tensor) -> tuple[Tensor, np.ndarray]:
        chosen = order(len(self._pictures), seed=self._seed, first=images, size=size)[share.numpy()]
        stored = self._pictures.batch(chosen, level)
        return (stored.pin_memory() if self._device.startswith("cuda") else stored), chosen

    def _mirrored(self, images: int, size: int, share: Tensor) -> Tensor | None:
        if not self._mirror:
            return None
        coins = torch.randint(0, 2, (size,), generator=stream(self._seed, "mirror", images), dtype=torch.uint8)
        return self._on_device(coins[share])

    def _on_device(self, values: Tensor) -> Tensor:
        return values.to(self._device, non_blocking=True)
