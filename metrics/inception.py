"""Inception score: a classifier should be sure of each picture and varied over all (Salimans et al. 2016)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from metrics.arrays import ArrayLike, checked_rows

__all__ = ["inception_score"]


def inception_score(logits: ArrayLike, splits: int = 10) -> tuple[float, float]:
    """Return the score's mean and population standard deviation over consecutive parts of the pictures.

    exp(mean KL(p(class | picture) || p(class))), p(class) taken within each part. It knows no reference: it does not
    notice a generator that draws one perfect picture of each class. The parts follow the order given, so shuffle
    pictures that come sorted by class. The deviation shows the parts' spread and is no error of the mean.

    Args:
        logits: (n, c), before the softmax. The published score takes those of the 2015 Inception graph, 1008 columns,
            without the last layer's bias.
        splits: parts; the paper uses 10 of 5,000 pictures. The score grows with the pictures of a part.

    Returns:
        Mean between 1 and c, and deviation.

    Raises:
        TypeError, ValueError: see `metrics.arrays.checked_rows`; also when there are fewer pictures than parts.

    >>> import numpy as np
    >>> inception_score(np.full((20, 5), 3.0))
    (1.0, 0.0)
    """
    if splits < 1:
        raise ValueError(f"splits must be at least 1, got {splits}")
    rows = checked_rows("logits", logits)
    if len(rows) < splits:
        raise ValueError(f"{splits} splits need at least {splits} pictures, got {len(rows)}; give more or split less")
    scores = [_score(rows[i * len(rows) // splits : (i + 1) * len(rows) // splits]) for i in range(splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: Float64[Tensor, "n c"]) -> float:
    """Return one part's score; logarithms are never taken of a probability, which may have underflowed to 0."""
    log_each = logits.log_softmax(dim=1)
    log_all = log_each.logsumexp(dim=0) - math.log(len(logits))
    divergence = (log_each.exp() * (log_each - log_all)).sum(dim=1).mean()
    return float(divergence.clamp_min(0).exp())
