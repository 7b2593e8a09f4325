"""Networks on pictures of any size, piece by piece: only the tiles that are asked for, always the same ones.

A convolution gives slightly different bits for different input shapes. So every tile has the same shape and its place
on a fixed lattice, whatever region is asked for: a region and the whole picture then agree bit for bit. Each tile is
read with a margin of at least the network's reach, which is dropped, so there are no seams; beyond its edges the
picture continues as its mirror image (the edge pixel is not repeated).
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from hqdata.record import Refused
from hqdata.weights import Network

__all__ = ["TILE", "Network", "Pixels", "TiledPicture", "align_down"]

Box = tuple[int, int, int, int]
"""(left, top, right, bottom); right and bottom are exclusive."""

TILE = 192
"""Input pixels along a tile's side, without the margin; see docs/decisions/0002-fixed-tiles.md."""


class Pixels(Protocol):
    """Anything that gives a region of a picture: `TiledPicture`, or a caller's own reader."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    def output_region(self, box: Box) -> Float32[Tensor, "1 3 h w"]:
        """Return the pixels of `box`, which lies inside the picture."""
        ...


class TiledPicture:
    """What `network` makes of a picture, computed lazily; tiles are kept until the object goes.

    `TiledPicture(TiledPicture(photo, restorer), upscaler)` computes, for a region, only the tiles of both networks that
    it needs. Not for use by several threads at once.

    Args:
        source: float32 (1, 3, h, w) in [-1, 1] on the CPU, or another lazy picture.
        network: a trained network.
        anchor: (left, top) in the source's pixels, where one tile begins; a multiple of the network's stride. The
            result depends on it in the last bits only. At a region's own corner, the region needs the fewest tiles.
        tile: side of a tile in source pixels, without the margin; a multiple of the network's stride.

    Raises:
        ValueError: when the picture is empty or has another shape, or the anchor or tile is not on the stride.
    """

    def __init__(
        self,
        source: Float32[Tensor, "1 3 h w"] | Pixels,
        network: Network,
        *,
        anchor: tuple[int, int] = (0, 0),
        tile: int = TILE,
    ) -> None:
        if anchor[0] % network.stride or anchor[1] % network.stride:
            raise ValueError(
                f"anchor must be a multiple of {network.name}'s stride {network.stride}, got {anchor}; use align_down"
            )
        if tile < 1 or tile % network.stride:
            raise ValueError(
                f"tile must be a positive multiple of {network.name}'s stride {network.stride}, got {tile}"
            )
        self._source: Pixels = _Array(source) if isinstance(source, Tensor) else source
        self._network = network
        self._anchor = anchor
        self._tile = tile
        self._margin = -(-network.reach // network.stride) * network.stride
        self._tiles: dict[tuple[int, int], Float32[Tensor, "1 3 s s"]] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result in pixels: the source's times the network's scale."""
        height, width = self._source.size
        return height * self._network.scale, width * self._network.scale

    @property
    def tiles_computed(self) -> int:
        """How many tiles the network has run on so far."""
        return len(self._tiles)

    def whole(self) -> Float32[Tensor, "1 3 h w"]:
        """Return the whole result."""
        height, width = self.size
        return self.output_region((0, 0, width, height))

    def region(self, box: Box) -> Float32[Tensor, "1 3 h w"]:
        """Return what becomes of `box`, given in the *source's* pixels; `scale` times as many rows and columns.

        Raises:
            ValueError: when `box` is empty or leaves the picture.
            Refused: when the network gave NaN or infinity.
        """
        _check_box(box, self._source.size)
        left, top, right, bottom = (side * self._network.scale for side in box)
        return self.output_region((left, top, right, bottom))

    def output_region(self, box: Box) -> Float32[Tensor, "1 3 h w"]:
        """Return the pixels of `box`, given in the *result's* pixels: any integers inside the picture.

        Raises:
            ValueError: when `box` is empty or leaves the picture.
            Refused: when the network gave NaN or infinity.
        """
        _check_box(box, self.size)
        left, top, right, bottom = box
        result = torch.empty((1, 3, bottom - top, right - left))
        side = self._tile * self._network.scale
        origin_x, origin_y = (place * self._network.scale for place in self._anchor)
        for row in range((top - origin_y) // side, (bottom - 1 - origin_y) // side + 1):
            rows, tile_rows = _overlap(top, bottom, origin_y + row * side, side)
            for column in range((left - origin_x) // side, (right - 1 - origin_x) // side + 1):
                columns, tile_columns = _overlap(left, right, origin_x + column * side, side)
                result[:, :, rows, columns] = self._computed(row, column)[:, :, tile_rows, tile_columns]
        return result

    def _computed(self, row: int, column: int) -> Float32[Tensor, "1 3 s s"]:
        """Return the tile's output without its margin."""
        if (row, column) not in self._tiles:
            left, top = self._anchor[0] + column * self._tile, self._anchor[1] + row * self._tile
            reached = self._tile + self._margin
            window = (left - self._margin, top - self._margin, left + reached, top + reached)
            self._tiles[row, column] = self._run(_mirrored(self._source, window))
        return self._tiles[row, column]

    @torch.inference_mode()
    def _run(self, window: Float32[Tensor, "1 3 s s"]) -> Float32[Tensor, "1 3 t t"]:
        network = self._network
        given = window.to(network.device).contiguous(memory_format=torch.channels_last)
        output = network.module(given).to("cpu", torch.float32)
        margin = self._margin * network.scale
        core = output[:, :, margin:-margin, margin:-margin] if margin else output
        if not torch.isfinite(core).all():
            raise Refused(network.name, "the network gave NaN or infinity; the picture or the weights are damaged")
        return core.contiguous()


def align_down(corner: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return the nearest lattice point at or before `corner`, both (left, top); fit for an anchor.

    >>> align_down((7, 12), 2)
    (6, 12)
    """
    return corner[0] - corner[0] % stride, corner[1] - corner[1] % stride


class _Array:
    """A picture in memory as `Pixels`."""

    def __init__(self, image: Float32[Tensor, "1 3 h w"]) -> None:
        if image.ndim != 4 or image.shape[:2] != (1, 3) or 0 in image.shape:
            raise ValueError(f"picture must have shape (1, 3, height, width), got {tuple(image.shape)}")
        if image.dtype != torch.float32:
            raise ValueError(f"picture must be float32 in [-1, 1], got {image.dtype}")
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        return self._image.shape[2], self._image.shape[3]

    def output_region(self, box: Box) -> Float32[Tensor, "1 3 h w"]:
        left, top, right, bottom = box
        return self._image[:, :, top:bottom, left:right]


def _mirrored(source: Pixels, window: Box) -> Float32[Tensor, "1 3 h w"]:
    """Return the pixels of `window`, which may leave the picture on any side and by any amount."""
    left, top, right, bottom = window
    height, width = source.size
    rows, columns = _folded(top, bottom, height), _folded(left, right, width)
    first_row, first_column = int(rows.min()), int(columns.min())
    inside = source.output_region((first_column, first_row, int(columns.max()) + 1, int(rows.max()) + 1))
    if inside.shape[2:] == (bottom - top, right - left) and top >= 0 and left >= 0:
        return inside
    return inside[:, :, rows - first_row][:, :, :, columns - first_column]


def _folded(start: int, stop: int, length: int) -> Int64[Tensor, " n"]:
    """Return where positions start..stop-1 of the endlessly mirrored axis lie in 0..length-1.

    For length 3: ... 2 1 0 1 2 1 0 1 2 ...
    """
    period = max(1, 2 * (length - 1))
    position = torch.arange(start, stop) % period
    return torch.where(position < length, position, period - position)


def _overlap(start: int, stop: int, tile_start: int, side: int) -> tuple[slice, slice]:
    """Return the part of start..stop that a tile covers, counted from `start` and from the tile's own start."""
    first, last = max(start, tile_start), min(stop, tile_start + side)
    return slice(first - start, last - start), slice(first - tile_start, last - tile_start)


def _check_box(box: Box, size: tuple[int, int]) -> None:
    left, top, right, bottom = box
    height, width = size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"box must lie within 0, 0, {width}, {height} and not be empty, got {box}; clip it first")
