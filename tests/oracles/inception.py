"""Inception score picture by picture."""

import math

import numpy as np


def inception_score(logits: np.ndarray, splits: int) -> tuple[float, float]:
    scores = []
    for i in range(splits):
        part = logits[i * len(logits) // splits : (i + 1) * len(logits) // splits].astype(np.longdouble)
        p = np.exp(part) / np.exp(part).sum(axis=1, keepdims=True)
        everything = p.mean(axis=0)
        divergences = [
            sum(p_c * math.log(p_c / all_c) for p_c, all_c in zip(row, everything, strict=True) if p_c > 0) for row in p
        ]
        scores.append(math.exp(np.mean(divergences)))
    return float(np.mean(scores)), float(np.std(scores))
