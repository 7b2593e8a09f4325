"""Who works on a build, in a few numbers for stats.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from pipelines.clusters import ClusterChoice
from pipelines.preflight import ClusterReport

__all__ = ["describe_crew"]


def describe_crew(choice: ClusterChoice, client: Client, report: ClusterReport) -> dict[str, Any]:
    """Return the kind of cluster and how many workers, threads and machines of which hardware it began with."""
    return {
        "kind": _kind(choice, client),
        "workers": len(report.workers),
        "threads": sum(worker.threads for worker in report.workers),
        "hosts": len({worker.host for worker in report.workers}),
        "hardware": {group: len(addresses) for group, addresses in sorted(report.hardware.items())},
    }


def _kind(choice: ClusterChoice, client: Client) -> str:
    if isinstance(client.cluster, LocalCluster):
        return "local"
    return "scheduler" if choice.cluster is None else Path(choice.cluster).stem
