"""Count, mean and covariance of features that arrive in batches: float64, mergeable, the same for any batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_rows

__all__ = ["Moments", "checked_statistics"]

BLOCK = 512
"""Rows folded into the sums at once; a matrix product needs some hundreds of rows to be fast."""
STRIP = 256
"""Columns whose products are formed at once: only the lower half of the symmetric sum is."""
ASYMMETRY = 1e-5
"""Greatest allowed difference of a covariance from its transpose over its greatest variance; float32 leaves 1e-7."""


class Moments:
    """Mean and covariance of feature rows, kept as sums about the mean (Chan, Golub and LeVeque 1979, equation 2.1).

    Rows are buffered and folded in blocks of 512, so batches of any size cost the same, and one stream of rows gives
    the same bits however it was cut. Merging in another order agrees to rounding, some 1e-15 of the variance. The sums
    stay on the device of the first rows, 8 * width^2 bytes. Not for other statistics than these two: keep the rows.

    >>> import numpy as np
    >>> moments = Moments(2)
    >>> moments.update(np.array([[0.0, 1.0], [2.0, 1.0]]))
    >>> moments.count, moments.mean.tolist(), moments.covariance().tolist()
    (2, [1.0, 1.0], [[2.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self, width: int) -> None:
        if width < 1:
            raise ValueError(f"width must be the length of a feature row, at least 1, got {width}")
        self.width = width
        """Length of a row."""
        self._folded = 0
        self._pending = 0
        self._allocate(torch.device("cpu"))

    @property
    def count(self) -> int:
        """Rows seen."""
        return self._folded + self._pending

    @property
    def device(self) -> torch.device:
        """Where the sums lie."""
        return self._mean.device

    @property
    def mean(self) -> Float64[Tensor, " d"]:
        """Mean row, a copy.

        Raises:
            ValueError: before the first row.
        """
        if not self.count:
            raise ValueError("no rows yet, so there is no mean; update the moments first")
        self._fold()
        return self._mean.clone()

    def covariance(self, *, ddof: int = 1) -> Float64[Tensor, "d d"]:
        """Return the covariance matrix, exactly symmetric.

        Args:
            ddof: what is taken from the count to divide by: 1 as numpy's cov and most libraries, 0 as StyleGAN.

        Raises:
            ValueError: when there are not more rows than `ddof`.
        """
        return self.scatter() / divisor(self.count, ddof)

    def scatter(self) -> Float64[Tensor, "d d"]:
        """Return the sum of the outer products of the rows' differences from their mean."""
        self._fold()
        lower = self._scatter.tril()
        return lower + lower.tril(-1).T

    def update(self, rows: ArrayLike) -> None:
        """Take in (n, width) feature rows, n may be 0; refuses NaN and infinity with the row's index in this batch."""
        tensor = checked_rows("rows", rows, least=0)
        if tensor.shape[1] != self.width:
            raise ValueError(f"rows must have {self.width} numbers each, got {tensor.shape[1]}; use one extractor")
        if not self.count:
            self._allocate(tensor.device)
        with torch.inference_mode(False), torch.no_grad():
            while len(tensor):
                taken = tensor[: BLOCK - self._pending]
                self._block()[self._pending : self._pending + len(taken)] = taken
                self._pending += len(taken)
                tensor = tensor[len(taken) :]
                if self._pending == BLOCK:
                    self._fold()

    def merge(self, other: Moments) -> None:
        """Add the rows that `other` has seen, in place; `other` keeps its own."""
        if other.width != self.width:
            raise ValueError(f"only moments of one width can be merged, got {self.width} and {other.width}")
        if not other.count:
            return
        if not self.count:
            self._allocate(other.device)
        self._fold()
        other._fold()
        self._scatter += other._scatter.to(self.device)
        self._shift_to(other._mean.to(self.device), other.count)

    def without(self, other: Moments) -> Moments:
        """Return new moments of the rows that are here but not in `other`, all of whose rows must be among these.

        Undoes `merge` to rounding, which grows with the part taken away; meant for leaving out one group of many.
        """
        left = self.count - other.count
        if other.width != self.width or left < 1:
            raise ValueError(
                f"other must be a part of these moments, got {other.count} rows of {other.width} numbers out of"
                f" {self.count} of {self.width}"
            )
        self._fold()
        other._fold()
        part = other._mean.to(self.device)
        rest = Moments(self.width)
        rest._allocate(self.device)
        rest._folded = left
        rest._mean += self._mean + (self._mean - part) * (other.count / left)
        rest._scatter += self._scatter
        rest._scatter -= other._scatter.to(self.device)
        rest._scatter.addr_(rest._mean - part, rest._mean - part, alpha=-left * (other.count / self.count))
        return rest

    def state_dict(self) -> dict[str, Any]:
        """Return copies of width, count, mean (d,) and scatter (d, d), for `torch.save` or another process."""
        return {"width": self.width, "count": self.count, "scatter": self.scatter(), "mean": self._mean.clone()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Moments:
        """Return the moments whose `state_dict` this is.

        Raises:
            ValueError: when an entry is missing, or the entries do not fit together.
        """
        missing = {"width", "count", "mean", "scatter"} - set(state)
        if missing:
            raise ValueError(f"the state of moments lacks {sorted(missing)}; give what state_dict returned")
        mean, scatter = checked_statistics("state", state["mean"], state["scatter"])
        width, count = int(state["width"]), int(state["count"])
        if mean.shape != (width,) or count < 0:
            raise ValueError(f"the state of moments holds width {width}, count {count} and {len(mean)} means")
        moments = cls(width)
        moments._allocate(mean.device)
        moments._folded = count
        moments._mean.copy_(mean)
        moments._scatter.copy_(scatter)
        return moments

    def _allocate(self, device: torch.device) -> None:
        """Begin at zero; as ordinary tensors, since inference-mode ones could not be changed outside that mode."""
        with torch.inference_mode(False):
            self._mean = torch.zeros(self.width, dtype=torch.float64, device=device)
            self._scatter = torch.zeros(self.width, self.width, dtype=torch.float64, device=device)
            self._rows: Tensor | None = None

    def _block(self) -> Float64[Tensor, "block+1 d"]:
        """Return the buffer: a block of rows, and one more for the difference of the means."""
        if self._rows is None:
            self._rows = torch.empty(BLOCK + 1, self.width, dtype=torch.float64, device=self.device)
        return self._rows

    def _fold(self) -> None:
        """Fold the pending rows into the sums."""
        if not self._pending:
            return
        rows = self._block()[: self._pending + 1]
        mean = rows[:-1].mean(dim=0)
        rows[:-1] -= mean
        rows[-1] = (mean - self._mean) * _between(self._folded, self._pending)
        _add_products(self._scatter, rows)
        self._mean += (mean - self._mean) * (self._pending / self.count)
        self._folded, self._pending = self.count, 0

    def _shift_to(self, mean: Float64[Tensor, " d"], count: int) -> None:
        """Count in `count` rows about another mean, whose scatter is in already."""
        _add_products(self._scatter, (mean - self._mean)[None] * _between(self._folded, count))
        self._folded += count
        self._mean += (mean - self._mean) * (count / self._folded)


def checked_statistics(
    name: str, mean: ArrayLike, covariance: ArrayLike
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, "d d"]]:
    """Return a mean and a covariance in float64 on their own device, the covariance exactly symmetric.

    Args:
        name: whose they are, for messages.
        mean: (d,), any real type.
        covariance: (d, d), symmetric within the rounding of float32.

    Raises:
        TypeError: when one is no array of real numbers.
        ValueError: when the shapes do not fit together, a number is not finite, the covariance is not symmetric, or a
            variance is negative.
    """
    matrix = checked_rows(f"the covariance of {name}", covariance)
    width = len(matrix)
    if not isinstance(mean, (np.ndarray, Tensor)):
        raise TypeError(f"the mean of {name} must be a numpy array or a torch tensor, got {type(mean).__name__}")
    if matrix.shape != (width, width) or tuple(mean.shape) != (width,):
        raise ValueError(
            f"{name} must have a mean of shape (d,) and a covariance of shape (d, d), got {tuple(mean.shape)} and"
            f" {tuple(matrix.shape)}"
        )
    row = checked_rows(f"the mean of {name}", mean[None])[0]
    largest = matrix.diagonal().abs().max()
    apart = (matrix - matrix.T).max()
    if bool(apart > ASYMMETRY * largest):
        raise ValueError(f"the covariance of {name} is not symmetric; give a covariance matrix")
    if bool(matrix.diagonal().min() < -ASYMMETRY * largest):
        raise ValueError(f"the covariance of {name} has a negative variance; give a covariance matrix")
    if row.device != matrix.device:
        raise ValueError(f"the mean of {name} is on {row.device}, the covariance on {matrix.device}; move one of them")
    return row, (matrix + matrix.T) / 2 if bool(apart) else matrix


def divisor(count: int, ddof: int) -> int:
    """Return count - ddof, refusing too few rows."""
    if ddof not in (0, 1):
        raise ValueError(f"ddof must be 1 (as numpy's cov) or 0 (as StyleGAN), got {ddof}")
    if count <= ddof:
        raise ValueError(f"a covariance with ddof {ddof} needs at least {ddof + 1} rows, got {count}")
    return count - ddof


def _between(a: int, b: int) -> float:
    """Return the weight of the difference of two means in the joint scatter, its square root (Chan et al., 2.1)."""
    return math.sqrt(a * (b / (a + b)))


def _add_products(scatter: Float64[Tensor, "d d"], rows: Float64[Tensor, "n d"]) -> None:
    """Add rows' rows to the lower half of the scatter, strip by strip; above the diagonal it holds leftovers."""
    for start in range(0, len(scatter), STRIP):
        stop = start + STRIP
        scatter[start:stop, :stop].addmm_(rows[:, start:stop].T, rows[:, :stop])
