"""Fréchet distance against scipy's matrix square root; means and covariances in batches against numpy's cov."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from measure import Row, compare
from oracles import frechet as oracle

from metrics.frechet import FrechetReference, fid, frechet_distance
from metrics.moments import Moments


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the comparisons, at 2048 columns, quickly at 256."""
    width = 256 if quick else 2048
    turns = 3 if quick else 1
    yield from _distances(width, turns)
    yield _few_rows(width, turns)
    yield from _summing(width, turns)


def _distances(width: int, turns: int) -> Iterator[Row]:
    """Yield the distance of two full-rank sets, with the reference's root kept, and computed anew."""
    a, b = _features(1, 5 * width // 2, width), _features(2, 5 * width // 2, width)
    of_a, of_b = (a.mean(axis=0), np.cov(a, rowvar=False)), (b.mean(axis=0), np.cov(b, rowvar=False))
    known = FrechetReference(*of_a)
    ways: list[tuple[str, Callable[[], float]]] = [
        ("reference kept", lambda: known.distance(*of_b)),
        ("nothing kept", lambda: frechet_distance(*of_a, *of_b)),
    ]
    expected = oracle.frechet(*of_a, *of_b)
    for what, ours in ways:
        yield compare(
            f"Fréchet distance, {width} columns, {what}",
            ours=ours,
            theirs=lambda: oracle.frechet(*of_a, *of_b),
            whose="scipy.linalg.sqrtm",
            turns=turns,
            note=f"relative difference {abs(ours() / expected - 1):.0e}",
        )


def _few_rows(width: int, turns: int) -> Row:
    """Return the distance of two sets of fewer rows than columns, covariances included."""
    a, b = _features(3, width // 2, width), _features(4, width // 2, width)
    expected = oracle.fid(a, b)
    return compare(
        f"FID of {width // 2} + {width // 2} rows, {width} columns",
        ours=lambda: fid(reference=a, generated=b),
        theirs=lambda: oracle.fid(a, b),
        whose="numpy.cov, scipy.linalg.sqrtm",
        turns=turns,
        note=f"relative difference {abs(fid(reference=a, generated=b) / expected - 1):.0e} (scipy's)",
    )


def _summing(width: int, turns: int) -> Iterator[Row]:
    """Yield the summing of float32 rows in batches, against numpy's cov of all at once."""
    features = _features(5, 4 * width, width).astype(np.float32)
    for batch in (16, 256):
        yield compare(
            f"Moments of {len(features)} rows, {width} columns, batches of {batch}",
            ours=lambda batch=batch: _summed(features, batch).covariance(),
            theirs=lambda: np.cov(features.astype(np.float64), rowvar=False),
            whose="numpy.cov of all rows",
            turns=turns + 2,
        )


def _summed(features: np.ndarray, batch: int) -> Moments:
    moments = Moments(features.shape[1])
    for start in range(0, len(features), batch):
        moments.update(features[start : start + batch])
    return moments


def _features(seed: int, count: int, width: int) -> np.ndarray:
    """Return rows whose columns' spreads fall by a hundred, as deep features' do."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * np.logspace(0, -2, width)
