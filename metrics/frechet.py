"""Fréchet distance between Gaussians fitted to two sets of features (Dowson and Landau 1982; FID, Heusel et al. 2017).

|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). The last trace is never taken of a matrix square root: with S1 = h h'
it is the sum of the square roots of the eigenvalues of the symmetric h' S2 h, so the result is always real, and with
fewer rows than columns it is the sum of the singular values of the rows' products with each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_rows, same_width
from metrics.intervals import Interval, jackknife_interval
from metrics.moments import Moments, checked_statistics, divisor

__all__ = ["FrechetReference", "fid", "fid_infinity", "fid_interval", "frechet_distance"]

STRIP = 256
"""Columns of a triangular matrix that are multiplied at once."""
NEARLY_SINGULAR = 1e-10
"""Least squared pivot over the greatest variance for which Cholesky's factor is as good as the eigenvectors' root."""
NEGATIVE = 1e-5
"""Eigenvalues below minus this part of the greatest are not even float32's rounding: it is no covariance."""


class FrechetReference:
    """A mean and a covariance to measure many others against; the covariance's root is computed once.

    With the root kept, one distance takes half a matrix product and the eigenvalues of one symmetric matrix, about a
    second at 2048 columns on one core. Which of the two sets is the reference changes nothing but rounding.
    """

    def __init__(self, mean: ArrayLike, covariance: ArrayLike) -> None:
        row, matrix = checked_statistics("the reference", mean, covariance)
        self._mean, self._trace, self._largest = row.clone(), matrix.trace(), matrix.diagonal().max()
        self._root = _root(matrix)

    @classmethod
    def from_moments(cls, moments: Moments, *, ddof: int = 1) -> FrechetReference:
        """Return the reference of the rows that `moments` has seen."""
        return cls(moments.mean, moments.covariance(ddof=ddof))

    @property
    def width(self) -> int:
        """Columns of the features."""
        return len(self._mean)

    def distance(self, mean: ArrayLike, covariance: ArrayLike) -> float:
        """Return the Fréchet distance to another mean (d,) and covariance (d, d).

        Returns:
            At least 0, in squared units of the features.

        Raises:
            TypeError, ValueError: see `metrics.moments.checked_statistics`; also when the widths or devices differ.
        """
        other, matrix = checked_statistics("the generated set", mean, covariance)
        same_width(self._mean[None], other[None])
        values = torch.linalg.eigvalsh(_lower_product(self._root, matrix), UPLO="L")
        _refuse_negative("generated set", values, self._largest * matrix.diagonal().max())
        overlap = values.clamp_min(0).sqrt().sum()
        return _distance(self._mean - other, self._trace + matrix.trace(), overlap)


def frechet_distance(mean_a: ArrayLike, cov_a: ArrayLike, mean_b: ArrayLike, cov_b: ArrayLike) -> float:
    """Return the Fréchet distance of two Gaussians, at least 0.

    Against one reference many times, `FrechetReference` is faster; of features at hand, `fid` is more accurate.

    Args:
        mean_a: (d,).
        cov_a: (d, d), symmetric; may be singular.
        mean_b: (d,).
        cov_b: (d, d).

    Raises:
        TypeError: when one is no array of real numbers.
        ValueError: when shapes do not fit, a number is not finite, or a matrix is no covariance.

    >>> import numpy as np
    >>> round(frechet_distance(np.zeros(3), np.eye(3), np.ones(3), 4 * np.eye(3)), 12)
    6.0
    """
    return FrechetReference(mean_a, cov_a).distance(mean_b, cov_b)


