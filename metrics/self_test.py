"""Two seconds of sums whose results are known: closed forms, and values computed once from the definitions.

Run by `python -m metrics doctor`. A wrong BLAS, a broken wheel or a miscompiled kernel shows here before it shows in a
paper.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from metrics.discrepancy import cmmd, kid
from metrics.frechet import fid, frechet_distance
from metrics.inception import inception_score
from metrics.multiscale import ms_ssim
from metrics.neighbours import prdc
from metrics.pyramids import laplacian_pyramid
from metrics.sliced import sliced_wasserstein

__all__ = ["ORACLES", "Oracle", "Outcome", "run_oracles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """A sum and what it must give."""

    name: str
    compute: Callable[[], float]
    expected: float
    tolerance: float
    """Absolute; each beside its reason below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an oracle."""

    oracle: Oracle
    found: float
    """NaN when the sum could not be computed."""
    error: str
    """Why not; empty when it could."""
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the result is as expected; NaN never is."""
        return abs(self.found - self.oracle.expected) <= self.oracle.tolerance


def run_oracles(oracles: tuple[Oracle, ...] | None = None) -> Iterator[Outcome]:
    """Yield the outcome of each oracle, all of them by default; an exception is an outcome too."""
    for oracle in ORACLES if oracles is None else oracles:
        start = time.perf_counter()
        found, error = math.nan, ""
        try:
            found = float(oracle.compute())
        except Exception as exception:  # whatever breaks is what the doctor is asked to find
            error = f"{type(exception).__name__}: {exception}"
        yield Outcome(oracle=oracle, found=found, error=error, seconds=time.perf_counter() - start)


def _normal_pair() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.RandomState(0)  # the known values were drawn with it
    return random.randn(200, 16), random.randn(200, 16) + 0.5


def _frechet_of_apart() -> float:
    """Unit covariances, means apart by 1 in each of 256 dimensions: the distance is 256."""
    unit = np.eye(256)
    return frechet_distance(np.zeros(256), unit, np.ones(256), unit)


def _fid_of_few_rows() -> float:
    """Four rows in four dimensions: singular covariances, on which square roots of a product turn to NaN."""
    random = np.random.RandomState(1)
    return fid(reference=random.randn(4, 4), generated=random.randn(4, 4))


def _kid_of_normals() -> float:
    reference, generated = _normal_pair()
    return kid(reference=reference, generated=generated, estimator="full")[0]


def _cmmd_of_normals() -> float:
    reference, generated = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in _normal_pair())
    return cmmd(reference=reference, generated=generated)


def _score_of_smoothed_classes() -> float:
    """Each of ten classes once in every split, with probability 0.919, the others 0.009."""
    probabilities = np.where(np.eye(10) > 0, 0.919, 0.009)
    return inception_score(np.log(np.tile(probabilities, (10, 1))))[0]


def _coverage_of_halves() -> float:
    """Of four references in two pairs, the pair with a generated point between is covered: one half."""
    reference = np.array([[0.0], [1.0], [10.0], [11.0]])
    return prdc(reference=reference, generated=np.array([[0.5], [0.5]]), k=1).coverage


def _shift_of_one_dimension() -> float:
    rows = np.random.default_rng(0).normal(size=(500, 1)).astype(np.float32)
    return sliced_wasserstein(
        reference=rows, generated=rows + np.float32(0.25), num_directions=4, rng=np.random.default_rng(1)
    )


def _ms_ssim_of_noise() -> float:
    """Noise against its mixture with other noise; the value was computed in float64 from the definition."""
    random = np.random.RandomState(0)
    noise = random.randint(0, 256, (1, 3, 176, 176)).astype(np.uint8)
    mixed = (noise // 2 + random.randint(0, 128, noise.shape)).astype(np.uint8)
    return float(ms_ssim(noise, mixed, data_range=255.0)[0])


def _pyramid_of_a_ramp() -> float:
    """The finest level of a horizontal ramp is zero away from the borders: both filters keep straight lines."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8), (1, 3, 64, 64))
    levels = laplacian_pyramid(np.ascontiguousarray(ramp), min_size=16)
    return float(torch.as_tensor(levels[0])[0, 0, 8:-8, 8:-8].abs().max())


ORACLES = (
    Oracle(name="Frechet distance, closed form", compute=_frechet_of_apart, expected=256.0, tolerance=1e-8),
    Oracle(name="Frechet distance, singular", compute=_fid_of_few_rows, expected=4.753837617472, tolerance=1e-6),
    Oracle(name="KID, full sample", compute=_kid_of_normals, expected=1.127566285166, tolerance=1e-9),
    Oracle(name="CMMD", compute=_cmmd_of_normals, expected=2.320034648094, tolerance=1e-8),
    Oracle(name="inception score", compute=_score_of_smoothed_classes, expected=6.318014208194, tolerance=1e-9),
    Oracle(name="coverage", compute=_coverage_of_halves, expected=0.5, tolerance=0.0),
    # float32 rows of size 1
    Oracle(name="sliced Wasserstein, shift", compute=_shift_of_one_dimension, expected=0.25, tolerance=1e-5),
    # computed in float32
    Oracle(name="MS-SSIM, noise", compute=_ms_ssim_of_noise, expected=0.733479922539, tolerance=2e-6),
    # grey levels, in float32
    Oracle(name="Laplacian pyramid, ramp", compute=_pyramid_of_a_ramp, expected=0.0, tolerance=5e-5),
)
