"""Every measure that `evaluate` knows: what it needs to be gathered, and the figures that it makes of that.

Each figure can have an interval by the grouped jackknife of `metrics.intervals`, over pictures of both sets.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import torch
from jaxtyping import Float32
from scipy.special import ndtri
from torch import Tensor

from metrics.descriptors import PatchDescriptors
from metrics.discrepancy import LeftOut, cmmd_left_out, kid, kid_left_out
from metrics.frechet import FrechetReference, fid, fid_interval
from metrics.inception import inception_score
from metrics.intervals import GROUPS, Interval, group_labels, jackknife_interval
from metrics.moments import Moments
from metrics.multiscale import Diversity
from metrics.neighbours import Prdc, expected_coverage, prdc, prdc_left_out
from metrics.patch_groups import patch_distances_without
from metrics.report import Figure
from metrics.sliced import SwdResult, patch_distance
from metrics.statistics_files import SavedStatistics

Part = TypeVar("Part")

__all__ = ["MEASURES", "Gathered", "Inputs", "Measure", "find_measures"]

KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
"""Binkowski et al. 2018, section 4."""
LEAST_SIDE = 16
"""Of the coarsest level of a pyramid (Karras et al. 2018), and of MS-SSIM's five scales."""
NEIGHBOURS = 5
"""Naeem et al. 2020."""
SPLITS = 10
"""Salimans et al. 2016."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What one pass kept of a set; None where nothing needed it."""

    features: Float32[Tensor, "n d"] | None = None
    logits: Float32[Tensor, "n c"] | None = None
    clip: Float32[Tensor, "n e"] | None = None
    patches: PatchDescriptors | None = None
    similarities: Callable[[], Diversity] | None = None
    """Computes how alike the pictures of this set are to each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Both sets, and how to measure them."""

    reference: Gathered | None
    """None where `statistics` stands for it."""
    generated: Gathered
    statistics: SavedStatistics | None
    network: str
    """Name of what made the features."""
    distance_name: str
    """Of a Frechet distance over the features, such as "FID" or "FD-efflite0"."""
    ddof: int
    seed: int
    ci: float | None
    """Level of the intervals; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One entry of `evaluate(metrics=...)`."""

    name: str
    parts: Mapping[str, tuple[str, ...]]
    """What it needs of the "reference" and of the "generated" set: fields of `Gathered`."""
    least: int
    """Pictures of each set that it needs."""
    least_side: int = 0
    """Shorter side in pixels that it needs, all pictures being of one size; 0 where they may be of any."""
    figures: Callable[[Inputs], list[Figure]]


def find_measures(names: Sequence[str]) -> list[Measure]:
    """Return the measures of these names, each once; "ms-ssim" is ms_ssim.

    Raises:
        ValueError: for an unknown name, with the nearest known one; or when there is none.
    """
    for name in names:
        if name not in MEASURES:
            near = difflib.get_close_matches(str(name).lower().replace("-", "_"), MEASURES, 1, 0.0)[0]
            raise ValueError(f"there is no metric {name!r}; did you mean {near!r}? Known: {', '.join(MEASURES)}")
    if not names:
        raise ValueError(f"metrics names no metric; give some of {', '.join(MEASURES)}")
    return [MEASURES[name] for name in dict.fromkeys(names)]


def _frechet(inputs: Inputs) -> list[Figure]:
    made = _needed(inputs.generated.features)
    if inputs.statistics is not None:
        return [_frechet_to_statistics(inputs, inputs.statistics, made)]
    known = _needed(_reference(inputs).features)
    value = fid(reference=known, generated=made, ddof=inputs.ddof)
    interval = None
    groups = _groups(len(known), len(made))
    if inputs.ci is not None and groups:
        interval = _frechet_interval(inputs, known, made, groups)
    return [Figure(metric="fid", name=inputs.distance_name, value=value, better="lower", interval=interval)]


def _frechet_interval(inputs: Inputs, known: Tensor, made: Tensor, groups: int) -> Interval:
    """Return the interval by the way that `fid` itself goes: by rows when they are fewer than columns."""
    level, ddof = inputs.ci or 0.0, inputs.ddof
    if min(len(known), len(made)) >= known.shape[1]:
        sets = (_GroupMoments(known, groups, inputs.seed), _GroupMoments(made, groups, inputs.seed))
        return fid_interval(reference=sets[0], generated=sets[1], ddof=ddof, level=level)
    known_parts, made_parts = (_without_groups(rows, groups, inputs.seed) for rows in (known, made))
    return jackknife_interval(
        fid(reference=known, generated=made, ddof=ddof),
        without_reference=[fid(reference=part, generated=made, ddof=ddof) for part in known_parts],
        without_generated=[fid(reference=known, generated=part, ddof=ddof) for part in made_parts],
        level=level,
        lowest=0.0,
    )


