"""Maximum mean discrepancy in its definitions' own words: each kernel a formula of two rows, each sum a loop."""

import itertools
import math
from collections.abc import Callable

import numpy as np

Kernel = Callable[[np.ndarray, np.ndarray], float]


def squared_distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(((x - y) ** 2).sum())


def rbf(*bandwidths: float) -> Kernel:
    return lambda x, y: sum(math.exp(-squared_distance(x, y) / (2 * s * s)) for s in bandwidths)


def rational_quadratic(*alphas: float) -> Kernel:
    return lambda x, y: sum((1 + squared_distance(x, y) / (2 * a)) ** -a for a in alphas)


def polynomial(degree: int, gamma: float, coef0: float) -> Kernel:
    return lambda x, y: (gamma * float(x @ y) + coef0) ** degree


def energy() -> Kernel:
    return lambda x, y: -math.sqrt(squared_distance(x, y))


def median_distance(rows: np.ndarray) -> float:
    return float(np.median([math.sqrt(squared_distance(x, y)) for x, y in itertools.combinations(rows, 2)]))


def _mean(kernel: Kernel, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([kernel(x, y) for x, y in pairs]))


def biased(kernel: Kernel, reference: np.ndarray, generated: np.ndarray) -> float:
    """Gretton et al. 2012, equation 5."""
    return (
        _mean(kernel, list(itertools.product(reference, reference)))
        + _mean(kernel, list(itertools.product(generated, generated)))
        - 2 * _mean(kernel, list(itertools.product(reference, generated)))
    )


def unbiased(kernel: Kernel, reference: np.ndarray, generated: np.ndarray) -> float:
    """Gretton et al. 2012, equation 3."""
    return (
        _mean(kernel, list(itertools.permutations(reference, 2)))
        + _mean(kernel, list(itertools.permutations(generated, 2)))
        - 2 * _mean(kernel, list(itertools.product(reference, generated)))
    )


def u_statistic(kernel: Kernel, reference: np.ndarray, generated: np.ndarray) -> float:
    """Gretton et al. 2012, equation 4: the mean of h over pairs of pairs."""
    terms = [_h(kernel, *pair) for pair in itertools.permutations(zip(reference, generated, strict=True), 2)]
    return float(np.mean(terms))


def linear(kernel: Kernel, reference: np.ndarray, generated: np.ndarray) -> float:
    """Gretton et al. 2012, lemma 14: the mean of h over neighbouring pairs; rows as they are to be paired."""
    pairs = list(zip(reference, generated, strict=True))
    return float(np.mean([_h(kernel, pairs[i], pairs[i + 1]) for i in range(0, len(pairs) - 1, 2)]))


def _h(kernel: Kernel, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    (x, y), (x2, y2) = one, other
    return kernel(x, x2) + kernel(y, y2) - kernel(x, y2) - kernel(x2, y)


def block(kernel: Kernel, reference: np.ndarray, generated: np.ndarray, size: int) -> float:
    """Zaremba et al. 2013: the mean of the unbiased estimates of consecutive blocks; rows as they are to be dealt."""
    starts = range(0, len(reference) - size + 1, size)
    return float(np.mean([unbiased(kernel, reference[i : i + size], generated[i : i + size]) for i in starts]))


def kid_values(
    reference: np.ndarray, generated: np.ndarray, *, subsets: int, size: int, rng: np.random.RandomState
) -> list[float]:
    """The unbiased estimates of subsets, drawn as torch-fidelity draws them: generated rows first, then reference."""
    kernel = polynomial(3, 1 / reference.shape[1], 1.0)
    values = []
    for _ in range(subsets):
        theirs = generated[rng.choice(len(generated), size, replace=False)]
        ours = reference[rng.choice(len(reference), size, replace=False)]
        values.append(unbiased(kernel, ours, theirs))
    return values


def permutation_p_value(kernel: Kernel, reference: np.ndarray, generated: np.ndarray) -> float:
    """The exact p-value of the unbiased estimate: the share of all labellings with as large a value."""
    pooled, n = np.concatenate([reference, generated]), len(reference)
    observed = unbiased(kernel, reference, generated)
    values = []
    for chosen in itertools.combinations(range(len(pooled)), n):
        others = [i for i in range(len(pooled)) if i not in chosen]
        values.append(unbiased(kernel, pooled[list(chosen)], pooled[others]))
    return float(np.mean([value >= observed - 1e-12 for value in values]))


def naive_kid(
    reference: np.ndarray, generated: np.ndarray, *, subsets: int, size: int, seed: int
) -> tuple[float, float]:
    """KID as it is usually programmed, three float32 matrices a subset: what speed is compared with."""
    rng, values = np.random.RandomState(seed), []
    for _ in range(subsets):
        theirs = generated[rng.choice(len(generated), size, replace=False)]
        ours = reference[rng.choice(len(reference), size, replace=False)]
        xx, yy, xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((ours, ours), (theirs, theirs), (ours, theirs)))
        within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        values.append(within - 2 * xy.mean())
    return float(np.mean(values)), float(np.std(values))