def fid(*, reference: ArrayLike, generated: ArrayLike, ddof: int = 1) -> float:
    """Return the Fréchet distance of two sets of features, one row for each picture; symmetric.

    It is called FID only of the 2048 pool features of the 2015 Inception graph. It is biased upward by some multiple
    of 1/n (see `fid_infinity`), so compare only numbers of equally many pictures. With fewer rows than columns in a
    set the covariance is singular; the number is then exact but says little about the columns never seen.

    Args:
        reference: (n, d) features of real pictures, n > ddof.
        generated: (m, d) features of generated pictures, m > ddof.
        ddof: 1 divides covariances by n - 1, as nearly everyone; 0 by n, as StyleGAN.

    Returns:
        At least 0, in squared units of the features.

    Raises:
        TypeError, ValueError: see `metrics.arrays.checked_rows`; also when the widths or devices differ.
    """
    real = checked_rows("reference", reference, least=1 + ddof)
    made = checked_rows("generated", generated, least=1 + ddof)
    same_width(real, made)
    if min(len(real), len(made)) < real.shape[1]:
        return _distance_of_rows(real, made, ddof)
    a, b = _moments(real), _moments(made)
    return FrechetReference.from_moments(a, ddof=ddof).distance(b.mean, b.covariance(ddof=ddof))


def fid_infinity(
    *, reference: ArrayLike, generated: ArrayLike, points: int = 15, smallest: int = 5000, seed: int = 0
) -> float:
    """Return the Fréchet distance extrapolated to endlessly many generated pictures (Chong and Forsyth 2020).

    Random subsets of the generated set, `points` sizes evenly from `smallest` to all, each give a distance to the whole
    reference; the line through them over 1 / size is read at 0. The reference's own bias stays.

    Args:
        reference: (n, d) features of real pictures.
        generated: (m, d) features of generated pictures, m >= 2 * smallest.
        points: sizes; the paper uses 15.
        smallest: rows of the smallest subset; the paper uses 5000.
        seed: of the subsets; the same seed gives the same number.

    Returns:
        In squared units of the features; for alike sets it scatters around 0 and may fall below.

    Raises:
        ValueError: when there are too few generated rows for the line to mean anything.
    """
    real = checked_rows("reference", reference, least=2)
    made = checked_rows("generated", generated, least=2)
    same_width(real, made)
    sizes = _subset_sizes(len(made), points, smallest)
    known = FrechetReference.from_moments(_moments(real))
    rng = np.random.default_rng(seed)
    distances = [_to_rows(known, made[torch.from_numpy(rng.permutation(len(made))[:size])]) for size in sizes]
    line = np.polynomial.Polynomial.fit(1 / sizes, distances, deg=1)
    return float(line(0.0))


def fid_interval(
    *, reference: Sequence[Moments], generated: Sequence[Moments], ddof: int = 1, level: float = 0.95
) -> Interval:
    """Return a confidence interval of the Fréchet distance from each set's groups, without the rows.

    The rows must have been dealt to the groups as `metrics.intervals.group_labels` does. Each group of each set is left
    out in turn, one distance each, about a second at 2048 columns on one core; see `metrics.intervals.Interval` for
    what the interval covers. In simulations the error was right to a hundredth for full-rank sets that differ; a third
    too large for two sets of one source, and half too large for sets of fewer rows than columns.

    Args:
        reference: moments of at least two groups of real pictures, about equally large.
        generated: the same of generated pictures.
        ddof: see `fid`.
        level: probability of covering.
    """
    real, made = _merged(reference), _merged(generated)
    from_real = FrechetReference.from_moments(real, ddof=ddof)
    from_made = FrechetReference.from_moments(made, ddof=ddof)
    return jackknife_interval(
        _to_moments(from_real, made, ddof),
        without_reference=[_to_moments(from_made, real.without(group), ddof) for group in reference],
        without_generated=[_to_moments(from_real, made.without(group), ddof) for group in generated],
        level=level,
        lowest=0.0,
    )