def _frechet_to_statistics(inputs: Inputs, known: SavedStatistics, made: Tensor) -> Figure:
    """Return the distance to a file's mean and covariance; its interval takes the reference as it is."""
    reference = FrechetReference(known.mean, known.covariance)

    def distance(moments: Moments) -> float:
        return reference.distance(moments.mean.cpu(), moments.covariance(ddof=inputs.ddof).cpu())

    whole = _moments_of(made)
    value, interval = distance(whole), None
    if inputs.ci is not None and _groups(len(made)):
        groups = _GroupMoments(made, _groups(len(made)), inputs.seed)
        without = [distance(whole.without(group)) for group in groups]
        interval = jackknife_interval(value, without_generated=without, level=inputs.ci, lowest=0.0)
    return Figure(
        metric="fid",
        name=inputs.distance_name,
        value=value,
        better="lower",
        interval=interval,
        about="to a file of statistics",
    )


def _kernel_distance(inputs: Inputs) -> list[Figure]:
    """Return the published mean over subsets, or of fewer pictures than a subset the estimate from all pairs."""
    known, made = _needed(_reference(inputs).features), _needed(inputs.generated.features)
    spread, about = None, "unbiased, all pairs"
    many = min(len(known), len(made)) > KID_SUBSET_SIZE
    left = None if many and inputs.ci is None else kid_left_out(reference=known, generated=made)
    if many or left is None:
        value, spread = kid(reference=known, generated=made, seed=inputs.seed)
        about = f"unbiased, {KID_SUBSETS} subsets of {KID_SUBSET_SIZE:,}"
    else:
        value = left.value
    interval = None if inputs.ci is None or left is None else _interval(value, left, inputs.ci)
    name = _named("KID", "KD", inputs.distance_name)
    return [Figure(metric="kid", name=name, value=value, spread=spread, better="lower", interval=interval, about=about)]


def _score(inputs: Inputs) -> list[Figure]:
    logits = _needed(inputs.generated.logits)
    mean, spread = inception_score(logits, splits=SPLITS)
    interval = None
    groups = _groups(len(logits))
    if inputs.ci is not None and len(logits) >= 2 * SPLITS and groups:
        parts = _without_groups(logits, groups, inputs.seed)
        without = [inception_score(part, splits=SPLITS)[0] for part in parts]
        interval = jackknife_interval(
            mean, without_generated=without, level=inputs.ci, lowest=1.0, highest=float(logits.shape[1])
        )
    return [
        Figure(
            metric="is",
            name=_named("IS", "IS", inputs.distance_name),
            value=mean,
            spread=spread,
            better="higher",
            interval=interval,
            about=f"of the generated set, {SPLITS} splits, {logits.shape[1]:,} classes",
        )
    ]


def _clip_discrepancy(inputs: Inputs) -> list[Figure]:
    known, made = _needed(_reference(inputs).clip), _needed(inputs.generated.clip)
    left = cmmd_left_out(reference=known, generated=made)
    interval = None if inputs.ci is None else _interval(left.value, left, inputs.ci, lowest=0.0)
    return [Figure(metric="cmmd", name="CMMD", value=left.value, better="lower", interval=interval, about="biased")]


def _neighbourhoods(inputs: Inputs) -> list[Figure]:
    known, made = _needed(_reference(inputs).features), _needed(inputs.generated.features)
    groups = _groups(len(known), len(made), least=NEIGHBOURS + 1) if inputs.ci is not None else 0
    without: dict[str, list[Prdc]] = {}
    if groups:
        left = prdc_left_out(reference=known, generated=made, k=NEIGHBOURS, groups=groups, seed=inputs.seed)
        found = left.value
        without = {"without_reference": left.without_reference, "without_generated": left.without_generated}
    else:
        found = prdc(reference=known, generated=made, k=NEIGHBOURS)
    figures = []
    for name in ("precision", "recall", "density", "coverage"):
        value, highest = getattr(found, name), math.inf if name == "density" else 1.0
        interval = None
        if inputs.ci is not None and groups:
            values = {side: [getattr(other, name) for other in others] for side, others in without.items()}
            interval = jackknife_interval(value, **values, level=inputs.ci, lowest=0.0, highest=highest)
        about = f"k = {NEIGHBOURS}, {inputs.network}"
        if name == "coverage":
            about += f"; {expected_coverage(len(known), len(made), NEIGHBOURS):.4f} for equal sources"
        figures.append(Figure(metric="prdc", name=name, value=value, better="higher", interval=interval, about=about))
    return figures


def _patches(inputs: Inputs) -> list[Figure]:
    """Return the mean of the levels and each level, beside each what equal sources would get."""
    known, made = _needed(_reference(inputs).patches), _needed(inputs.generated.patches)
    found = patch_distance(reference=known, generated=made, seed=inputs.seed, floor=known.count > 1)
    values, floors = _levels(found), _levels(found.floor) if found.floor else {}
    intervals = _patch_intervals(inputs, known, made, values)
    return [
        Figure(
            metric="swd",
            name=name,
            value=value,
            better="lower",
            interval=intervals.get(name),
            about=f"{floors[name]:.4g} for equal sources" if name in floors else "",
        )
        for name, value in values.items()
    ]


