"""Sliced Wasserstein distance of any two sets of rows, and of pictures by their patches (Karras et al. 2018).

Rows are projected on random directions, where the Wasserstein-1 distance is a matter of sorting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_images, checked_rows, same_width
from metrics.bands import full_precision
from metrics.descriptors import PATCH, PATCHES, WIDTH, PatchDescriptors
from metrics.pyramids import level_shapes
from metrics.transport import counted_distances, sorted_distances

__all__ = ["Method", "SwdResult", "patch_distance", "sliced_wasserstein", "swd", "unit_directions"]

Method = Literal["auto", "exact", "histogram"]
"""How distances on a line are found: by sorting, by counting (see `metrics.transport`), or by what is fast and good."""

DIRECTIONS = 512
"""Four repeats of 128 directions in ProGAN's evaluation; their mean is the mean of all."""
PRINTED = 1000.0
"""Karras et al. print a thousand times the distance."""
LINE_BYTES = 1 << 29
"""Of projected samples held at once."""
TOGETHER = 256
"""Directions projected at once; fewer leave the multiplier idle."""
ROWS = {"cpu": 1024}
"""Of descriptors projected at once, where that should stay in a core's cache."""
CHECKED = 8
"""Directions measured both ways before counting is trusted."""
TOLERANCE = 1e-5
"""Relative error that counting may bring."""
LEAST_COUNTED = 32_768
"""Samples of both sets from which on counting is the faster."""
PASS_BYTES = 3 << 30
"""Of descriptors that `swd` holds at once, if one level does not need more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """One set's rows, ready to be projected on directions."""

    samples: int
    dtype: torch.dtype
    device: torch.device
    write: Callable[[Float64[Tensor, "k d"], Float[Tensor, "k n"]], object]
    """Project the rows on the directions, which lie on this device, into the second argument."""

    def room(self, directions: int) -> Float[Tensor, "k n"]:
        """Return space for so many directions; fresh memory costs as much time as the projection itself."""
        return torch.empty((directions, self.samples), dtype=self.dtype, device=self.device)

    def on(self, directions: Float64[Tensor, "k d"], room: Float[Tensor, "q n"]) -> Float[Tensor, "k n"]:
        """Return the projections, in the room's first lines."""
        lines = room[: len(directions)]
        self.write(directions.to(self.device), lines)
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class SwdResult:
    """Distances of patches, one for each level of the pyramid."""

    levels: dict[int, float]
    """A thousand times the distance, by the level's shorter side in pixels; finest first."""
    floor: SwdResult | None = None
    """What reference pictures would get against as many others of their kind; see `patch_distance`."""

    @property
    def mean(self) -> float:
        """Mean of the levels, the last column of Karras et al.'s tables."""
        return sum(self.levels.values()) / len(self.levels)


def swd(
    *,
    reference: ArrayLike,
    generated: ArrayLike,
    seed: int = 0,
    floor: bool = False,
    method: Method = "auto",
    min_size: int = 16,
) -> SwdResult:
    """Return ProGAN's sliced Wasserstein distance of two sets of pictures, level by level; see `patch_distance`.

    The finest level tells of sharpness and noise, the coarsest of composition and palette. Compare only results of
    equal counts of pictures: the distance of two equal sources falls as one over the root of the count. The paper takes
    16,384 pictures a set. Both sets lie in memory here; for a stream see `metrics.descriptors.PatchDescriptors`.

    Args:
        reference: real pictures, uint8 (n, 3, h, w); any sides from `min_size` on, odd ones halve as in OpenCV.
        generated: pictures to judge, uint8 (m, 3, h, w), of the same size and on the same device; m may differ.
        seed: of patches and directions.
        floor: also measure reference pictures against each other.
        method: "exact" sorts, "histogram" counts, "auto" counts where that is faster and within 1e-5 of sorting.
        min_size: shorter side of the coarsest level, at least 7.

    Returns:
        Levels such as {128: 8.1, 64: 8.0, 32: 10.6, 16: 18.6}; not 0 for equal sets, whose patches are drawn apart.

    Raises:
        TypeError: when pictures are not uint8.
        ValueError: when a set is empty or of another shape, or the two differ in size or device.
    """
    real, made = checked_images("reference", reference), checked_images("generated", generated)
    if real.shape[2:] != made.shape[2:]:
        raise ValueError(
            f"reference and generated must be of one size, got {tuple(real.shape[2:])} and {tuple(made.shape[2:])}"
        )
    if real.device != made.device:
        raise ValueError(f"reference is on {real.device}, generated on {made.device}; move one of them")
    parts = []
    for places in _passes(len(level_shapes(*real.shape[2:], min_size=min_size)), len(real) + len(made)):
        first = PatchDescriptors("reference", seed=seed, min_size=min_size, only=places)
        second = PatchDescriptors("generated", seed=seed, min_size=min_size, only=places)
        first.update(real)
        second.update(made)
        parts.append(patch_distance(reference=first, generated=second, seed=seed, floor=floor, method=method))
    floors = {side: value for part in parts if part.floor for side, value in part.floor.levels.items()}
    levels = {side: value for part in parts for side, value in part.levels.items()}
    return SwdResult(levels=levels, floor=SwdResult(levels=floors) if floor else None)


