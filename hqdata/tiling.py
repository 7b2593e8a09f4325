"""Networks on pictures of any size, piece by piece: only the tiles that are asked for, always the same ones.

A convolution may give slightly different bits for different input shapes. So all tiles of a picture are computed from
windows of one shape and have their places on a fixed lattice (`hqdata.lattice`), whatever region is asked for: a region
and the whole picture then agree bit for bit. A window holds a margin of at least the network's reach around its tile,
which is dropped, so there are no seams. At the picture's edges the window ends too, so the network pads there as it
would the whole picture, and as it did when it learned. What happens to one window, with its colours and when memory
runs out: `hqdata.run_tile`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from hqdata.lattice import Axis, Span, counted_from
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
        self._runner = TileRunner(network, tile)
        self._rows, self._columns = (
            _axis(network, length, tile, start)
            for length, start in zip(self.source.size, reversed(anchor), strict=True)
        )
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
        for row in self._rows.tiles(*self._source_span(top, bottom)):
            rows, core_rows = self._overlap((top, bottom), self._rows.core(row))
            for column in self._columns.tiles(*self._source_span(left, right)):
                columns, core_columns = self._overlap((left, right), self._columns.core(column))
                result[:, :, rows, columns] = self._computed(row, column)[:, :, core_rows, core_columns]
        return result

    def _source_span(self, start: int, stop: int) -> Span:
        """Return which of the source's pixels along an axis hold the result's pixels `start..stop`."""
        return start // self._network.scale, -(-stop // self._network.scale)

    def _overlap(self, wanted: Span, core: Span) -> tuple[slice, slice]:
        """Return the part of the result's span that a tile covers, counted from its own start and from the tile's."""
        start, stop = (side * self._network.scale for side in core)
        first, last = max(wanted[0], start), min(wanted[1], stop)
        return slice(first - wanted[0], last - wanted[0]), slice(first - start, last - start)

    def _computed(self, row: int, column: int) -> Float32[Tensor, "1 3 k l"]:
        """Return what becomes of one tile."""
        if (row, column) not in self._tiles:
            rows, columns = self._rows.window(row), self._columns.window(column)
            window = _continued(self.source, (columns[0], rows[0], columns[1], rows[1]))
            core_rows = counted_from(rows, self._rows.core(row))
            core_columns = counted_from(columns, self._columns.core(column))
            self._tiles[row, column] = self._runner.core(window, core_rows, core_columns, grey=self.is_grey)
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


def fit_tile(box: Box, size: tuple[int, int], network: Network) -> int:
    """Return the tile side with which a region costs the network least, when a tile begins at its corner.

    Args:
        box: the region in the network's input pixels; its corner lies on the network's stride.
        size: (height, width) of the picture.
        network: its reach decides what margin each tile carries.
    """

    def cost(side: int) -> int:
        pixels = 1
        for length, start, stop in ((size[0], box[1], box[3]), (size[1], box[0], box[2])):
            axis = _axis(network, length, side, start)
            pixels *= axis.window_length * len(axis.tiles(start, stop))
        return pixels

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
    columns, rows = ((start * scales[-1], stop * scales[-1]) for start, stop in (box[::2], box[1::2]))
    lattices = []
    for network, scale in zip(reversed(networks), reversed(scales[:-1]), strict=True):
        size_here = size[0] * scale, size[1] * scale
        rows, columns = ((start // network.scale, -(-stop // network.scale)) for start, stop in (rows, columns))
        anchor = align_down((columns[0], rows[0]), network.stride)
        tile = fit_tile((*anchor, columns[1], rows[1]), size_here, network)
        lattices.append((anchor, tile))
        rows = _read(network, size_here[0], tile, anchor[1], rows)
        columns = _read(network, size_here[1], tile, anchor[0], columns)
    return lattices[::-1]


def _read(network: Network, length: int, tile: int, anchor: int, span: Span) -> Span:
    """Return which of a picture's pixels along one axis the network reads for those of `span`."""
    start, stop = _axis(network, length, tile, anchor).read(*span)
    return start, min(stop, length)


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


def _axis(network: Network, length: int, tile: int, anchor: int) -> Axis:
    """Return one axis of a picture as the network sees it: in whole steps of its stride."""
    steps = -(-length // network.stride)
    return Axis(steps * network.stride, tile, margin_of(network), anchor)


def _continued(source: Pixels, window: Box) -> Float32[Tensor, "1 3 h w"]:
    """Return the pixels of `window`, which may leave the picture to the right and below: there is its mirror image."""
    left, top, right, bottom = window
    height, width = source.size
    if bottom <= height and right <= width:
        return source.output_region(window)
    rows, columns = _folded(top, bottom, height), _folded(left, right, width)
    first_row, first_column = int(rows.min()), int(columns.min())
    inside = source.output_region((first_column, first_row, int(columns.max()) + 1, int(rows.max()) + 1))
    return inside[:, :, rows - first_row][:, :, :, columns - first_column]


def _folded(start: int, stop: int, length: int) -> Int64[Tensor, " n"]:
    """Return where positions start..stop-1 of the endlessly mirrored axis lie in 0..length-1.

    For length 3: 0 1 2 1 0 1 2 ...
    """
    period = max(1, 2 * (length - 1))
    position = torch.arange(start, stop) % period
    return torch.where(position < length, position, period - position)


def _check_box(box: Box, size: tuple[int, int]) -> None:
    left, top, right, bottom = box
    height, width = size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"box must lie within 0, 0, {width}, {height} and not be empty, got {box}; clip it first")
