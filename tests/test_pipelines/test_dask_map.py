"""Many lists through a cluster: every item is answered for, whatever happens to a worker."""

import errno
import os
from pathlib import Path

import pytest
from distributed import Client

from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.dask_map import BuildStopped, Done, Failed, map_bounded

pytestmark = pytest.mark.dask


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    with open_cluster(ClusterChoice(local="2"), scratch=tmp_path_factory.mktemp("dask")) as client:
        yield client


def double(items, offset=0):
    return [2 * item + offset for item in items]


def die_on_seven(items):
    if 7 in items:
        os._exit(11)
    return items


def die_the_first_time(items):
    (marker,) = items
    if not marker.exists():
        marker.touch()
        os._exit(11)
    return marker.name


def refuse_seven(items):
    if 7 in items:
        raise RuntimeError("seven\nis bad")
    return items


def disk_is_full(items):
    raise OSError(errno.ENOSPC, "No space left on device", "/run/x")


def test_every_chunk_is_answered_once(client: Client):
    outcomes = list(map_bounded(client, double, [[1, 2], [3], [4, 5, 6]], arguments=lambda: (1,)))
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert {tuple(o.items): o.result for o in outcomes} == {(1, 2): [3, 5], (3,): [7], (4, 5, 6): [9, 11, 13]}


def test_arguments_are_asked_at_each_submission(client: Client):
    calls = iter(range(100))
    results = [o.result[0] for o in map_bounded(client, double, [[0]] * 6, arguments=lambda: (next(calls),))]
    assert sorted(results) == list(range(6))


def test_chunks_are_taken_only_as_workers_are_free(client: Client):
    taken = []
    outcomes = map_bounded(client, double, (taken.append(n) or [n] for n in range(100)))
    next(outcomes)
    assert len(taken) < 12
    outcomes.close()


@pytest.mark.parametrize("function", [die_on_seven, refuse_seven])
def test_only_the_guilty_item_fails(client: Client, function):
    outcomes = list(map_bounded(client, function, [list(range(4)), list(range(4, 12))]))
    assert [o.item for o in outcomes if isinstance(o, Failed)] == [7]
    assert sorted(item for o in outcomes if isinstance(o, Done) for item in o.items) == [*range(7), *range(8, 12)]


def test_a_single_item_whose_worker_is_killed_once_is_not_blamed(client: Client, tmp_path: Path):
    (outcome,) = map_bounded(client, die_the_first_time, [[tmp_path / "marker"]])
    assert isinstance(outcome, Done)
    assert outcome.result == "marker"


def test_items_queued_behind_a_deadly_one_are_not_blamed(client: Client):
    outcomes = list(map_bounded(client, die_on_seven, [[number] for number in range(5, 12)]))
    assert [(o.item, "worker process died" in o.reason) for o in outcomes if isinstance(o, Failed)] == [(7, True)]
    assert sorted(o.items[0] for o in outcomes if isinstance(o, Done)) == [5, 6, 8, 9, 10, 11]


def test_a_full_disk_stops_the_run_and_says_so(client: Client):
    with pytest.raises(BuildStopped, match=r"No space left.*run the same command"):
        list(map_bounded(client, disk_is_full, [[1], [2]]))


def test_scratch_is_inside_the_given_folder(tmp_path: Path):
    with open_cluster(ClusterChoice(local="1"), scratch=tmp_path / "scratch"):
        assert list((tmp_path / "scratch").iterdir())
