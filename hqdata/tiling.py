"""Networks on pictures of any size, piece by piece: only the tiles that are asked for, always the same ones.

A convolution may give slightly different bits for different input shapes. So every tile has the same shape and its
place on a fixed lattice, whatever region is asked for: a region and the whole picture then agree bit for bit. Each
tile is read with a margin of at least the network's reach, which is dropped, so there are no seams; beyond its edges
the picture continues as its mirror image (the edge pixel is not repeated). What happens to one tile, with its colours
and when memory runs out: `hqdata.run_tile`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from hqdata.run_tile import TileRunner, margin_of
from hqdata.true_colour import is_grey
from hqdata.weights import Network

__all__ = ["TILE", "Network", "Pixels", "TiledPicture", "align_down", "apply_network", "chain_for", "fit_tile"]

Box = tuple[int, int, int, int]
"""(left, top, right, bottom); right and bottom are exclusive."""

TILE = 192
"""Input pixels along a tile's side, without the margin; see docs/decisions/0002-fixed-tiles.md."""
TILES = range(64, 257, 16)
"""Sides that `fit_tile` chooses from: below, the margin dominates; above, a CPU's caches overflow."""


class Pixels(Protocol):
    """Anything that gives a region of a picture: `TiledPicture`, or a caller's own reader."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        ...

    @property
    def is_grey(self) -> bool:
        """Whether red, green and blue are equal in every pixel of the whole picture; what comes of it is then grey."""
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
        self.source: Pixels = _Array(source) if isinstance(source, Tensor) else source
        self._network = network
        self._anchor = anchor
        self._tile = tile
        self._runner = TileRunner(network, tile)
        self._grey: bool | None = None
        self._tiles: dict[tuple[int, int], Float32[Tensor, "1 3 s s"]] = {}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the result in pixels: the source's times the network's scale."""
        height, width = self.source.size
        return height * self._network.scale, width * self._network.scale

    @property
    def is_grey(self) -> bool:
        """Whether the photo at the source is grey, and so every result of it."""
        if self._grey is None:
            self._grey = self.source.is_grey
        return self._grey

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
        _check_box(box, self.source.size)
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
            margin, reached = self._runner.margin, self._tile + self._runner.margin
            window = _mirrored(self.source, (left - margin, top - margin, left + reached, top + reached))
            self._tiles[row, column] = self._runner.core(window, grey=self.is_grey)
        return self._tiles[row, column]


def apply_network(
    image: Float32[Tensor, "1 3 h w"],
    network: Network,
    box: Box | None = None,
    *,
    anchor: tuple[int, int] = (0, 0),
) -> Float32[Tensor, "1 3 k l"]:
    """Return what a network makes of a picture, or of a region of it without computing the rest.

    Args:
        image: float32 in [-1, 1], of any size from 1 x 1.
        network: from `hqdata.restore.load` or `hqdata.upscale.load`.
        box: region (left, top, right, bottom) in the image's own pixels; the whole picture when None.
        anchor: (left, top) where a tile begins, a multiple of the network's stride. A region equals the same part of
            the whole picture bit for bit when both have the same anchor, and to about 1e-5 otherwise.

    Returns:
        Float32, `network.scale` times as large; not clipped, so pixels may leave [-1, 1] by a little.

    Raises:
        ValueError: when the picture's shape or type, the box or the anchor is wrong.
        Refused: when the network gave NaN or infinity.
    """
    picture = TiledPicture(image, network, anchor=anchor)
    return picture.whole() if box is None else picture.region(box)


def align_down(corner: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return the nearest lattice point at or before `corner`, both (left, top); fit for an anchor.

    >>> align_down((7, 12), 2)
    (6, 12)
    """
    return corner[0] - corner[0] % stride, corner[1] - corner[1] % stride


def fit_tile(width: int, height: int, network: Network) -> int:
    """Return the tile side with which a region of this size costs the network least, when a tile begins at its corner.

    Args:
        width: of the region in the network's input pixels.
        height: likewise.
        network: its reach decides what margin each tile carries.
    """
    margin = margin_of(network)

    def cost(side: int) -> int:
        return -(-width // side) * -(-height // side) * (side + 2 * margin) ** 2

    return min(TILES, key=cost)


def chain_for(box: Box, source: Float32[Tensor, "1 3 h w"] | Pixels, networks: Sequence[Network]) -> Pixels:
    """Return the networks one after the other over `source`, each on the lattice on which `box` costs least.

    The lattices follow from the box, the picture's size and the networks alone, so the same call gives the same bits,
    and any other region of the returned picture is right too.

    Args:
        box: the region that will be asked for, in the *source's* pixels.
        source: the photo, float32 in [-1, 1].
        networks: in the order in which they run; with none, the source as it is.

    Raises:
        ValueError: when `box` is empty or leaves the picture.
    """
    picture: Pixels = _Array(source) if isinstance(source, Tensor) else source
    _check_box(box, picture.size)
    for network, (anchor, tile) in zip(networks, _lattices(box, picture.size, networks), strict=True):
        picture = TiledPicture(picture, network, anchor=anchor, tile=tile)
    return picture


def _lattices(box: Box, size: tuple[int, int], networks: Sequence[Network]) -> list[tuple[tuple[int, int], int]]:
    """Return each network's (anchor, tile), from what the networks after it will read."""
    scales = [1]
    for network in networks:
        scales.append(scales[-1] * network.scale)
    left, top, right, bottom = (side * scales[-1] for side in box)
    lattices = []
    for network, scale in zip(reversed(networks), reversed(scales[:-1]), strict=True):
        left, top = left // network.scale, top // network.scale
        right, bottom = -(-right // network.scale), -(-bottom // network.scale)
        anchor = align_down((left, top), network.stride)
        tile = fit_tile(right - anchor[0], bottom - anchor[1], network)
        lattices.append((anchor, tile))
        margin = margin_of(network)
        right = min(anchor[0] - (anchor[0] - right) // tile * tile + margin, size[1] * scale)
        bottom = min(anchor[1] - (anchor[1] - bottom) // tile * tile + margin, size[0] * scale)
        left, top = max(anchor[0] - margin, 0), max(anchor[1] - margin, 0)
    return lattices[::-1]


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

    @property
    def is_grey(self) -> bool:
        return is_grey(self._image[0].numpy())

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
    if top >= 0 and left >= 0 and bottom <= height and right <= width:
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