def patch_distance(
    *,
    reference: PatchDescriptors,
    generated: PatchDescriptors,
    seed: int = 0,
    floor: bool = False,
    method: Method = "auto",
) -> SwdResult:
    """Return the sliced Wasserstein distance of two sets of patches, each level normalised in either set by itself.

    Each colour channel loses its mean and is divided by its population standard deviation over the set's patches of the
    level, so that an error of a level's colour balance or contrast does not show. A channel without variation stays 0.

    The floor is the distance of two random halves of the reference, times sqrt((1/n + 1/m) / (2/h)) for halves of h
    pictures and sets of n and m: what two sets of those counts from one source would have, since the distance of equal
    sources falls as one over the root of the count.

    Args:
        reference: patches of real pictures.
        generated: patches of pictures to judge, gathered with the same settings; any count.
        seed: of the directions, and of the halves.
        floor: also measure the halves; needs two reference pictures.
        method: see `swd`.

    Raises:
        ValueError: when a set is empty, or the two were gathered with different settings or sizes.
    """
    _comparable(reference, generated)
    if floor and reference.count < 2:
        raise ValueError("the floor needs at least 2 reference pictures, got 1")
    sides, positions = reference.resolutions, range(len(reference.resolutions))
    directions = [unit_directions(DIRECTIONS, WIDTH, np.random.default_rng((seed, side))) for side in sides]
    pairs = [(patch_lines(reference, position), patch_lines(generated, position)) for position in positions]
    levels = [PRINTED * distance for distance in _mean_distances(pairs, directions, method)]
    if not floor:
        return SwdResult(levels=dict(zip(sides, levels, strict=True)))
    first, second = _halves(reference, seed)
    shrink = math.sqrt((1 / reference.count + 1 / generated.count) / (2 / len(first)))
    pairs = [(patch_lines(reference, place, first), patch_lines(reference, place, second)) for place in positions]
    floors = [PRINTED * shrink * distance for distance in _mean_distances(pairs, directions, method)]
    return SwdResult(
        levels=dict(zip(sides, levels, strict=True)), floor=SwdResult(levels=dict(zip(sides, floors, strict=True)))
    )


def sliced_wasserstein(
    *,
    reference: ArrayLike,
    generated: ArrayLike,
    rng: np.random.Generator,
    num_directions: int = DIRECTIONS,
    method: Method = "auto",
) -> float:
    """Return the mean Wasserstein-1 distance of the rows' projections on random unit directions.

    Not for features whose columns differ in scale: normalise first, or the largest column decides.

    Args:
        reference: (n, d) rows.
        generated: (m, d) rows; m may differ from n.
        rng: source of the directions; equally seeded generators give the same directions on every device.
        num_directions: projections to average; Karras et al. take 512.
        method: see `swd`.

    Returns:
        In the rows' unit, 0 for equal sets; for sets shifted by delta, |delta| times the mean |u_1| of a direction.

    Raises:
        ValueError: when the rows have different widths, NaN or infinity.
    """
    real, made = checked_rows("reference", reference), checked_rows("generated", generated)
    same_width(real, made)
    if num_directions < 1:
        raise ValueError(f"num_directions must be at least 1, got {num_directions}")
    directions = unit_directions(num_directions, real.shape[1], rng)
    return _mean_distances([(_row_lines(real), _row_lines(made))], [directions], method)[0]


def unit_directions(count: int, width: int, rng: np.random.Generator) -> Float64[Tensor, "k d"]:
    """Return directions drawn uniformly from the unit sphere: normal vectors, each divided by its length."""
    directions = rng.standard_normal((count, width))
    return torch.from_numpy(directions / np.linalg.norm(directions, axis=1, keepdims=True))


def _row_lines(rows: Float64[Tensor, "n d"]) -> Lines:
    def write(directions: Float64[Tensor, "k d"], lines: Float64[Tensor, "k n"]) -> None:
        torch.mm(directions, rows.T, out=lines)

    return Lines(samples=len(rows), dtype=rows.dtype, device=rows.device, write=write)