def _patch_intervals(
    inputs: Inputs, known: PatchDescriptors, made: PatchDescriptors, values: Mapping[str, float]
) -> dict[str, Interval]:
    groups = _groups(known.count, made.count)
    if inputs.ci is None or not groups:
        return {}
    left = patch_distances_without(reference=known, generated=made, seed=inputs.seed, groups=groups)
    known_levels, made_levels = (
        [_levels(found) for found in side] for side in (left.without_reference, left.without_generated)
    )
    return {
        name: jackknife_interval(
            value,
            without_reference=[levels[name] for levels in known_levels],
            without_generated=[levels[name] for levels in made_levels],
            level=inputs.ci,
            lowest=0.0,
        )
        for name, value in values.items()
    }


def _levels(found: SwdResult) -> dict[str, float]:
    """Return the mean and every level under the names of their figures."""
    return {"SWD x1e3": found.mean, **{f"SWD x1e3, {side} px": value for side, value in found.levels.items()}}


def _diversity(inputs: Inputs) -> list[Figure]:
    """Return the likeness of generated pictures to each other, and the reference's to compare it with."""
    figures = []
    for role, gathered in (("generated", inputs.generated), ("reference", _reference(inputs))):
        found = _needed(gathered.similarities)()
        interval = None
        if inputs.ci is not None:
            spread = float(ndtri((1 + inputs.ci) / 2)) * found.standard_error
            interval = Interval(
                low=max(found.mean - spread, 0.0),
                high=min(found.mean + spread, 1.0),
                level=inputs.ci,
                standard_error=found.standard_error,
            )
        figures.append(
            Figure(
                metric="ms_ssim",
                name="MS-SSIM" if role == "generated" else "MS-SSIM, reference",
                value=found.mean,
                better="neither",
                interval=interval,
                about=f"ProGAN's variant, {found.pairs:,} pairs of {role} pictures; lower is more varied",
            )
        )
    return figures


def _interval(value: float, left: LeftOut, level: float, *, lowest: float = -math.inf) -> Interval:
    return jackknife_interval(
        value,
        without_reference=left.without_reference,
        without_generated=left.without_generated,
        level=level,
        lowest=lowest,
    )


def _named(published: str, other: str, distance_name: str) -> str:
    """Return the published name over the published features, else one that says which features: KD-efflite0."""
    return published if distance_name == "FID" else f"{other}-{distance_name.removeprefix('FD-')}"


def _needed(part: Part | None) -> Part:
    if part is None:
        raise RuntimeError("a measure lacks what it declared to need; this is a bug of metrics.measures")
    return part


def _reference(inputs: Inputs) -> Gathered:
    if inputs.reference is None:
        raise RuntimeError("a measure of pictures was planned without reference pictures; a bug of evaluation_plan")
    return inputs.reference


def _groups(*counts: int, least: int = 2) -> int:
    """Return how many groups an interval leaves out: GROUPS, fewer of few pictures, 0 where that cannot be.

    Each group has at least two rows, and without one there are at least `least` left.
    """
    smallest = min(counts)
    groups = min(GROUPS, smallest // 2)
    return groups if groups >= 2 and smallest - math.ceil(smallest / groups) >= least else 0


class _GroupMoments(Sequence[Moments]):
    """Moments of each group of rows, made when asked for: all of them together would take gigabytes."""

    def __init__(self, rows: Tensor, groups: int, seed: int) -> None:
        self._rows = rows
        self._groups = groups
        self._labels = torch.from_numpy(group_labels(0, len(rows), groups=groups, seed=seed)).to(rows.device)

    def __len__(self) -> int:
        return self._groups

    def __getitem__(self, group: int) -> Moments:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= group < self._groups:
            raise IndexError(group)
        return _moments_of(self._rows[self._labels == group])


def _moments_of(rows: Tensor) -> Moments:
    moments = Moments(rows.shape[1])
    moments.update(rows)
    return moments


def _without_groups(rows: Tensor, groups: int, seed: int) -> Iterator[Tensor]:
    labels = torch.from_numpy(group_labels(0, len(rows), groups=groups, seed=seed)).to(rows.device)
    return (rows[labels != group] for group in range(groups))


_FEATURES: Mapping[str, tuple[str, ...]] = {"reference": ("features",), "generated": ("features",)}
_ALL = (
    Measure(name="fid", parts=_FEATURES, least=2, figures=_frechet),
    Measure(name="kid", parts=_FEATURES, least=3, figures=_kernel_distance),
    Measure(name="is", parts={"reference": (), "generated": ("logits",)}, least=SPLITS, figures=_score),
    Measure(name="prdc", parts=_FEATURES, least=NEIGHBOURS + 1, figures=_neighbourhoods),
    Measure(
        name="swd",
        parts={"reference": ("patches",), "generated": ("patches",)},
        least=1,
        least_side=LEAST_SIDE,
        figures=_patches,
    ),
    Measure(
        name="ms_ssim",
        parts={"reference": ("similarities",), "generated": ("similarities",)},
        least=2,
        least_side=LEAST_SIDE,
        figures=_diversity,
    ),
    Measure(name="cmmd", parts={"reference": ("clip",), "generated": ("clip",)}, least=2, figures=_clip_discrepancy),
)
MEASURES: Mapping[str, Measure] = MappingProxyType({measure.name: measure for measure in _ALL})
"""By name, in the order of a report."""
