"""Fréchet distance as its formula says, with scipy's matrix square root; slow, and inexact for singular matrices."""

import warnings

import numpy as np
import scipy.linalg


def frechet(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of singular matrices, which is known
        root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root).real)


def fid(reference: np.ndarray, generated: np.ndarray, ddof: int = 1) -> float:
    cov_a = np.atleast_2d(np.cov(reference, rowvar=False, ddof=ddof))
    cov_b = np.atleast_2d(np.cov(generated, rowvar=False, ddof=ddof))
    return frechet(reference.mean(axis=0), cov_a, generated.mean(axis=0), cov_b)


def frechet_of_diagonals(mean_a: np.ndarray, var_a: np.ndarray, mean_b: np.ndarray, var_b: np.ndarray) -> float:
    return float(np.sum((mean_a - mean_b) ** 2) + np.sum((np.sqrt(var_a) - np.sqrt(var_b)) ** 2))


def fid_infinity(reference: np.ndarray, generated: np.ndarray, sizes: list[int], seed: int) -> float:
    rng = np.random.default_rng(seed)
    distances = [fid(reference, generated[rng.permutation(len(generated))[:size]]) for size in sizes]
    return float(np.polyfit([1 / size for size in sizes], distances, 1)[1])
