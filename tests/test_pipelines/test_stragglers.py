"""What takes far longer than the rest is done twice and counted once; how much is too much."""

import logging
import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from dask import config as dask_config
from distributed import Client

from hqdata.settings import ConfigError
from pipelines.backlog import Chunk
from pipelines.breaker import Breaker
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.dask_map import Done, map_bounded
from pipelines.flight import Attempt
from pipelines.patience import Patience
from pipelines.stopping import BuildStopped
from pipelines.stragglers import Stragglers


def attempt(*, submitted: float, began: float | None) -> Attempt[int]:
    return Attempt("key", cast("Any", None), Chunk([1]), submitted, began)


def test_nothing_is_late_before_anything_has_finished():
    assert Stragglers(Patience()).limit_s() == math.inf


@pytest.mark.parametrize(("seconds", "limit_s"), [([1.0, 2.0, 3.0], 60.0), ([20.0, 30.0, 500.0], 150.0)])
def test_the_limit_is_a_minute_or_five_medians(seconds: list[float], limit_s: float):
    stragglers = Stragglers(Patience())
    for value in seconds:
        stragglers.finished(value)
    assert stragglers.limit_s() == limit_s


@pytest.mark.parametrize(("began", "late"), [(None, True), (50.0, False), (10.0, True)])
def test_a_task_counts_from_its_start_and_only_else_from_its_submission(began: float | None, late: bool):
    stragglers = Stragglers(Patience())
    assert stragglers.is_late(attempt(submitted=0.0, began=began), now=100.0, limit_s=60.0) is late


def test_copies_are_bounded_at_any_time_and_in_all():
    stragglers = Stragglers(Patience())
    assert not stragglers.may_copy(4, threads=4)
    assert [stragglers.may_copy(0, threads=4) for _ in range(6)] == [True] * 4 + [False] * 2
    for _ in range(10):
        stragglers.finished(1.0)
    assert [stragglers.may_copy(0, threads=4) for _ in range(2)] == [True, False]


def test_a_cluster_on_which_everything_fails_stops_the_run():
    breaker = Breaker(Patience(first_failures=3))
    breaker.failure("died", workers=1)
    breaker.failure("died", workers=1)
    with pytest.raises(BuildStopped, match="first 3 tasks all failed"):
        breaker.failure("died", workers=1)


def test_failures_after_a_success_are_the_items_own():
    breaker = Breaker(Patience(first_failures=1))
    breaker.success(10)
    breaker.failure("died", workers=1)


@pytest.mark.parametrize(("answered", "tolerated"), [(0, 5), (1000, 10)])
def test_more_than_a_share_of_the_items_is_never_given_up(answered: int, tolerated: int):
    breaker = Breaker(Patience(quarantined=5))
    breaker.success(answered)
    for _ in range(tolerated):
        breaker.quarantine("died")
    with pytest.raises(BuildStopped, match="broken environment"):
        breaker.quarantine("died")


def test_daskss_configuration_sets_what_the_driver_waits_for():
    with dask_config.set({"hqdata.straggler-s": 7, "hqdata.wait_s": 9.5}):
        assert Patience.configured() == Patience(straggler_s=7, wait_s=9.5)


@pytest.mark.parametrize(("name", "value"), [("stragler_s", 7), ("straggler_s", "long"), ("lost_s", 0)])
def test_a_wrong_setting_of_the_drivers_is_refused_by_name(name: str, value: Any):
    with dask_config.set({f"hqdata.{name}": value}), pytest.raises(ConfigError, match=name):
        Patience.configured()


def test_a_value_where_the_drivers_settings_should_be_is_refused():
    with dask_config.set({"hqdata": 5}), pytest.raises(ConfigError, match="must be a table"):
        Patience.configured()


def nap(items: list[int]) -> int:
    time.sleep(0.1)
    return os.getpid()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with open_cluster(ClusterChoice(local="2"), scratch=tmp_path_factory.mktemp("dask")) as client:
        yield client


@pytest.mark.dask
def test_a_stopped_worker_holds_nothing_up_and_nothing_is_counted_twice(client: Client):
    patience = Patience(straggler_s=1, straggler_factor=2)
    outcomes = map_bounded(client, nap, ([number] for number in range(40)), patience=patience)
    answers = [next(outcomes)]
    stopped = answers[0].result if isinstance(answers[0], Done) else 0
    os.kill(stopped, signal.SIGSTOP)
    start = time.monotonic()
    try:
        answers.extend(outcomes)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert sorted(item for answer in answers if isinstance(answer, Done) for item in answer.items) == list(range(40))
    # 40 naps by one worker, and for what the other held: the limit, and a look at it a second at most after that
    assert time.monotonic() - start < 40 * 0.1 + 6


@pytest.mark.dask
def test_a_worker_that_goes_on_is_used_again(client: Client, tmp_path: Path):
    workers = {answer.result for answer in map_bounded(client, nap, ([number] for number in range(20)))}
    assert len(workers) == 2


def nap_long(items: list[int]) -> list[int]:
    time.sleep(3)
    return items


@pytest.mark.dask
def test_a_task_that_does_not_end_is_told_of_with_its_worker(client: Client, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "pipelines"):
        (outcome,) = map_bounded(client, nap_long, [[1, 2]], patience=Patience(hung_s=1))
    assert isinstance(outcome, Done)
    told = [message for message in caplog.messages if message.startswith("a task of 2 items on tcp://")]
    assert 1 <= len(told) <= 2
    assert "kill that worker process" in told[0]
