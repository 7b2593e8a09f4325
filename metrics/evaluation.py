"""One call, every measure: pictures are read once, each network sees them once, and the report says how it was done."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrics.descriptors import Role
from metrics.evaluation_plan import Plan, make_plan, statistics_of
from metrics.features import FeatureExtractor
from metrics.gathering import Gatherer, PairGatherer, PatchGatherer, RowGatherer
from metrics.measures import Gathered, Inputs
from metrics.reference_cache import ReferenceCache, open_cache
from metrics.reference_statistics import check_statistics
from metrics.report import Figure, NetworkSummary, Report, SetSummary
from metrics.set_reading import Clock, PassesHere, PassMaker, Progress, SetReader
from metrics.set_warnings import (
    count_warnings,
    enlarged_warnings,
    few_for_score_warnings,
    few_rows_warnings,
    same_pictures_warnings,
)
from metrics.sources.opening import open_source
from metrics.sources.source import ImageSource
from metrics.sources.summary import contrast
from metrics.statistics_files import SavedStatistics

__all__ = ["evaluate"]

PACKAGES = ("progan-hq", "torch", "numpy")
"""Whose versions a report names."""


def evaluate(
    *,
    reference: object,
    generated: object,
    metrics: Sequence[str] | None = None,
    extractor: str | FeatureExtractor | None = None,
    protocol: str = "tf1",
    device: str = "auto",
    batch_size: int | str = "auto",
    seed: int = 0,
    ci: float | None = None,
    cache: Path | str | None = "auto",
    progress: Progress | None = None,
    passes: PassMaker | None = None,
) -> Report:
    """Return every figure that tells how far generated pictures are from reference pictures.

    Each picture is decoded once and seen once by each network. Equal arguments give equal figures, whatever the batch
    size, to the rounding of float32 features (docs/precision.md says how much that is).

    Args:
        reference: pictures, as anything that `metrics.open_source` takes; or an .npz file of statistics (mu and
            sigma), to which fid alone can be measured.
        generated: pictures likewise.
        metrics: names out of fid, kid, is, prdc, swd, ms_ssim and cmmd; one that cannot be computed is an error. None
            means all of them, and those that cannot be computed are left out and named in the notes.
        extractor: the network of fid, kid, is and prdc: a name for `metrics.features.extractor`, or an open one; None
            means inception-fid, where its weights are on this machine. Over other features than the published
            Inception's, figures are named by their network, such as FD-efflite0.
        protocol: how the Inception network is fed, when it is given by name; for whose is which see docs/precision.md.
        device: as torch names it; "auto" takes the GPU where there is one.
        batch_size: pictures in memory at a time, or "auto".
        seed: of KID's subsets, SWD's places and directions, pairs for MS-SSIM and groups for intervals.
        ci: level of a confidence interval for each figure, such as 0.95; it covers drawing other pictures from the
            same sources, nothing else (see `metrics.intervals.Interval`). FID's costs some forty distances.
        cache: folder for what was gathered of reference sets; "auto" is $HQ_CACHE or the user's cache folder, None
            keeps nothing. Entries are found again by the content of the pictures, weights, protocol and settings.
        progress: called after each batch.
        passes: what reads the pictures and runs the networks over them; None does it in this process, on `device`.
            Figures are always computed here.

    Raises:
        ValueError: for unknown metrics, with the nearest known name, and for pictures that cannot be measured.
        TypeError: for what holds no pictures.
        FileNotFoundError: for paths that lead nowhere.
        MissingWeights: when the file of a network, or of a metric's, that was named is not on this machine; nothing is
            downloaded.
        WeightsError: when it is damaged or another one.
    """
    clock = Clock()
    with clock("opening"):
        store = open_cache(cache)
        statistics = statistics_of(reference)
        made = _opened("generated", generated)
        pictures = None if statistics else _opened("reference", reference)
        plan = make_plan(
            metrics,
            network=extractor,
            protocol=protocol,
            device=device,
            batch_size=batch_size,
            seed=seed,
            ci=ci,
            statistics=statistics,
        )
        known = pictures or _known(reference, statistics, plan)
        plan = plan.for_counts(reference=known.count, generated=made.count)
        plan = plan.for_sizes([_sizes(side) for side in (known, made)])
        passes = passes or PassesHere(plan.device)
        reader = SetReader(
            batch_size=plan.batch_size, passes=passes, device=passes.device, clock=clock, progress=progress
        )
    for side in (known, made):
        side.gather(plan, reader, store)
    plan = plan.for_counts(reference=known.count, generated=made.count)
    figures = _figures(plan, known, made, statistics, clock)
    return _report(plan, known, made, figures, reader)


@dataclass(kw_only=True)
class _Side:
    """One of the two sets, on its way from a source to what was gathered of it."""

    role: Role
    name: str
    source: ImageSource | None
    """None where a file of statistics stands for the pictures."""
    count: int | None = None
    """None for a stream before it is read, and where a file of statistics does not say."""
    from_cache: tuple[str, ...] = ()
    gathered: Gathered | None = None
    warnings: tuple[str, ...] = ()
    """About a file of statistics."""

    def gather(self, plan: Plan, reader: SetReader, store: ReferenceCache | None) -> None:
        """Read what the plan needs, the reference through the cache."""
        if self.source is None:
            return
        gatherers = _gatherers(plan, self.role, self.count)
        if self.role == "reference":
            self.count, found = reader.recall(self.source, gatherers, store)
            self.from_cache = tuple(found)
        else:
            self.count = reader.read(self.role, self.source, gatherers)
        self.gathered = _gathered(plan, gatherers)


def _opened(role: Role, pictures: object) -> _Side:
    source = open_source(pictures)
    return _Side(role=role, name=source.name, source=source, count=source.count)


def _sizes(side: _Side) -> Collection[tuple[int, int]]:
    """Return the sizes of a set's pictures where they are known without a pass."""
    return () if side.source is None or side.source.count is None else side.source.sizes()


