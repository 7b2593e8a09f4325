"""`hqdata verify` on a cluster: tasks hash files and compare shards, as one process would in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

from distributed import Client

from hqdata.shards import Problem, verify_run
from hqdata.shards.agreement import ListedShard
from hqdata.shards.format import MANIFEST_PATH
from hqdata.shards.verify import ListedFile
from hqdata.storage import Folder, open_folder, scratch_folder
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.dask_map import Failed, map_bounded
from pipelines.fitness import Fitness, fitness_for, machine_name
from pipelines.needs import needs_without_networks
from pipelines.preflight import examine
from pipelines.stopping import BuildStopped

__all__ = ["verify_on_cluster"]

Item = TypeVar("Item")
Check = Callable[[Folder, Sequence[Any]], list[Problem]]

TASK_BYTES = 256 << 20
"""Hashed by one task: a second or two from a disk, half a minute over a network."""
SHALLOW_BYTES = 8 << 20
"""What comparing a shard with the index counts for: the ids and a dozen headers."""


def verify_on_cluster(run: Folder | str, choice: ClusterChoice, *, deep: bool = False) -> list[Problem]:
    """Return what `verify_run` does, having read and decoded the files on a cluster.

    Raises:
        ConfigError, ClusterError: if no cluster comes of the choice.
        BuildStopped: if a machine is not fit for it, or sees another run.
    """
    folder = open_folder(run)
    with open_cluster(choice, scratch=scratch_folder() / "hqdata-dask") as client:
        report = examine(client, fitness_for(needs_without_networks("cpu")))
        report.stop_if_unfit()
        return verify_run(folder, deep=deep, spread=_Spread(client, report.expected, _manifest_sha256(folder)))


@dataclass(frozen=True, slots=True)
class _Spread:
    """Shares checks out over a cluster."""

    client: Client
    expected: Fitness
    manifest: str
    """Its sha256, by which a worker knows the run."""

    def __call__(
        self, check: Callable[[Folder, Sequence[Item]], list[Problem]], run: Folder, items: Sequence[Item]
    ) -> Iterator[Problem]:
        arguments = (check, run, self.manifest)
        outcomes = map_bounded(
            self.client, check_portion, _portions(items), arguments=lambda: arguments, expected=self.expected
        )
        with closing(outcomes):  # pyright: ignore[reportArgumentType]
            for outcome in outcomes:
                if isinstance(outcome, Failed):
                    raise BuildStopped(f"{_name(outcome.item)} cannot be checked: {outcome.reason}")
                yield from outcome.result


def check_portion(items: list[Any], check: Check, run: Folder, manifest: str) -> list[Problem]:
    """Return the problems with some items; runs on a worker.

    Raises:
        BuildStopped: if this machine sees another run than the driver.
    """
    if _manifest_sha256(run) != manifest:
        raise BuildStopped(
            f"{machine_name()[0]}: {run} is not the run that the driver sees; give a folder that all machines share"
        )
    return check(run, items)


def _manifest_sha256(run: Folder) -> str:
    """Return the digest of the manifest; nothing where it cannot be read, which the check itself will say."""
    try:
        return run.sha256(MANIFEST_PATH)
    except OSError:
        return ""


def _portions(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield the items in their order, some together where they are small."""
    portion: list[Item] = []
    room = TASK_BYTES
    for item in items:
        cost = _cost(item)
        if portion and cost > room:
            yield portion
            portion, room = [], TASK_BYTES
        portion.append(item)
        room -= cost
    if portion:
        yield portion


def _cost(item: Any) -> int:
    """Return how much an item has to read, or for a shard whose pictures are decoded, all that a task may."""
    match item:
        case ListedFile():
            return item.num_bytes or 0
        case ListedShard():
            return TASK_BYTES if item.deep else SHALLOW_BYTES
    raise TypeError(f"nothing is known of checking {type(item).__name__}")


def _name(item: Any) -> str:
    return item.record.path if isinstance(item, ListedFile) else item.data.path
