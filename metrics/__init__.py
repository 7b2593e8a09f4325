"""Distances between pictures and between sets of images; importable alone, knows nothing of the other rooms.

- In one call: `evaluate(reference=..., generated=...)`; the same as `python -m metrics REFERENCE GENERATED`.
- Between sets of pictures: `swd`, `ms_ssim_diversity`. Of features (n, d), which an `extractor` makes: `fid`,
  `fid_infinity`, `kid`, `cmmd`, `mmd` with `mmd_test`, `precision_recall`, `prdc`, `sliced_wasserstein`. Of logits:
  `inception_score`.
- Picture by picture: `psnr`, `ssim`, `ms_ssim` (on `matlab_luma` for published figures), `perceptual_distance`.
- Piece by piece, merged in any order: `Moments`, `PatchDescriptors`, `FeatureStore`.

Images are uint8 (n, 3, h, w), as numpy arrays or torch tensors; `to_uint8` makes them of floats. `reference=` and
`generated=` are always named. A module is imported with the first name that is used of it. Kernels are in
`metrics.kernels`, sources of pictures in `metrics.sources`, networks in `metrics.features`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metrics import features, kernels, sources
    from metrics.arrays import to_uint8
    from metrics.descriptors import PatchDescriptors
    from metrics.discrepancy import cmmd, kid, mmd
    from metrics.distributed import all_reduce_moments, gather_rows
    from metrics.evaluation import evaluate
    from metrics.extraction import extract
    from metrics.feature_store import FeatureStore
    from metrics.features import extractor, register_extractor
    from metrics.frechet import FrechetReference, fid, fid_infinity, fid_interval, frechet_distance
    from metrics.inception import inception_score
    from metrics.intervals import Interval
    from metrics.luma import matlab_luma
    from metrics.moments import Moments
    from metrics.multiscale import Diversity, ms_ssim, ms_ssim_diversity, ms_ssim_progan
    from metrics.neighbours import Prdc, PrecisionRecall, expected_coverage, prdc, precision_recall
    from metrics.patch_groups import patch_distances_without
    from metrics.perceptual import perceptual_distance
    from metrics.permutations import MmdTest, mmd_test
    from metrics.pixel_error import psnr
    from metrics.plots import plot_reports
    from metrics.pyramids import laplacian_pyramid
    from metrics.reference_statistics import write_statistics
    from metrics.report import Figure, Report
    from metrics.similarity import ssim
    from metrics.sliced import SwdResult, patch_distance, sliced_wasserstein, swd
    from metrics.sources import open_source
    from metrics.statistics_files import SavedStatistics, load_statistics, save_statistics

_HOMES = {
    "to_uint8": "arrays",
    "PatchDescriptors": "descriptors",
    "cmmd": "discrepancy",
    "kid": "discrepancy",
    "mmd": "discrepancy",
    "all_reduce_moments": "distributed",
    "gather_rows": "distributed",
    "evaluate": "evaluation",
    "extract": "extraction",
    "FeatureStore": "feature_store",
    "extractor": "features",
    "register_extractor": "features",
    "FrechetReference": "frechet",
    "fid": "frechet",
    "fid_infinity": "frechet",
    "fid_interval": "frechet",
    "frechet_distance": "frechet",
    "inception_score": "inception",
    "Interval": "intervals",
    "matlab_luma": "luma",
    "Moments": "moments",
    "Diversity": "multiscale",
    "ms_ssim": "multiscale",
    "ms_ssim_diversity": "multiscale",
    "ms_ssim_progan": "multiscale",
    "Prdc": "neighbours",
    "PrecisionRecall": "neighbours",
    "expected_coverage": "neighbours",
    "prdc": "neighbours",
    "precision_recall": "neighbours",
    "patch_distances_without": "patch_groups",
    "perceptual_distance": "perceptual",
    "MmdTest": "permutations",
    "mmd_test": "permutations",
    "psnr": "pixel_error",
    "plot_reports": "plots",
    "laplacian_pyramid": "pyramids",
    "write_statistics": "reference_statistics",
    "Figure": "report",
    "Report": "report",
    "ssim": "similarity",
    "SwdResult": "sliced",
    "patch_distance": "sliced",
    "sliced_wasserstein": "sliced",
    "swd": "sliced",
    "open_source": "sources",
    "SavedStatistics": "statistics_files",
    "load_statistics": "statistics_files",
    "save_statistics": "statistics_files",
}
"""The module of each name; no module is called like a name it holds, or it would hide it."""

_MODULES = ("features", "kernels", "sources")

__all__ = [
    "Diversity",
    "FeatureStore",
    "Figure",
    "FrechetReference",
    "Interval",
    "MmdTest",
    "Moments",
    "PatchDescriptors",
    "Prdc",
    "PrecisionRecall",
    "Report",
    "SavedStatistics",
    "SwdResult",
    "all_reduce_moments",
    "cmmd",
    "evaluate",
    "expected_coverage",
    "extract",
    "extractor",
    "features",
    "fid",
    "fid_infinity",
    "fid_interval",
    "frechet_distance",
    "gather_rows",
    "inception_score",
    "kernels",
    "kid",
    "laplacian_pyramid",
    "load_statistics",
    "matlab_luma",
    "mmd",
    "mmd_test",
    "ms_ssim",
    "ms_ssim_diversity",
    "ms_ssim_progan",
    "open_source",
    "patch_distance",
    "patch_distances_without",
    "perceptual_distance",
    "plot_reports",
    "prdc",
    "precision_recall",
    "psnr",
    "register_extractor",
    "save_statistics",
    "sliced_wasserstein",
    "sources",
    "ssim",
    "swd",
    "to_uint8",
    "write_statistics",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"metrics.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'metrics' has no attribute {name!r}")
    return getattr(importlib.import_module(f"metrics.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