def _root(covariance: Float64[Tensor, "d d"]) -> Float64[Tensor, "d r"]:
    """Return h with h h' = covariance and zeros above the diagonal, as many columns as the covariance's rank.

    Cholesky's factor, in a twentieth of the time of eigenvectors, unless the matrix is near to singular.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if not failed and bool(factor.diagonal().min() ** 2 > NEARLY_SINGULAR * covariance.diagonal().max()):
        return factor
    return _root_of_singular(covariance)


def _root_of_singular(covariance: Float64[Tensor, "d d"]) -> Float64[Tensor, "d r"]:
    """Return the root without the eigenvalues that are rounding alone: 2000 roots of 1e-16 would add 2e-5."""
    values, vectors = torch.linalg.eigh(covariance)
    largest = values.abs().max()
    _refuse_negative("reference", values, largest)
    seen = values > largest * len(values) * torch.finfo(torch.float64).eps
    root = vectors[:, seen] * values[seen].sqrt()
    return torch.linalg.qr(root.T, mode="r").R.T.contiguous()


def _lower_product(root: Float64[Tensor, "d r"], matrix: Float64[Tensor, "d d"]) -> Float64[Tensor, "r r"]:
    """Return the lower half of root' matrix root, in a quarter of the products, for a root that is lower triangular."""
    rank = root.shape[1]
    right, product = torch.zeros_like(root), matrix.new_zeros(rank, rank)
    strips = [slice(start, min(start + STRIP, rank)) for start in range(0, rank, STRIP)]
    for strip in strips:
        right[strip.start :, strip] = matrix[strip.start :, strip.start :] @ root[strip.start :, strip]
        product[strip, : strip.stop] = root[strip.start :, strip].T @ right[strip.start :, : strip.stop]
    return product


def _refuse_negative(name: str, values: Float64[Tensor, " d"], scale: Tensor) -> None:
    lowest = float(values.min()) if len(values) else 0.0
    if lowest < -NEGATIVE * float(scale):
        raise ValueError(
            f"the covariance of the {name} has a negative eigenvalue, {lowest:.3g} on a scale of {float(scale):.3g};"
            " give a covariance matrix"
        )


def _distance_of_rows(real: Float64[Tensor, "n d"], made: Float64[Tensor, "m d"], ddof: int) -> float:
    """Return the distance without forming a covariance: tr (S1 S2)^(1/2) is the nuclear norm of the cross-Gram."""
    a, b = real - real.mean(dim=0), made - made.mean(dim=0)
    of_a, of_b = divisor(len(a), ddof), divisor(len(b), ddof)
    overlap = torch.linalg.svdvals(_no_longer_than_wide(a) @ _no_longer_than_wide(b).T).sum() / (of_a * of_b) ** 0.5
    return _distance(real.mean(dim=0) - made.mean(dim=0), a.square().sum() / of_a + b.square().sum() / of_b, overlap)


def _no_longer_than_wide(rows: Float64[Tensor, "n d"]) -> Float64[Tensor, "r d"]:
    """Return rows with the same products of columns, at most d of them: few against many need no n by m matrix."""
    return rows if len(rows) <= rows.shape[1] else torch.linalg.qr(rows, mode="r").R


def _distance(apart: Float64[Tensor, " d"], traces: Tensor, overlap: Tensor) -> float:
    """Return the distance from its parts; equal sets may come out at minus a rounding, which is 0."""
    return float((apart.square().sum() + traces - 2 * overlap).clamp_min(0))


def _moments(rows: Float64[Tensor, "n d"]) -> Moments:
    moments = Moments(rows.shape[1])
    moments.update(rows)
    return moments


def _merged(groups: Sequence[Moments]) -> Moments:
    if len(groups) < 2:
        raise ValueError(f"an interval needs at least two groups of each set, got {len(groups)}")
    whole = Moments(groups[0].width)
    for group in groups:
        whole.merge(group)
    return whole


def _to_moments(known: FrechetReference, moments: Moments, ddof: int) -> float:
    return known.distance(moments.mean, moments.covariance(ddof=ddof))


def _to_rows(known: FrechetReference, rows: Float64[Tensor, "n d"]) -> float:
    return _to_moments(known, _moments(rows), ddof=1)


def _subset_sizes(count: int, points: int, smallest: int) -> np.ndarray:
    if points < 2 or smallest < 2:
        raise ValueError(f"a line needs at least 2 points of at least 2 rows, got {points} and {smallest}")
    if count < 2 * smallest or count - smallest < points:
        raise ValueError(
            f"generated must have at least {max(2 * smallest, smallest + points)} rows to extrapolate from {points}"
            f" sizes of {smallest} and more, got {count}; give more pictures or a lower smallest, or use fid"
        )
    return np.linspace(smallest, count, points).astype(np.int64)
