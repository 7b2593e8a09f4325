"""Pictures that somebody holds in memory made into uint8 (n, 3, h, w); nothing about them is guessed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from metrics.arrays import to_uint8

__all__ = ["Conversion", "Tally"]

FAR_OUTSIDE = 0.05
"""Share of the range's width by which a network's last layer may overshoot without a word."""
MOST_OUTSIDE = 0.1
"""Share of far outlying values from which the range said cannot be the one meant."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was noticed about pictures on their way to uint8; tallies of parts add up to that of the whole."""

    grey: int = 0
    """Pictures with one channel."""
    floats: int = 0
    """Pictures of floats."""
    clipped: float = 0.0
    """Sum of their shares of saturated values."""
    darkest: int = 255
    """Level of the darkest value that came of floats."""

    def add(self, other: Tally) -> None:
        """Count another part's pictures too."""
        self.grey += other.grey
        self.floats += other.floats
        self.clipped += other.clipped
        self.darkest = min(self.darkest, other.darkest)


class Conversion:
    """Turns what is given into pictures, and remembers what must be told about them.

    Floats are mapped by `value_range`, rounded and saturated as `metrics.to_uint8` does; uint8 is taken as it is.
    """

    def __init__(self, *, name: str, value_range: tuple[float, float] | None) -> None:
        self._name = name
        self._value_range = value_range
        self.tally = Tally()

    def __call__(self, given: object, *, first_index: int) -> UInt8[Tensor, "n 3 h w"]:
        """Return one picture, or a batch of them, on the device where it is.

        Args:
            given: a PIL picture; or an array or tensor, uint8 or float, (h, w, c), (c, h, w) or a batch of either.
            first_index: of the first picture, for messages.

        Raises:
            TypeError: when it is no picture, or of a type without an agreed range.
            ValueError: when its shape is none of pictures, or its values are not in the range said.
        """
        tensor = self._tensor(given, first_index)
        tensor = tensor[None] if tensor.ndim == 3 else tensor
        tensor = self._channels_first(tensor, first_index)
        if tensor.dtype != torch.uint8:
            tensor = self._levels(tensor, first_index)
        if tensor.shape[1] == 1:
            self.tally.grey += len(tensor)
            tensor = tensor.expand(-1, 3, -1, -1)
        return tensor.contiguous()

    def notes(self) -> list[str]:
        """Return what was noticed so far, in sentences."""
        told, seen = [], self.tally
        if seen.grey:
            told.append(f"{self._name}: {seen.grey} pictures are grey; their one channel was repeated")
        if seen.floats and seen.clipped >= 0.0005:
            share = seen.clipped / seen.floats
            told.append(f"{self._name}: {share:.1%} of all values lay outside {self._value_range} and were saturated")
        if seen.floats and seen.darkest >= 127:
            told.append(
                f"{self._name}: no value lies in the darker half of {self._value_range}; is that the range of these"
                " pictures?"
            )
        return told

    def _tensor(self, given: object, index: int) -> Tensor:
        if isinstance(given, Image.Image):
            return torch.from_numpy(np.array(self._rgb(given, index)))
        if isinstance(given, np.ndarray):
            if given.dtype == object or given.dtype.kind not in "biuf":
                raise TypeError(f"{self._at(index)} must be an array of numbers, got dtype {given.dtype}")
            given = given.astype(given.dtype.newbyteorder("="), copy=not given.flags.writeable)
            given = torch.from_numpy(np.ascontiguousarray(given))
        if not isinstance(given, Tensor):
            raise TypeError(
                f"{self._at(index)} must be an array, a tensor or a PIL picture, got {type(given).__name__}"
            )
        if given.ndim not in (3, 4) or 0 in given.shape:
            raise ValueError(
                f"{self._at(index)} must have shape (3, h, w), or (n, 3, h, w) for a batch, got {tuple(given.shape)}"
            )
        if given.dtype != torch.uint8 and not given.is_floating_point():
            raise TypeError(f"{self._at(index)} must be uint8 or float, got {given.dtype}; convert it to uint8 0..255")
        return given.detach()

    def _rgb(self, picture: Image.Image, index: int) -> Image.Image:
        """Return a PIL picture whose way to RGB has no choices."""
        if picture.mode == "RGB":
            return picture
        if picture.mode in ("1", "L"):
            self.tally.grey += 1
            return picture.convert("RGB")
        raise ValueError(
            f"{self._at(index)} must be an RGB or grey PIL picture, got mode {picture.mode}; convert it where you can"
            " say how, as by .convert('RGB')"
        )

    def _channels_first(self, batch: Tensor, index: int) -> Tensor:
        shape = tuple(batch.shape[1:])
        first, last = (length in (1, 3) for length in (shape[0], shape[2]))
        if first and last:
            raise ValueError(
                f"{self._at(index)} has shape {shape}, in which the channels' axis cannot be told; give pictures of"
                " more than 3 pixels"
            )
        if not first and not last:
            hint = "; lay pictures with alpha on a background first" if 4 in (shape[0], shape[2]) else ""
            raise ValueError(f"{self._at(index)} must have 3 channels, or 1 for grey, got shape {shape}{hint}")
        return batch if first else batch.permute(0, 3, 1, 2)

    def _levels(self, batch: Tensor, index: int) -> Tensor:
        if self._value_range is None:
            raise ValueError(
                f"{self._at(index)} is {batch.dtype} without a range; say once which values mean black and white, as"
                " by value_range=(0, 1) or value_range=(-1, 1)"
            )
        finite = torch.isfinite(batch).flatten(1).all(dim=1)
        if not bool(finite.all()):
            bad = index + int(torch.argmin(finite.int()))
            raise ValueError(f"{self._at(bad)} holds NaN or infinity; look where it was made")
        low, high = self._value_range
        slack = FAR_OUTSIDE * (high - low)
        far = ((batch < low - slack) | (batch > high + slack)).float().mean(dtype=torch.float32).item()
        if far > MOST_OUTSIDE:
            raise ValueError(
                f"{self._at(index)}: {far:.0%} of the values lie outside {self._value_range}, the range said (from"
                f" {batch.min().item():.4g} to {batch.max().item():.4g}); say the right value_range"
            )
        self.tally.clipped += ((batch < low) | (batch > high)).float().mean().item() * len(batch)
        self.tally.floats += len(batch)
        levels = to_uint8(batch, value_range=self._value_range)
        self.tally.darkest = min(self.tally.darkest, int(levels.min()))
        return levels

    def _at(self, index: int) -> str:
        return f"{self._name}: picture {index}"