def patch_lines(descriptors: PatchDescriptors, position: int, chosen: Int64[Tensor, " m"] | None = None) -> Lines:
    """Return the projection of one level's patches, normalised on the way, so that no normalised copy is made.

    Args:
        descriptors: one set's patches.
        position: of the level among those kept.
        chosen: ranks of the pictures to take, ascending; all when not given.
    """
    mean, deviation = (
        values.repeat_interleave(PATCH * PATCH) for values in descriptors.channel_moments(position, chosen)
    )
    scale = torch.where(deviation > 0, 1 / deviation, 0)
    pictures = descriptors.count if chosen is None else len(chosen)

    def write(directions: Float64[Tensor, "k 147"], lines: Float[Tensor, "k n"]) -> None:
        weights = directions * scale
        offsets, end = (weights @ mean)[:, None].float(), 0
        with full_precision(scale.device):
            for rows in _rows(descriptors, position, chosen, together=ROWS.get(scale.device.type)):
                part = lines[:, end : end + len(rows)]
                torch.mm(weights.float(), rows.T, out=part)
                part.sub_(offsets)
                end += len(rows)

    samples = pictures * descriptors.patches_per_image
    return Lines(samples=samples, dtype=torch.float32, device=scale.device, write=write)


def _rows(
    descriptors: PatchDescriptors, position: int, chosen: Int64[Tensor, " m"] | None, *, together: int | None
) -> Iterator[Float[Tensor, "r 147"]]:
    before = 0
    for block in descriptors.patches(position):
        if chosen is None:
            taken = block
        else:
            here = chosen[(chosen >= before) & (chosen < before + len(block))] - before
            taken = block[here.to(block.device)]
        before += len(block)
        rows = taken.flatten(0, 1)
        yield from (some.float() for some in rows.split(together or len(rows) or 1))


def _mean_distances(
    pairs: list[tuple[Lines, Lines]], directions: list[Float64[Tensor, "k d"]], method: Method
) -> list[float]:
    """Return the mean over its directions of each pair's distances; all pairs have the same numbers of samples."""
    if method not in ("auto", "exact", "histogram"):
        raise ValueError(f'method must be "auto", "exact" or "histogram", got {method!r}')
    first, second = pairs[0]
    fitting = LINE_BYTES // ((first.samples + second.samples) * first.dtype.itemsize)
    together = max(CHECKED, min(TOGETHER, fitting, len(directions[0])))
    rooms = first.room(together), second.room(together)
    return [_mean_distance(*pair, some, rooms, method) for pair, some in zip(pairs, directions, strict=True)]


def _mean_distance(
    first: Lines, second: Lines, directions: Float64[Tensor, "k d"], rooms: tuple[Tensor, Tensor], method: Method
) -> float:
    count = method == "histogram"
    known = torch.empty(0, dtype=torch.float64, device=first.device)
    if method == "auto" and first.samples + second.samples >= LEAST_COUNTED:
        checked, directions = directions[:CHECKED], directions[CHECKED:]
        lines = first.on(checked, rooms[0]), second.on(checked, rooms[1])
        counted, known = counted_distances(*lines), sorted_distances(*lines)
        count = _trusted(counted, known, len(checked) + len(directions))
    way = counted_distances if count else sorted_distances
    parts = [some for some in directions.split(len(rooms[0])) if len(some)]
    return float(
        torch.cat([known, *(way(first.on(some, rooms[0]), second.on(some, rooms[1])) for some in parts)]).mean()
    )


def _trusted(counted: Float64[Tensor, " k"], known: Float64[Tensor, " k"], directions: int) -> bool:
    """Return whether three standard errors of the mean counting error over all directions stay within the tolerance."""
    error = 3 * (counted - known).square().mean().sqrt() / math.sqrt(directions)
    return bool(error <= TOLERANCE * known.mean())


def _comparable(reference: PatchDescriptors, generated: PatchDescriptors) -> None:
    for name, descriptors in (("reference", reference), ("generated", generated)):
        if descriptors.role != name:
            raise ValueError(f'{name} must be gathered with role "{name}", got {descriptors.role!r}')
        if not descriptors.count:
            raise ValueError(f"{name} holds no pictures; update it first")
    for name in ("seed", "shape", "min_size", "patches_per_image", "resolutions"):
        mine, theirs = getattr(reference, name), getattr(generated, name)
        if mine != theirs:
            raise ValueError(f"reference and generated must have the same {name}, got {mine} and {theirs}")


def _halves(descriptors: PatchDescriptors, seed: int) -> tuple[Int64[Tensor, " h"], Int64[Tensor, " h"]]:
    """Return two equally large random halves of a set's ranks, which depend on the pictures' indices alone."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(descriptors.count))
    shuffled = torch.argsort(descriptors.indices)[order]
    half = descriptors.count // 2
    return shuffled[:half].sort().values, shuffled[half : 2 * half].sort().values


def _passes(levels: int, pictures: int) -> Iterator[range]:
    """Yield the levels' positions in runs whose descriptors fit in memory together, one at least."""
    together = max(1, PASS_BYTES // (pictures * PATCHES * WIDTH * 4))
    for first in range(0, levels, together):
        yield range(first, min(first + together, levels))
