"""One axis of a picture cut into tiles: where each begins, and what has to be read to compute it.

All windows of an axis are equally long and lie inside it. Where a margin would leave the picture, the window moves
inwards instead, so that a network meets the picture's edge where its own padding is, as when it learned.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Axis", "Span", "counted_from"]

Span = tuple[int, int]
"""(start, stop) along an axis; stop is exclusive."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Tiles along one axis.

    Args:
        length: of the axis, at least 1.
        tile: length of a tile, at least 1.
        margin: what a network needs to see on each side of a tile.
        anchor: where one tile begins; may lie outside the axis.
    """

    length: int
    tile: int
    margin: int
    anchor: int = 0

    @property
    def window_length(self) -> int:
        """How much is read for a tile; a shorter axis is read as a whole."""
        return min(self.tile + 2 * self.margin, self.length)

    def tiles(self, start: int, stop: int) -> range:
        """Return the numbers of the tiles that cover `start..stop`, which lies inside the axis and is not empty."""
        if self._is_one_tile:
            return range(1)
        return range((start - self.anchor) // self.tile, (stop - 1 - self.anchor) // self.tile + 1)

    def core(self, number: int) -> Span:
        """Return the part of the axis that belongs to a tile; one at an end of the axis may be shorter than others."""
        if self._is_one_tile:
            return 0, self.length
        start = self.anchor + number * self.tile
        return max(start, 0), min(start + self.tile, self.length)

    def window(self, number: int) -> Span:
        """Return the part of the axis that a tile is computed from: its core with the margins, moved inside."""
        start = self.anchor + number * self.tile - self.margin
        start = max(0, min(start, self.length - self.window_length))
        return start, start + self.window_length

    def read(self, start: int, stop: int) -> Span:
        """Return the part of the axis that `start..stop` is computed from."""
        tiles = self.tiles(start, stop)
        return self.window(tiles[0])[0], self.window(tiles[-1])[1]

    @property
    def _is_one_tile(self) -> bool:
        return self.window_length == self.length


def counted_from(origin: Span, span: Span) -> Span:
    """Return a span counted from where another begins."""
    return span[0] - origin[0], span[1] - origin[0]
