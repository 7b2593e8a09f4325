"""Many lists through a cluster: every item is answered for, whatever happens to a worker."""

import ctypes
import errno
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from distributed import Client, Scheduler

from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.dask_map import BuildStopped, Done, Failed, SchedulerLost, map_bounded
from pipelines.patience import Patience

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


def segfault_on_seven(items):
    if 7 in items:
        ctypes.string_at(0)
    return items


def always_die(items):
    os._exit(11)


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


def run_out_of_memory_on_seven(items):
    if 7 in items:
        raise MemoryError
    return items


def refuse_odd_ones(items):
    if any(item % 2 for item in items):
        raise RuntimeError("odd")
    return items


def return_what_cannot_travel(items):
    return (item for item in items)


def disk_is_full(items):
    raise OSError(errno.ENOSPC, "No space left on device", "/run/x")


def module_is_missing(items):
    raise ModuleNotFoundError("No module named 'torch'")


def nap_and_name(items):
    time.sleep(0.2)
    return os.getpid()


def make_unfit():
    from pipelines import preflight  # imports torch, which each fresh worker would do for this module otherwise

    preflight.require_fit = refuse_worker


def make_fit():
    from pipelines import preflight

    preflight.require_fit = accept_worker


def accept_worker(expected):
    assert expected


def make_new():
    sys.modules["pipelines.preflight"] = cast("Any", SimpleNamespace(require_fit=tell_of_worker))


def make_known():
    del sys.modules["pipelines.preflight"]


def tell_of_worker(expected):
    return f"other than {expected}"


def refuse_worker(expected):
    raise BuildStopped(f"host h cannot compute: it lacks {expected}")


def count_tasks(dask_scheduler: Scheduler) -> int:
    return len(dask_scheduler.tasks)


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


@pytest.mark.parametrize("function", [die_on_seven, segfault_on_seven, refuse_seven, run_out_of_memory_on_seven])
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


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (disk_is_full, r"No space left.*run the same command"),
        (module_is_missing, r"cannot run the task: ModuleNotFoundError: No module named 'torch'"),
        (return_what_cannot_travel, r"cannot run the task: TypeError"),
    ],
)
def test_what_no_other_list_would_survive_stops_the_run_and_names_the_machine(client: Client, function, sentence):
    with pytest.raises(BuildStopped, match=rf"worker tcp://.* on .*{sentence}"):
        list(map_bounded(client, function, [[1], [2]]))


def test_a_cluster_that_kills_everything_stops_the_run_and_blames_no_item(client: Client):
    answers = map_bounded(client, always_die, [[n] for n in range(50)], patience=Patience(first_failures=4))
    with pytest.raises(BuildStopped, match="the first 4 tasks all failed"):
        list(answers)


def test_too_many_items_that_fail_stop_the_run(client: Client):
    answers = map_bounded(client, refuse_odd_ones, [[n] for n in range(50)], patience=Patience(quarantined=3))
    with pytest.raises(BuildStopped, match=r"4 of the first .* failed on their own, the last with: RuntimeError: odd"):
        list(answers)


def test_the_scheduler_keeps_nothing(client: Client):
    assert sum(1 for _ in map_bounded(client, double, [[n] for n in range(20)])) == 20
    deadline = time.monotonic() + 10
    while client.run_on_scheduler(count_tasks) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert client.run_on_scheduler(count_tasks) == 0


def test_a_first_signal_lets_running_tasks_end(client: Client):
    taken: list[int] = []
    outcomes = map_bounded(client, nap_and_name, (taken.append(n) or [n] for n in range(50)))
    next(outcomes)
    answered = []
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        answered.extend(outcomes)
    assert 0 < len(answered) < len(taken) < 10


def test_no_worker_for_long_ends_the_run_as_a_lost_scheduler_does(tmp_path: Path):
    with open_cluster(ClusterChoice(local="1"), scratch=tmp_path) as client:
        client.retire_workers(list(client.scheduler_info(n_workers=-1)["workers"]))
        with pytest.raises(SchedulerLost, match=r"no worker for 0.5 s; 0 results .* run the same command"):
            list(map_bounded(client, double, [[1]], patience=Patience(wait_s=0.5)))


def test_an_unfit_worker_is_sent_home_and_the_others_go_on(tmp_path: Path):
    expected: Any = "nothing"
    with open_cluster(ClusterChoice(local="2"), scratch=tmp_path) as client:
        client.run(make_fit)
        unfit, fit = client.scheduler_info(n_workers=-1)["workers"]
        pids = client.run(os.getpid)
        client.run(make_unfit, workers=[unfit])
        answers = list(map_bounded(client, nap_and_name, [[n] for n in range(8)], expected=expected))
        assert {answer.result for answer in answers if isinstance(answer, Done)} == {pids[fit]}
        assert sorted(answer.items[0] for answer in answers if isinstance(answer, Done)) == list(range(8))
        deadline = time.monotonic() + 60
        while unfit in client.scheduler_info(n_workers=-1)["workers"] and time.monotonic() < deadline:
            time.sleep(0.02)
        assert list(client.scheduler_info(n_workers=-1)["workers"]) == [fit]
        client.run(make_unfit)
        with pytest.raises(BuildStopped, match="no worker can be used: host h cannot compute: it lacks nothing"):
            list(map_bounded(client, nap_and_name, [[1], [2]], expected=expected))


def test_what_is_new_of_a_worker_comes_with_its_results(client: Client):
    client.wait_for_workers(2, timeout=60)
    client.run(make_new)
    outcomes = list(map_bounded(client, double, [[1], [2]], expected="usual"))
    assert [o.newcomer for o in outcomes if isinstance(o, Done)] == ["other than usual"] * 2
    client.run(make_known)


def test_scratch_is_inside_the_given_folder(tmp_path: Path):
    with open_cluster(ClusterChoice(local="1"), scratch=tmp_path / "scratch"):
        assert list((tmp_path / "scratch").iterdir())
