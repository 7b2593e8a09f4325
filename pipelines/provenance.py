"""On what hardware a run was computed, over all the builds that it took: recorded, and compared at every resumption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hqdata.storage import Folder
from pipelines.preflight import ClusterReport
from pipelines.run_folder import RUN_PATH, previous_run

__all__ = ["hardware_changes", "hardware_record", "record_newcomers"]


def hardware_record(report: ClusterReport, before: Mapping[str, Any] | None, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return what run.json holds of the hardware: by kind, the sha256 of the test picture's pixels as made there.

    Args:
        report: on the cluster of today.
        before: the run's description so far.
        keys: of today's ledger; hardware that computed for another ledger is forgotten.
    """
    now = {group: canary.pixels for group, canary in report.expected.canaries if group in report.hardware}
    return dict(_recorded(before, keys)) | now


def record_newcomers(run: Folder, newcomers: Mapping[str, str]) -> None:
    """Add hardware that came during a build to run.json; it stands beside what `hardware_record` put there."""
    before = previous_run(run) if newcomers else None
    if before is not None:
        run.write_json(RUN_PATH, before | {"hardware": {**newcomers, **before.get("hardware", {})}})


def hardware_changes(report: ClusterReport, before: Mapping[str, Any] | None, keys: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each kind of hardware of today that makes other pixels than the run's so far."""
    recorded = _recorded(before, keys)
    for group, canary in report.expected.canaries:
        if group not in report.hardware or not recorded:
            continue
        if recorded.get(group, canary.pixels) != canary.pixels:
            yield (
                f"{group}: gives other pixels than when this run began, so a library or a driver has changed; photos"
                " scored before and after may differ in the last bits"
            )
        elif group not in recorded and canary.pixels not in recorded.values():
            known = ", ".join(recorded)
            yield f"{group}: gives other pixels than the hardware of this run so far ({known})"


def _recorded(before: Mapping[str, Any] | None, keys: Mapping[str, str]) -> Mapping[str, str]:
    if before is None or before.get("keys", {}).get("score") != keys["score"]:
        return {}
    return before.get("hardware", {})
