"""Kernels for maximum mean discrepancy: radial basis, rational quadratic, polynomial, energy.

Each is a small value that knows how to fill one block of its matrix. A constant added to a kernel changes no
discrepancy, so radial kernels give k(x, y) - k(x, x): where all pairs are near (unit vectors and a wide bandwidth) the
sums then keep their digits.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_rows, same_width
from metrics.distances import squared_distances

__all__ = [
    "Kernel",
    "KernelChoice",
    "energy",
    "median_distance",
    "polynomial",
    "rational_quadratic",
    "rbf",
]

MEDIAN_ROWS = 5000
"""Rows of the pooled sets that the median distance is taken of, at most."""
BLOCK = 512
"""Rows of a block of distances."""


class Kernel(Protocol):
    """A kernel ready to be evaluated."""

    def block(self, a: Float64[Tensor, "*b n d"], b: Float64[Tensor, "*b m d"]) -> Float64[Tensor, "*b n m"]:
        """Return k(a_i, b_j), up to a constant of the kernel."""
        ...

    def diagonal(self, rows: Float64[Tensor, "*b n d"]) -> Float64[Tensor, "*b n"]:
        """Return k(x_i, x_i), up to the same constant."""
        ...


class KernelChoice(Protocol):
    """What `metrics.mmd` takes: a kernel, or a rule that makes one from the data."""

    def fitted(self, reference: Float64[Tensor, "n d"], generated: Float64[Tensor, "m d"], *, seed: int) -> Kernel:
        """Return the kernel to use on these rows."""
        ...


def rbf(
    bandwidths: float | Sequence[float] | Literal["median"] = "median", *, multiples: Sequence[float] = (1.0,)
) -> KernelChoice:
    """Return the radial basis kernel, the sum of exp(-|x - y|^2 / (2 s^2)) over the bandwidths s.

    Args:
        bandwidths: s, in units of the features, one or several of weight 1 each (MMD-GAN mixes 2, 5, 10, 20, 40, 80);
            or "median", the median distance of two rows of the pooled sets (Gretton et al. 2012, section 8), taken of
            at most 5,000 of them, drawn by the measure's seed.
        multiples: of the median, one bandwidth each, such as (0.25, 0.5, 1, 2, 4); they need "median".

    Raises:
        ValueError: when a bandwidth or multiple is not positive and finite, or multiples come with bandwidths.

    >>> rbf((2, 5))
    RadialBasis(bandwidths=(2.0, 5.0))
    """
    if isinstance(bandwidths, str):
        if bandwidths != "median":
            raise ValueError(f'bandwidths must be numbers or "median", got {bandwidths!r}')
        return MedianRadialBasis(_positive("multiples", multiples))
    if tuple(multiples) != (1.0,):
        raise ValueError('multiples are of the median; say bandwidths="median", or scale the bandwidths yourself')
    return RadialBasis(_positive("bandwidths", bandwidths))


def rational_quadratic(alphas: float | Sequence[float] = (0.1, 1.0, 10.0)) -> KernelChoice:
    """Return the sum of (1 + |x - y|^2 / (2 a))^-a over the alphas; heavier tails than the radial basis.

    The default alphas are those of Binkowski et al. 2018's mixture (MMD-GAN).

    Raises:
        ValueError: when an alpha is not positive and finite.
    """
    return RationalQuadratic(_positive("alphas", alphas))


def polynomial(degree: int = 3, *, gamma: float | None = None, coef0: float = 1.0) -> KernelChoice:
    """Return (gamma x.y + coef0)^degree; the defaults are KID's (Binkowski et al. 2018, section 4).

    Args:
        degree: at least 1.
        gamma: 1 / d for rows of length d when None.
        coef0: not negative.

    Raises:
        ValueError: when a number is out of its range.
    """
    if isinstance(degree, bool) or not isinstance(degree, numbers.Integral) or degree < 1:
        raise ValueError(f"degree must be a whole number of at least 1, got {degree}")
    if gamma is not None and not (gamma > 0 and math.isfinite(gamma)):
        raise ValueError(f"gamma must be positive and finite, or None for 1 / d, got {gamma}")
    if not (coef0 >= 0 and math.isfinite(coef0)):
        raise ValueError(f"coef0 must be finite and not negative, got {coef0}")
    return Polynomial(int(degree), gamma, coef0)


def energy() -> KernelChoice:
    """Return -|x - y|; the squared discrepancy is then the energy distance (Sejdinovic et al. 2013), no bandwidth."""
    return Energy()


def median_distance(*, reference: ArrayLike, generated: ArrayLike, seed: int = 0) -> float:
    """Return the median distance between two different rows of the pooled sets, the bandwidth of `rbf("median")`.

    Of more than 5,000 rows as many are drawn. Another convention takes s^2 as half of this median: a bandwidth
    sqrt(2) smaller; give that as a number.

    Args:
        reference: features (n, d).
        generated: features (m, d).
        seed: of the drawing.

    Raises:
        ValueError: when it is 0, which is no bandwidth.
    """
    ours, theirs = checked_rows("reference", reference), checked_rows("generated", generated)
    same_width(ours, theirs)
    pooled = torch.cat([ours, theirs])
    if len(pooled) > MEDIAN_ROWS:
        chosen = np.random.default_rng(seed).choice(len(pooled), MEDIAN_ROWS, replace=False)
        pooled = pooled[torch.from_numpy(np.sort(chosen)).to(pooled.device)]
    median = _median(pooled)
    if median == 0:
        raise ValueError(
            "at least half of all pairs of rows are equal, so their median distance 0 is no bandwidth;"
            " give bandwidths as numbers, and look whether the pictures are copies"
        )
    return median


@dataclass(frozen=True, slots=True)
class RadialBasis:
    """The sum of Gaussians of given bandwidths; less their number, so that equal rows give 0."""

    bandwidths: tuple[float, ...]

    def fitted(self, reference: Tensor, generated: Tensor, *, seed: int) -> Kernel:
        """Return the kernel itself."""
        return self

    def block(self, a: Float64[Tensor, "*b n d"], b: Float64[Tensor, "*b m d"]) -> Float64[Tensor, "*b n m"]:
        """Return the sum of exp(-|a - b|^2 / (2 s^2)) - 1."""
        squares = squared_distances(a, b)
        first, *others = (-0.5 / s**2 for s in self.bandwidths)
        total = torch.expm1(squares * first)
        for factor in others:
            total += torch.expm1(squares * factor)
        return total

    def diagonal(self, rows: Float64[Tensor, "*b n d"]) -> Float64[Tensor, "*b n"]:
        """Return zeros."""
        return rows.new_zeros(rows.shape[:-1])


@dataclass(frozen=True, slots=True)
class MedianRadialBasis:
    """The rule for `RadialBasis` by the median distance."""

    multiples: tuple[float, ...]

    def fitted(self, reference: Tensor, generated: Tensor, *, seed: int) -> Kernel:
        """Return the kernel of these rows."""
        median = median_distance(reference=reference, generated=generated, seed=seed)
        return RadialBasis(tuple(median * multiple for multiple in self.multiples))


@dataclass(frozen=True, slots=True)
class RationalQuadratic:
    """The sum over the alphas; less their number, so that equal rows give 0."""

    alphas: tuple[float, ...]

    def fitted(self, reference: Tensor, generated: Tensor, *, seed: int) -> Kernel:
        """Return the kernel itself."""
        return self

    def block(self, a: Float64[Tensor, "*b n d"], b: Float64[Tensor, "*b m d"]) -> Float64[Tensor, "*b n m"]:
        """Return the sum of (1 + |a - b|^2 / (2 alpha))^-alpha - 1."""
        squares = squared_distances(a, b)
        first, *others = self.alphas
        total = torch.expm1(torch.log1p(squares / (2 * first)) * -first)
        for alpha in others:
            total += torch.expm1(torch.log1p(squares / (2 * alpha)) * -alpha)
        return total

    def diagonal(self, rows: Float64[Tensor, "*b n d"]) -> Float64[Tensor, "*b n"]:
        """Return zeros."""
        return rows.new_zeros(rows.shape[:-1])


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Powers of scaled inner products."""

    degree: int
    gamma: float | None
    coef0: float

    def fitted(self, reference: Tensor, generated: Tensor, *, seed: int) -> Kernel:
        """Return the kernel itself."""
        return self

    def block(self, a: Float64[Tensor, "*b n d"], b: Float64[Tensor, "*b m d"]) -> Float64[Tensor, "*b n m"]:
        """Return (gamma a.b + coef0)^degree."""
        return (a @ b.mT).mul_(self._gamma(a)).add_(self.coef0).pow_(self.degree)

    def diagonal(self, rows: Float64[Tensor, "*b n d"]) -> Float64[Tensor, "*b n"]:
        """Return (gamma |x|^2 + coef0)^degree."""
        return torch.linalg.vecdot(rows, rows).mul_(self._gamma(rows)).add_(self.coef0).pow_(self.degree)

    def _gamma(self, rows: Tensor) -> float:
        return 1 / rows.shape[-1] if self.gamma is None else self.gamma