def _known(reference: object, statistics: SavedStatistics | None, plan: Plan) -> _Side:
    if statistics is None or plan.network is None:
        return _opened("reference", reference)
    name = str(reference)
    warnings = check_statistics(statistics, plan.network, name)
    return _Side(role="reference", name=name, source=None, count=statistics.count, warnings=tuple(warnings))


def _gatherers(plan: Plan, role: Role, count: int | None) -> list[Gatherer]:
    needed = plan.needs(role)
    gatherers: list[Gatherer] = []
    wanted = {"features": needed & {"features", "logits"}, "clip": needed & {"clip"}}
    networks = {"features": plan.network, "clip": plan.clip}
    if plan.clip is plan.network and wanted["features"]:
        del networks["clip"]  # its rows are the features
    gatherers += [RowGatherer(part, network) for part, network in networks.items() if network and wanted[part]]
    if "patches" in needed:
        gatherers.append(PatchGatherer(role, seed=plan.seed, expected=count, device=plan.device))
    if "similarities" in needed:
        gatherers.append(PairGatherer(seed=plan.seed, device=plan.device))
    return gatherers


def _gathered(plan: Plan, gatherers: Sequence[Gatherer]) -> Gathered:
    found: dict[str, Any] = {}
    for gatherer in gatherers:
        if isinstance(gatherer, RowGatherer):
            found[gatherer.part] = gatherer.features()
            if gatherer.part == "features":
                found["logits"] = gatherer.logits()
        elif isinstance(gatherer, PatchGatherer):
            found["patches"] = gatherer.descriptors
        elif isinstance(gatherer, PairGatherer):
            found["similarities"] = gatherer.diversity
    if plan.clip is not None and plan.clip is plan.network:
        found["clip"] = found.get("clip", found.get("features"))
    return Gathered(**found)


def _figures(
    plan: Plan, known: _Side, made: _Side, statistics: SavedStatistics | None, clock: Clock
) -> tuple[Figure, ...]:
    """Return every measure's figures, in the order asked for."""
    inputs = Inputs(
        reference=known.gathered,
        generated=made.gathered or Gathered(),
        statistics=statistics,
        network=plan.network.name if plan.network else "",
        distance_name=plan.network.distance_name if plan.network else "",
        ddof=plan.network.ddof if plan.network else 1,
        seed=plan.seed,
        ci=plan.ci,
    )
    figures = []
    for measure in plan.measures:
        with clock(measure.name):
            figures += measure.figures(inputs)
    return tuple(figures)


def _report(plan: Plan, known: _Side, made: _Side, figures: tuple[Figure, ...], reader: SetReader) -> Report:
    with reader.clock("closing"):
        warnings = [*_count_warnings(plan, known, made), *_picture_warnings(plan, known, made)]
        sets = [_set_summary(side) for side in (known, made)]
    return Report(
        figures=figures,
        reference=sets[0],
        generated=sets[1],
        networks=_networks(plan),
        device=reader.device,
        seed=plan.seed,
        ci=plan.ci,
        warnings=tuple(warnings),
        notes=(*plan.notes, *reader.notes),
        seconds=reader.clock.seconds,
        images_per_s=reader.pictures_read / reader.seconds if reader.pictures_read else math.nan,
        versions={name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()},
    )


def _count_warnings(plan: Plan, known: _Side, made: _Side) -> list[str]:
    if made.count is None:
        return []
    warnings = [*known.warnings, *count_warnings(reference=known.count, generated=made.count)]
    names = {measure.name for measure in plan.measures}
    if plan.network is not None and "fid" in names:
        width, name = plan.network.width, plan.network.distance_name
        warnings += few_rows_warnings(reference=known.count, generated=made.count, width=width, name=name)
    return warnings + (few_for_score_warnings(made.count) if "is" in names else [])


def _picture_warnings(plan: Plan, known: _Side, made: _Side) -> list[str]:
    sources = {side.role: side.source for side in (known, made) if side.source is not None}
    summaries = [source.summary() for source in sources.values()]
    warnings = [note for summary in summaries for note in summary.notes]
    if len(summaries) == 2:
        warnings += contrast(*summaries)
        warnings += same_pictures_warnings(*(source.fingerprint() for source in sources.values()))
    preparation = getattr(plan.network, "preparation", None)
    if preparation is not None:
        smallest = {role: min(source.sizes(), default=None, key=min) for role, source in sources.items()}
        found = {role: size for role, size in smallest.items() if size is not None}
        warnings += enlarged_warnings(found, side=preparation.side)
    return warnings


def _set_summary(side: _Side) -> SetSummary:
    if side.source is None:
        return SetSummary(name=side.name, pictures=side.count, size="", fingerprint="")
    return SetSummary(
        name=side.name,
        pictures=side.count,
        size=_size(side.source.sizes()),
        fingerprint=side.source.fingerprint() or "",
        from_cache=side.from_cache,
    )


def _size(sizes: Mapping[tuple[int, int], int]) -> str:
    """Return "96 x 96", or the smallest and the largest of several by their area."""
    named = [f"{height} x {width}" for height, width in sorted(sizes, key=math.prod)]
    return " to ".join(dict.fromkeys([named[0], named[-1]])) if named else ""


def _networks(plan: Plan) -> tuple[NetworkSummary, ...]:
    opened = [network for network in (plan.network, plan.clip) if network is not None]
    return tuple(
        dict.fromkeys(
            NetworkSummary(name=network.name, sha256=network.sha256, protocol=network.protocol) for network in opened
        )
    )
