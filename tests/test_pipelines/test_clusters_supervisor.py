"""Jobs that end are replaced, one for one, and never more than there were."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from loopback_slurm import wait_until

from pipelines.clusters import supervisor
from pipelines.clusters.supervisor import JobState, Pool, supervised

LIVE = JobState(is_live=True, is_queued=None)
AWAY = JobState(is_live=False, is_queued=None)
WAITING = JobState(is_live=False, is_queued=True)
LOST = JobState(is_live=False, is_queued=False)


class FakeBatch:
    """A batch system behind the methods of a `dask_jobqueue` cluster and of its client."""

    def __init__(self, jobs: int, processes: int = 1) -> None:
        self.processes = processes
        self.submitted = 0
        self.live: set[str] = set()
        self.worker_spec: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, Any] = {}
        self.largest = 0
        self.lock = threading.Lock()
        self.scale(jobs=jobs)

    def scale(self, *, jobs: int) -> None:
        with self.lock:
            while len(self.worker_spec) < jobs:
                name = f"job-{self.submitted}"
                self.submitted += 1
                group = {"group": [f"-{n}" for n in range(self.processes)]} if self.processes > 1 else {}
                self.worker_spec[name] = group
                self.workers[name] = SimpleNamespace(job_id=name)
                self.live.add(name)
            self.largest = max(self.largest, len(self.live))

    def scale_down(self, names: list[str]) -> None:
        with self.lock:
            for name in names:
                del self.worker_spec[name], self.workers[name]
                self.live.discard(name)

    def sync(self, function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        with self.lock:
            suffixes = [f"-{n}" for n in range(self.processes)] if self.processes > 1 else [""]
            names = [f"{job}{suffix}" for job in self.live for suffix in suffixes]
        return {"workers": {name: {"name": name} for name in names}}


def states_over(pool: Pool, *moments: JobState) -> list[set[Any]]:
    return [pool.ended({"a": state}, now_s=1000.0 * number) for number, state in enumerate(moments)]


def test_a_job_has_ended_when_its_worker_was_there_and_is_missed_three_times():
    assert states_over(Pool(target=1), LIVE, AWAY, AWAY, AWAY) == [set(), set(), set(), {"a"}]


def test_a_worker_that_comes_back_was_only_restarted():
    assert states_over(Pool(target=1), LIVE, AWAY, AWAY, LIVE, AWAY, AWAY) == [set()] * 6


@pytest.mark.parametrize("state", [AWAY, WAITING])
def test_a_job_that_waits_in_the_queue_has_not_ended(state: JobState):
    assert states_over(Pool(target=1), *[state] * 9) == [set()] * 9


def test_a_preempted_job_that_waits_again_has_not_ended():
    assert states_over(Pool(target=1), LIVE, *[WAITING] * 9) == [set()] * 10


def test_a_job_that_the_queue_lost_before_its_worker_came_has_ended():
    assert states_over(Pool(target=1), WAITING, LOST, LOST, LOST)[-1] == {"a"}


def test_jobs_that_all_end_at_once_are_given_up():
    pool = Pool(target=2)
    for name in range(supervisor.SHORT_LIVES):
        assert not pool.is_given_up
        for _ in range(3):
            pool.ended({name: LOST}, now_s=0.0)
    assert pool.is_given_up


def test_a_job_that_lived_long_clears_those_that_did_not():
    pool = Pool(target=1)
    for name in range(supervisor.SHORT_LIVES - 1):
        for _ in range(3):
            pool.ended({name: LOST}, now_s=0.0)
    pool.ended({"long": LIVE}, now_s=0.0)
    for _ in range(3):
        pool.ended({"long": AWAY}, now_s=supervisor.SHORT_LIFE_S)
    assert pool.short_lives == 0


@pytest.mark.parametrize("processes", [1, 3])
def test_an_ended_job_is_replaced_and_there_are_never_more_than_the_target(processes: int):
    batch = FakeBatch(jobs=3, processes=processes)
    with supervised(batch, batch, interval_s=0.01):  # type: ignore[arg-type]
        for ended in ("job-0", "job-2", "job-3"):
            seen = batch.submitted
            wait_a_tick(batch)
            batch.live.discard(ended)
            wait_until(lambda seen=seen: batch.submitted > seen, "another job is submitted", limit_s=10)
    assert (batch.submitted, batch.largest, len(batch.live)) == (6, 3, 3)


def test_a_batch_system_that_does_not_answer_is_asked_again():
    batch = FakeBatch(jobs=1)
    answers = iter([TimeoutError("squeue"), set(), set(), set()])
    asked = []

    def queued() -> set[str] | None:
        asked.append(1)
        answer = next(answers, {"job-1"})
        if isinstance(answer, Exception):
            raise answer
        return answer

    batch.live.clear()
    with supervised(batch, batch, interval_s=0.01, queued=queued):  # type: ignore[arg-type]
        wait_until(lambda: batch.submitted == 2, "the lost job is submitted again", limit_s=10)
    assert len(asked) >= 4


def test_the_supervisor_ends_with_its_block():
    batch = FakeBatch(jobs=1)
    with pytest.raises(RuntimeError, match="of the block"), supervised(batch, batch, interval_s=60):  # type: ignore[arg-type]
        raise RuntimeError("of the block")
    assert "job-supervisor" not in {thread.name for thread in threading.enumerate()}


def wait_a_tick(batch: FakeBatch) -> None:
    """Return when the supervisor has looked once more, so that it has seen every job live."""
    looked = threading.Event()
    original = batch.scheduler_info

    def watched(n_workers: int) -> dict[str, Any]:
        looked.set()
        return original(n_workers)

    batch.scheduler_info = watched  # type: ignore[method-assign]
    assert looked.wait(10)
    looked.clear()
    assert looked.wait(10)
    batch.scheduler_info = original  # type: ignore[method-assign]
