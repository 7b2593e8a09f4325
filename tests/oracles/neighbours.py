"""Precision, recall, density and coverage in their definitions' own words: every distance of every pair, in loops."""

import numpy as np


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a - b) ** 2).sum()))


def radius(rows: np.ndarray, i: int, k: int) -> float:
    """Distance from row i to its k-th nearest other row."""
    return sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]


def memberships(centres: np.ndarray, points: np.ndarray, k: int, *, closed: bool) -> np.ndarray:
    """Whether the ball of each centre (first axis) holds each point (second axis)."""
    inside = np.zeros((len(centres), len(points)), dtype=bool)
    for i, centre in enumerate(centres):
        limit = radius(centres, i, k)
        for j, point in enumerate(points):
            gap = distance(centre, point)
            inside[i, j] = gap <= limit if closed else gap < limit
    return inside


def precision_recall(reference: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float]:
    """Kynkaanniemi et al. 2019, equations 1 and 2."""
    precise = memberships(reference, generated, k, closed=True).any(axis=0)
    recalled = memberships(generated, reference, k, closed=True).any(axis=0)
    return float(precise.mean()), float(recalled.mean())


def prdc(reference: np.ndarray, generated: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Naeem et al. 2020: precision, recall, density, coverage (by each reference row's nearest generated row)."""
    in_reference = memberships(reference, generated, k, closed=False)
    recalled = memberships(generated, reference, k, closed=False).any(axis=0)
    density = in_reference.sum() / (k * len(generated))
    covered = [
        min(distance(row, other) for other in generated) < radius(reference, i, k) for i, row in enumerate(reference)
    ]
    return float(in_reference.any(axis=0).mean()), float(recalled.mean()), float(density), float(np.mean(covered))
