"""One tile through one network: number format, finite check, colours, and smaller pieces where memory runs out."""

from __future__ import annotations

import functools
import logging

import torch
from jaxtyping import Float32
from torch import Tensor

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
    """Runs a network on windows of one size; once a window was too large for the memory, in smaller pieces.

    Input and output are in host memory, only one window or piece at a time is on the device.

    Args:
        network: a trained network.
        tile: side of a window's core in input pixels, a multiple of the network's stride.
    """

    def __init__(self, network: Network, tile: int) -> None:
        self.margin = margin_of(network)
        self._network = network
        self._tile = tile
        self._piece = tile

    @torch.inference_mode()
    def core(self, window: Float32[Tensor, "1 3 w w"], *, grey: bool) -> Float32[Tensor, "1 3 t t"]:
        """Return what becomes of the window without its margin.

        Args:
            window: the tile and `margin` pixels on each side of it.
            grey: make the result grey, as the whole picture is.

        Raises:
            Refused: when the network gave NaN or infinity.
            MemoryError: or torch's own errors, when even the smallest piece was too large.
        """
        while True:
            try:
                return self._in_pieces(window, grey)
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

    def _in_pieces(self, window: Float32[Tensor, "1 3 w w"], grey: bool) -> Float32[Tensor, "1 3 t t"]:
        if self._piece == self._tile:
            return self._run(window, grey)
        scale, reached = self._network.scale, self._piece + 2 * self.margin
        result = torch.empty((1, 3, self._tile * scale, self._tile * scale))
        starts = [min(start, self._tile - self._piece) for start in range(0, self._tile, self._piece)]
        for top in starts:
            for left in starts:
                piece = self._run(window[:, :, top : top + reached, left : left + reached], grey)
                rows, columns = (slice(start * scale, (start + self._piece) * scale) for start in (top, left))
                result[:, :, rows, columns] = piece
        return result

    def _run(self, window: Float32[Tensor, "1 3 w w"], grey: bool) -> Float32[Tensor, "1 3 t t"]:
        network = self._network
        core = self._forward(window, network.precision, grey)
        if network.precision != "float32" and not torch.isfinite(core).all():
            logger.info("%s: NaN or infinity in %s, running the tile in float32", network.name, network.precision)
            core = self._forward(window, "float32", grey)
        if not torch.isfinite(core).all():
            raise Refused(network.name, "the network gave NaN or infinity; the picture or the weights are damaged")
        return core

    def _forward(self, window: Float32[Tensor, "1 3 w w"], precision: Precision, grey: bool) -> Tensor:
        network = self._network
        given = window.to(network.device).contiguous(memory_format=torch.channels_last)
        with computing_in(precision, network.device):
            output = network.module(given).float()
        if network.scale > 1:
            with computing_in("float32", network.device):
                output = keep_mean_colours(output, given)
        margin = self.margin * network.scale
        core = output[:, :, margin:-margin, margin:-margin] if margin else output
        return (to_grey(core) if grey else core).to("cpu").contiguous()


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
