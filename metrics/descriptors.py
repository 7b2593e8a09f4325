"""Patch descriptors for the sliced Wasserstein distance (Karras et al. 2018, section 5): small squares of every scale.

They are gathered while pictures stream by, merge over processes, and do not depend on how pictures were batched: the
places of a picture's patches are a hash of (seed, role, the picture's index, level, patch).
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float, Float32, Float64, Int64, UInt8
from torch import Tensor

from metrics.arrays import ArrayLike, checked_images
from metrics.pyramids import cached_chunks, laplacian_levels, level_shapes

__all__ = ["PATCH", "PATCHES", "WIDTH", "PatchDescriptors", "Role"]

Role = Literal["reference", "generated"]
"""Which side of the comparison; the two draw other places, so that equal pictures are not matched patch by patch."""

Corners: TypeAlias = "tuple[Int64[Tensor, 'n p'], Int64[Tensor, 'n p']]"
"""Tops and lefts of every picture's patches in one level."""

PATCH = 7
"""Side of a patch in pixels; with three channels a descriptor has 147 numbers."""
WIDTH = 3 * PATCH * PATCH
PATCHES = 128
"""Patches of each picture and level."""
BLOCK = 64
"""Pictures stored together, whatever batches they came in."""


class PatchDescriptors:
    """Patches of a growing set of pictures, not yet normalised, on the pictures' device.

    A picture takes 75 kB for each level: 4.9 GB for 16,384 pictures of 128 px (four levels), 8.6 GB at 1024 px (seven).
    In float16 it is half of that, and distances change by up to 4e-5 of their value; a folder takes it off memory.

    Args:
        role: "reference" or "generated".
        seed: of the places; give both roles the same.
        min_size: shorter side of the coarsest level in pixels, at least 7.
        patches_per_image: drawn for each picture and level, with replacement.
        only: positions of the levels to keep, 0 the finest; all when not given.
        dtype: torch.float32, or torch.float16 for half the memory.
        folder: where to keep the patches instead of in memory, in mapped files that go with this object.
    """

    def __init__(
        self,
        role: Role,
        *,
        seed: int = 0,
        min_size: int = 16,
        patches_per_image: int = PATCHES,
        only: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
        folder: Path | str | None = None,
    ) -> None:
        if role not in ("reference", "generated"):
            raise ValueError(f'role must be "reference" or "generated", got {role!r}')
        if min_size < PATCH:
            raise ValueError(f"min_size must be at least {PATCH}, the side of a patch, got {min_size}")
        if patches_per_image < 1:
            raise ValueError(f"patches_per_image must be at least 1, got {patches_per_image}")
        if dtype not in (torch.float32, torch.float16):
            raise ValueError(f"dtype must be torch.float32 or torch.float16, got {dtype}")
        self.role: Role = role
        self.seed = seed
        self.min_size = min_size
        self.patches_per_image = patches_per_image
        self.shape: tuple[int, int] | None = None
        """(height, width) of the pictures; None before the first."""
        self.dtype = dtype
        self._only = only
        self._places: list[int] = []
        """Positions of the levels kept."""
        self._folder: Path | None = None
        if folder is not None:
            self._folder = Path(tempfile.mkdtemp(prefix="patches-", dir=folder))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._blocks: list[list[Float[Tensor, "b p 147"]]] = []
        self._indices: list[int] = []
        self._sums: list[Float64[Tensor, "n l 2 3"]] = []

    @property
    def count(self) -> int:
        """Pictures seen."""
        return len(self._indices)

    @property
    def indices(self) -> Int64[Tensor, " n"]:
        """Each picture's place in the whole set, in order of arrival; on the CPU."""
        return torch.tensor(self._indices, dtype=torch.int64)

    @property
    def resolutions(self) -> list[int]:
        """The shorter side of every level kept, finest first; empty before the first picture."""
        if self.shape is None:
            return []
        shapes = level_shapes(*self.shape, min_size=self.min_size)
        return [min(shapes[place]) for place in self._places]

    def update(self, images: ArrayLike, *, first_index: int | None = None) -> None:
        """Add pictures.

        Args:
            images: uint8 (n, 3, h, w), all calls of one size.
            first_index: place of the first one in the whole set, which its patches' places depend on; when not given,
                the set goes on after its highest index. Processes that share a set must say it.

        Raises:
            TypeError: when the pictures are not uint8.
            ValueError: when shape or size do not fit, or an index was seen before.
        """
        pictures = checked_images(self.role, images)
        if first_index is None:
            first_index = max(self._indices, default=-1) + 1
        self._begin((pictures.shape[2], pictures.shape[3]))
        self._claim(range(first_index, first_index + len(pictures)))
        shapes = level_shapes(pictures.shape[2], pictures.shape[3], min_size=self.min_size)
        corners = {
            place: self._corners(place, first_index, len(pictures), *shapes[place], pictures.device)
            for place in self._places
        }
        done = 0
        for chunk in cached_chunks(pictures):
            here = slice(done, done + len(chunk))
            self._add(chunk, {place: (tops[here], lefts[here]) for place, (tops, lefts) in corners.items()})
            done += len(chunk)

    def merge(self, other: PatchDescriptors) -> None:
        """Add another process's pictures to these, in place; the order of merging changes results by rounding alone.

        Raises:
            ValueError: when the two were made with other settings, or share an index.
        """
        self._like(other)
        if other.shape is None:
            return
        self._begin(other.shape)
        self._claim(other._indices)
        self._sums.extend(sums.to(self._sums[0].device) if self._sums else sums for sums in other._sums)
        for position in range(len(self._places)):
            before = self.count - other.count
            for patches in other.patches(position):
                self._store(position, before, patches)
                before += len(patches)

    def patches(self, position: int) -> Iterator[Float[Tensor, "b p 147"]]:
        """Yield the patches of the position-th level kept, at most 64 pictures at once, in order of arrival."""
        for number, block in enumerate(self._blocks[position]):
            yield block[: self.count - number * BLOCK]

    def channel_moments(
        self, position: int, chosen: Int64[Tensor, " m"] | None = None
    ) -> tuple[Float64[Tensor, " 3"], Float64[Tensor, " 3"]]:
        """Return the mean and population standard deviation of each colour channel over all descriptors of a level.

        Args:
            position: of the level among those kept.
            chosen: pictures to take by their rank of arrival; all when not given.
        """
        order = torch.argsort(self.indices) if chosen is None else chosen[torch.argsort(self.indices[chosen])]
        sums = torch.cat(self._sums)[:, position]
        sums = sums[order.to(sums.device)]
        mean, square = sums.sum(dim=0) / (len(sums) * self.patches_per_image * PATCH * PATCH)
        return mean, (square - mean**2).clamp_min(0).sqrt()

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain values and tensors, fit for `torch.save` and `torch.load(weights_only=True)`."""
        return {
            "role": self.role,
            "seed": self.seed,
            "min_size": self.min_size,
            "patches_per_image": self.patches_per_image,
            "shape": list(self.shape) if self.shape else None,
            "only": None if self._only is None else list(self._only),
            "indices": self.indices,
            "sums": torch.cat(self._sums) if self._sums else torch.empty(0),
            "dtype": str(self.dtype).removeprefix("torch."),
            "patches": [torch.cat(list(self.patches(position))) for position in range(len(self._places))],
        }

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], *, folder: Path | str | None = None) -> PatchDescriptors:
        """Return the object whose state this is."""
        names = ("seed", "min_size", "patches_per_image", "only")
        settings = {name: state[name] for name in names}
        made = cls(state["role"], **settings, dtype=getattr(torch, state["dtype"]), folder=folder)
        if state["shape"] is not None:
            made._begin((state["shape"][0], state["shape"][1]))
            made._claim(state["indices"].tolist())
            made._sums.append(state["sums"])
            for position, patches in enumerate(state["patches"]):
                made._store(position, 0, patches)
        return made

    def _begin(self, shape: tuple[int, int]) -> None:
        if self.shape is not None and shape != self.shape:
            raise ValueError(
                f"{self.role} pictures must all have one size, got {shape[0]} x {shape[1]} after"
                f" {self.shape[0]} x {self.shape[1]}; resize or crop them first"
            )
        if self.shape is None:
            levels = len(level_shapes(*shape, min_size=self.min_size))
            places = list(range(levels)) if self._only is None else sorted(set(self._only))
            if not places or places[0] < 0 or places[-1] >= levels:
                raise ValueError(f"only must name some of the levels 0..{levels - 1}, got {self._only}")
            self.shape, self._places, self._blocks = shape, places, [[] for _ in places]

    def _claim(self, indices: Sequence[int]) -> None:
        twice = set(indices).intersection(self._indices)
        if twice:
            raise ValueError(
                f"{self.role} picture {min(twice)} was given before; give every process and batch its own first_index"
            )
        self._indices.extend(indices)

    def _like(self, other: PatchDescriptors) -> None:
        for name in ("role", "seed", "min_size", "patches_per_image", "dtype"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"descriptors to merge must have the same {name}, got {mine!r} and {theirs!r}")
        if self.shape and other.shape and self._places != other._places:
            raise ValueError(f"descriptors to merge must keep the same levels, got {self._places} and {other._places}")

    def _add(self, pictures: UInt8[Tensor, "n 3 h w"], corners: dict[int, Corners]) -> None:
        shapes = level_shapes(pictures.shape[2], pictures.shape[3], min_size=self.min_size)
        before = sum(map(len, self._sums))
        sums = []
        for place, level in enumerate(laplacian_levels(pictures, shapes)):
            if place in corners:
                patches = self._drawn(level, *corners[place])
                values = patches.double()
                columns = torch.stack([values.sum(dim=1), values.square_().sum(dim=1)], dim=1)
                sums.append(columns.unflatten(2, (3, PATCH * PATCH)).sum(dim=3))
                self._store(len(sums) - 1, before, patches)
            if place == self._places[-1]:
                break
        self._sums.append(torch.stack(sums, dim=1))

    def _drawn(
        self, level: Float32[Tensor, "h 3n w"], tops: Int64[Tensor, "n p"], lefts: Int64[Tensor, "n p"]
    ) -> Float32[Tensor, "n p 147"]:
        _, planes, width = level.shape
        channels = torch.arange(planes, device=level.device).view(-1, 1, 3, 1)
        down = torch.arange(PATCH, device=level.device)
        starts = ((tops[..., None, None] + down) * planes + channels) * width + lefts[..., None, None]
        runs = level.as_strided((level.numel() - PATCH + 1, PATCH), (1, 1))
        return runs.index_select(0, starts.flatten()).view(planes // 3, self.patches_per_image, WIDTH)

    def _corners(
        self, place: int, first_index: int, pictures: int, height: int, width: int, device: torch.device
    ) -> Corners:
        """Return the top and the left of every patch, uniform over the places where it lies inside."""
        key = _hashed(torch.tensor([(2 * self.seed + (self.role == "generated")) % (1 << 63)], device=device))
        images = _hashed(key + torch.arange(first_index, first_index + pictures, device=device))
        patches = torch.arange(self.patches_per_image, device=device) + (place << 32)
        drawn = _hashed(images[:, None] + patches)
        high, low = (drawn >> 32) & 0xFFFFFFFF, drawn & 0xFFFFFFFF
        return (high * (height - PATCH + 1)) >> 32, (low * (width - PATCH + 1)) >> 32

    def _store(self, position: int, before: int, patches: Float[Tensor, "n p 147"]) -> None:
        """Append to the level's blocks, of which `before` pictures are filled."""
        blocks = self._blocks[position]
        while len(patches):
            if before == len(blocks) * BLOCK:
                blocks.append(self._block(position, patches))
            filled = before % BLOCK
            fitting, patches = patches[: BLOCK - filled], patches[BLOCK - filled :]
            blocks[-1][filled : filled + len(fitting)] = fitting
            before += len(fitting)

    def _block(self, position: int, patches: Float[Tensor, "n p 147"]) -> Float[Tensor, "b p 147"]:
        size = (BLOCK, self.patches_per_image, WIDTH)
        if self._folder is None:
            return torch.empty(size, dtype=self.dtype, device=patches.device)
        path = self._folder / f"{position}-{len(self._blocks[position])}"
        numbers = BLOCK * self.patches_per_image * WIDTH
        return torch.from_file(str(path), shared=True, size=numbers, dtype=self.dtype).view(size)


def _hashed(numbers: Int64[Tensor, "*n"]) -> Int64[Tensor, "*n"]:
    """Return splitmix64's outputs for these states (Steele, Lea and Flood 2014); products wrap on every device."""
    numbers = (numbers + 1) * -0x61C8864680B583EB
    numbers = (numbers ^ ((numbers >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    numbers = (numbers ^ ((numbers >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    return numbers ^ ((numbers >> 31) & 0x1FFFFFFFF)