@dataclass(frozen=True, slots=True)
class Energy:
    """Negative Euclidean distance."""

    def fitted(self, reference: Tensor, generated: Tensor, *, seed: int) -> Kernel:
        """Return the kernel itself."""
        return self

    def block(self, a: Float64[Tensor, "*b n d"], b: Float64[Tensor, "*b m d"]) -> Float64[Tensor, "*b n m"]:
        """Return -|a - b|."""
        return squared_distances(a, b).sqrt_().neg_()

    def diagonal(self, rows: Float64[Tensor, "*b n d"]) -> Float64[Tensor, "*b n"]:
        """Return zeros."""
        return rows.new_zeros(rows.shape[:-1])


def _positive(name: str, values: float | Sequence[float]) -> tuple[float, ...]:
    given = tuple(np.asarray(values, dtype=np.float64).reshape(-1).tolist())
    if not given or not all(value > 0 and math.isfinite(value) for value in given):
        raise ValueError(f"{name} must be positive and finite, at least one, got {given}")
    return given


def _median(rows: Float64[Tensor, "n d"]) -> float:
    """Return the median distance of two different rows; of an even count of pairs, the mean of the two middle ones."""
    count = len(rows)
    squares = rows.new_empty(count * (count - 1) // 2)
    filled = 0
    for start in range(0, count, BLOCK):
        strip = squared_distances(rows[start : start + BLOCK], rows[start:])
        above = torch.ones_like(strip, dtype=torch.bool).triu_(diagonal=1)
        part = strip[above]
        squares[filled : filled + len(part)] = part
        filled += len(part)
    middle = ((len(squares) - 1) // 2, len(squares) // 2)
    return sum(math.sqrt(float(squares.kthvalue(place + 1).values)) for place in middle) / 2
