"""A set of pictures to be measured, wherever it comes from; made by `metrics.sources.opening.open_source`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import torch

from metrics.sources.batches import RESIZE_METHOD, Batch, Block, MixedBatch, batched, on_device, resized
from metrics.sources.conversion import Tally
from metrics.sources.summary import Summary

__all__ = ["ImageSource", "MixedSizes", "NoPictures", "Noticed", "Pictures"]

FINGERPRINT_VERSION = b"progan-hq/pictures 1"
"""Raised when the same files give other pixels."""


class MixedSizes(ValueError):
    """Pictures differ in size where they must not; the message names the first two that differ."""


class NoPictures(ValueError):
    """A source holds nothing to measure; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noticed:
    """What a pass over pictures showed beside the pictures: what a source tells of them comes of it."""

    sizes: dict[tuple[int, int], int]
    """Pictures of each (height, width)."""
    tally: Tally

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        return {"sizes": [[*size, count] for size, count in self.sizes.items()], "tally": asdict(self.tally)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Noticed:
        """Return what `to_json` was made of."""
        sizes = {(height, width): count for height, width, count in values["sizes"]}
        return cls(sizes=sizes, tally=Tally(**values["tally"]))


class Pictures(Protocol):
    """What every kind of source offers; `ImageSource` makes batches of it."""

    name: str
    """For messages and the report."""
    count: int | None
    """Pictures in it, or None for a stream that must be read to its end."""

    @property
    def tally(self) -> Tally:
        """What was noticed while pictures were converted; may be added to."""
        ...

    def blocks(self, chosen: Sequence[int], *, size: int) -> Iterator[Block]:
        """Yield pictures as (place in `chosen`, images), about `size` at a time; a stream ignores what is chosen."""
        ...

    def label(self, index: int) -> str:
        """Return what to call picture `index`."""
        ...

    def digests(self, chosen: Sequence[int]) -> list[bytes] | None:
        """Return a sha256 of each picture's content, read anew or remembered of this run; None for streams."""
        ...

    def summary(self, chosen: Sequence[int]) -> Summary:
        """Return what is known of the chosen pictures; this may read all of them once."""
        ...


class ImageSource:
    """Pictures in a fixed order, each with its index, in 8-bit RGB.

    Neither the batch size nor the number of processes that share a source changes a picture or its index.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        chosen: Sequence[int],
        first_index: int = 0,
        size: tuple[int, int] | None = None,
        note: str = "",
    ) -> None:
        if pictures.count is not None and not len(chosen):
            raise NoPictures(f"{pictures.name} holds no pictures; look whether it is the right one")
        self._pictures = pictures
        self._chosen = chosen
        self._first_index = first_index
        self._size = size
        self._note = note
        self._seen_sizes: Counter[tuple[int, int]] = Counter()

    @property
    def name(self) -> str:
        """What the source is called in messages and reports."""
        return self._pictures.name

    @property
    def count(self) -> int | None:
        """Pictures in this source, or in this part of it, also those that will be skipped; None for a stream."""
        return None if self._pictures.count is None else len(self._chosen)

    @property
    def resize(self) -> str:
        """How pictures are resized, for the report; empty where they are taken as they are."""
        return f"{RESIZE_METHOD} to {self._size[0]} x {self._size[1]}" if self._size else ""

    def __len__(self) -> int:
        if self.count is None:
            raise TypeError(f"{self.name} is a stream: its length is not known before its end")
        return self.count

    def __repr__(self) -> str:
        return f"ImageSource({self.name!r}, count={self.count})"

    def batches(self, size: int, device: torch.device | str | None = None) -> Iterator[Batch]:
        """Yield batches of `size` pictures that all have one height and width.

        Args:
            size: pictures in a batch; the last may have fewer, and so may one before a picture that was skipped.
            device: where to put them; None leaves them where they come from.

        Raises:
            MixedSizes: at the first picture of another size; see `mixed_batches` and `open_source(size=)`.
            ValueError: for pictures that cannot be used; the message names the source and the picture.
        """
        first: tuple[int, tuple[int, int]] | None = None
        for batch in self.mixed_batches(size, device):
            for group in batch.groups:
                here = batch.first_index + group.places[0], _size_of(group.images)
                first = first or here
                if here[1] != first[1]:
                    raise self._mixed(first, here)
            yield Batch(images=batch.groups[0].images, first_index=batch.first_index)

    def mixed_batches(self, size: int, device: torch.device | str | None = None) -> Iterator[MixedBatch]:
        """Yield batches of `size` consecutive pictures of any sizes, for networks that resize each by itself.

        Arguments and errors as in `batches`, except `MixedSizes`.
        """
        if size < 1:
            raise ValueError(f"a batch must hold at least 1 picture, got size {size}")
        place = None if device is None else torch.device(device)
        self._seen_sizes.clear()
        found = False
        for batch in on_device(batched(self._blocks(size), size), place):
            found = True
            yield resized(batch, self._size) if self._size else batch
        if not found:
            raise NoPictures(f"{self.name} gave no pictures; look whether it is the right one")

    def part(self, rank: int, world: int) -> ImageSource:
        """Return the share of process `rank` of `world`: a run of neighbours that keep their indices.

        Raises:
            ValueError: for a stream, whose length is not known; or when there are fewer pictures than processes.
        """
        if not 0 <= rank < world:
            raise ValueError(f"rank must be in 0..{world - 1} for {world} processes, got {rank}")
        if self.count is None:
            raise ValueError(
                f"{self.name} is a stream and cannot be shared out; give each process its own share as a source, or"
                " give a folder, an archive, an array, a data set or a generator"
            )
        if self.count < world:
            raise ValueError(f"{self.name} holds {self.count} pictures, fewer than the {world} processes")
        start, stop = (self.count * number // world for number in (rank, rank + 1))
        return self.stretch(start, stop)

    def stretch(self, start: int, stop: int) -> ImageSource:
        """Return the pictures from `start` up to `stop`, which keep their indices; of a source of known length."""
        return ImageSource(
            self._pictures,
            chosen=self._chosen[start:stop],
            first_index=self._first_index + start,
            size=self._size,
            note=self._note,
        )

    def noticed(self) -> Noticed:
        """Return what the last pass showed."""
        return Noticed(sizes=dict(self._seen_sizes), tally=replace(self._pictures.tally))

    def notice(self, noticed: Noticed) -> None:
        """Take in what another process's pass over a stretch of this source showed, as if it had been made here."""
        self._seen_sizes.update(noticed.sizes)
        self._pictures.tally.add(noticed.tally)

    def fingerprint(self) -> str | None:
        """Return a sha256 of the pictures' content and order, or None for streams and generators.

        It comes of every byte: of files as they are stored, of arrays as they lie in memory. Names, times and places
        of files are not in it, so a copy elsewhere has the same. What a pass over the pictures has read counts as read;
        the rest is read for it, at some 1.4 GB/s a core where the disk keeps up.
        """
        digests = self._pictures.digests(self._chosen)
        if digests is None:
            return None
        total = hashlib.sha256(FINGERPRINT_VERSION)
        total.update(f"{self.resize}|{len(digests)}|".encode())
        for digest in digests:
            total.update(digest)
        return total.hexdigest()

    def summary(self) -> Summary:
        """Return formats, sizes and notes; files that no pass has read are read (but not decoded) for it."""
        found = self._pictures.summary(self._chosen)
        notes = [*([self._note] if self._note else []), *found.notes]
        sizes = found.sizes or dict(self._seen_sizes)
        if self._size and any(size != self._size for size in sizes):
            notes.append(f"{self.name}: pictures were resized, {self.resize}")
            notes.extend(_distortion(self.name, dict(sizes), self._size))
        return replace(found, sizes=sizes, notes=tuple(notes))

    def notes(self) -> list[str]:
        """Return what a user must know about these pictures; complete after a pass over them."""
        return list(self.summary().notes)

    def sizes(self) -> dict[tuple[int, int], int]:
        """Return how many pictures have each (height, width) as they leave this source; reads files like `summary`."""
        if self._size:
            return {self._size: self.count or sum(self._seen_sizes.values())}
        return dict(self.summary().sizes)

    def _blocks(self, size: int) -> Iterator[Block]:
        for place, images in self._pictures.blocks(self._chosen, size=size):
            self._seen_sizes[_size_of(images)] += len(images)
            yield self._first_index + place, images

    def _mixed(self, one: tuple[int, tuple[int, int]], other: tuple[int, tuple[int, int]]) -> MixedSizes:
        named = [f"{self._label(index)} is {height} x {width}" for index, (height, width) in (one, other)]
        return MixedSizes(
            f"{self.name}: pictures must have one size here, but {named[0]} and {named[1]}; prepare them alike, or"
            f" resize them all with size={one[1][0]}"
        )

    def _label(self, index: int) -> str:
        place = index - self._first_index
        return self._pictures.label(self._chosen[place] if place < len(self._chosen) else index)


def _size_of(images: torch.Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


def _distortion(name: str, sizes: dict[tuple[int, int], int], wanted: tuple[int, int]) -> list[str]:
    """Return a note about pictures whose proportions change by more than a pixel's rounding."""
    changed = sum(count for size, count in sizes.items() if not _proportional(size, wanted))
    if not changed:
        return []
    return [f"{name}: {changed} pictures were stretched to other proportions; crop them first if that is not meant"]


def _proportional(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Return whether one side follows from the other by the same factor, to the nearest pixel."""
    rows, columns = wanted[1] * size[0] / size[1], wanted[0] * size[1] / size[0]
    return abs(rows - wanted[0]) <= 0.5 or abs(columns - wanted[1]) <= 0.5
