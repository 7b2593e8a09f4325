"""One tile through one network: number format, finite check, colours, and smaller pieces where memory runs out."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator

import torch
from jaxtyping import Float32
from torch import Tensor

from hqdata.lattice import Axis, Span, counted_from
from hqdata.precision import Precision, computing_in
from hqdata.record import Refused
from hqdata.true_colour import COLOUR_REACH, keep_mean_colours, to_grey
from hqdata.weights import Network

__all__ = ["TileRunner", "margin_of"]

logger = logging.getLogger(__name__)

SMALLEST_PIECE = 16
"""Input pixels along the side of the smallest piece that is still tried; below, nearly all the work is margin."""
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "std::bad_alloc", "out of memory", "ALLOC_FAILED")
"""What torch says in a plain RuntimeError: its CPU allocator; CUDA outside torch's own allocator; CUDA's libraries."""


def margin_of(network: Network) -> int:
    """Return how many input pixels around a tile it takes to compute it, in whole steps of the network's stride."""
    own = network.reach if network.margin is None else network.margin
    needed = own + (COLOUR_REACH if network.scale > 1 else 0)
    return -(-needed // network.stride) * network.stride


class TileRunner:
    """Runs a network on windows; once one was too large for the memory, in smaller pieces.

    Input and output are in host memory, only one window or piece at a time is on the device.

    Args:
        network: a trained network.
        tile: side of a tile in input pixels, a multiple of the network's stride. The part that is wanted of a window is
            larger only where the window is as long as the picture.
    """

    def __init__(self, network: Network, tile: int) -> None:
        self.margin = margin_of(network)
        self._network = network
        self._tile = tile
        self._piece = tile

    @torch.inference_mode()
    def core(
        self, window: Float32[Tensor, "1 3 h w"], rows: Span, columns: Span, *, grey: bool
    ) -> Float32[Tensor, "1 3 k l"]:
        """Return what becomes of a part of the window.

        Args:
            window: that part and, on each side, the margin or all that the picture has.
            rows: of the part, counted from the window's first; columns likewise.
            columns: of the part.
            grey: make the result grey, as the whole picture is.

        Raises:
            Refused: when the network gave NaN or infinity.
            MemoryError: or torch's own errors, when even the smallest piece was too large.
        """
        while True:
            try:
                return self._in_pieces(window, rows, columns, grey)
            except (MemoryError, RuntimeError) as error:
                smaller = self._smaller_piece()
                if not _says_out_of_memory(error) or smaller is None:
                    raise
            _warn_once(self._network.name, self._piece, smaller)
            self._piece = smaller
            if torch.device(self._network.device).type == "cuda":
                torch.cuda.empty_cache()

    def _smaller_piece(self) -> int | None:
        half = self._piece // 2 // self._network.stride * self._network.stride
        return half if half >= SMALLEST_PIECE else None

    def _in_pieces(self, window: Float32[Tensor, "1 3 h w"], rows: Span, columns: Span, grey: bool) -> Tensor:
        if self._piece == self._tile:
            return self._run(window, rows, columns, grey)
        scale = self._network.scale
        result = torch.empty((1, 3, (rows[1] - rows[0]) * scale, (columns[1] - columns[0]) * scale))
        for top, high in self._pieces(window.shape[2], rows):
            for left, wide in self._pieces(window.shape[3], columns):
                part = window[:, :, slice(*high), slice(*wide)]
                piece = self._run(part, counted_from(high, top), counted_from(wide, left), grey)
                place = (_times(counted_from(rows, top), scale), _times(counted_from(columns, left), scale))
                result[:, :, slice(*place[0]), slice(*place[1])] = piece
        return result

    def _pieces(self, length: int, part: Span) -> Iterator[tuple[Span, Span]]:
        """Yield (piece of the part, window that it is computed from) along one axis of a window."""
        axis = Axis(length, self._piece, self.margin, part[0])
        for number in axis.tiles(*part):
            start, stop = axis.core(number)
            yield (max(start, part[0]), min(stop, part[1])), axis.window(number)

    def _run(self, window: Float32[Tensor, "1 3 h w"], rows: Span, columns: Span, grey: bool) -> Tensor:
        network = self._network
        core = self._forward(window, rows, columns, network.precision, grey)
        if network.precision != "float32" and not torch.isfinite(core).all():
            logger.info("%s: NaN or infinity in %s, running the tile in float32", network.name, network.precision)
            core = self._forward(window, rows, columns, "float32", grey)
        if not torch.isfinite(core).all():
            raise Refused(network.name, "the network gave NaN or infinity; the picture or the weights are damaged")
        return core

    def _forward(
        self, window: Float32[Tensor, "1 3 h w"], rows: Span, columns: Span, precision: Precision, grey: bool
    ) -> Tensor:
        network = self._network
        given = window.to(network.device).contiguous(memory_format=torch.channels_last)
        with computing_in(precision, network.device):
            output = network.module(given).float()
        if network.scale > 1:
            with computing_in("float32", network.device):
                output = keep_mean_colours(output, given)
        core = output[:, :, slice(*_times(rows, network.scale)), slice(*_times(columns, network.scale))]
        return (to_grey(core) if grey else core).to("cpu").contiguous()


def _times(span: Span, scale: int) -> Span:
    return span[0] * scale, span[1] * scale


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY)


@functools.cache
def _warn_once(name: str, piece: int, smaller: int) -> None:
    logger.warning(
        "%s: not enough memory for tiles of %d x %d pixels, going on with %d x %d; the last digits may differ",
        name,
        piece,
        piece,
        smaller,
        smaller,
    )
