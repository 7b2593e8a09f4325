"""One question to every worker: each is answered for, whatever becomes of it."""

import os
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from distributed import Client, get_worker

from pipelines.ask_workers import Answers, ask_workers, worker_addresses
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.naming import some

pytestmark = pytest.mark.dask


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    with open_cluster(ClusterChoice(local="2"), scratch=tmp_path_factory.mktemp("dask")) as client:
        yield client


def address_plus(text: str) -> str:
    return get_worker().address + text


def refuse(address: str) -> int:
    if get_worker().address == address:
        raise ValueError("not\nhere")
    return 1


def hang_until_it_is_there(address: str, file: Path) -> int:
    while get_worker().address == address and not file.exists():
        threading.Event().wait(0.05)
    return 1


def die(address: str) -> int:
    if get_worker().address == address:
        os._exit(11)
    return 1


def test_every_worker_answers_for_itself(client: Client):
    answers = ask_workers(client, address_plus, "!")
    assert answers.given == {address: f"{address}!" for address in worker_addresses(client)}


def test_a_failure_is_that_workers_alone(client: Client):
    first, second = worker_addresses(client)
    answers = ask_workers(client, refuse, first)
    assert (answers.given, answers.failed) == ({second: 1}, {first: "ValueError: not\nhere"})


def test_a_worker_that_hangs_is_not_waited_for_without_end(client: Client, tmp_path: Path):
    first, second = worker_addresses(client)
    answers = ask_workers(client, hang_until_it_is_there, first, tmp_path / "enough", timeout_s=3)
    (tmp_path / "enough").touch()
    assert (answers.given, answers.silent) == ({second: 1}, {first: "did not answer in time"})


def test_a_worker_that_dies_is_named(client: Client):
    first, second = worker_addresses(client)
    answers = ask_workers(client, die, first)
    assert answers.given == {second: 1}
    assert "the process died" in answers.failed[first]


def test_a_long_list_of_machines_is_cut():
    assert some("abcd") == "a, b, c, d"
    assert some("abcdef") == "a, b, c, d and 2 more"


def test_an_answer_that_is_lost_on_its_way_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch):
    asked = iter([[("tcp://a", None)], [("tcp://a", LostAnswer())]])
    monkeypatch.setattr("pipelines.ask_workers.worker_addresses", lambda client: ["tcp://a"])
    monkeypatch.setattr("pipelines.ask_workers._each", lambda *arguments: next(asked))
    assert ask_workers(cast("Any", None), address_plus, "!") == Answers(silent={"tcp://a": "left before it answered"})


class LostAnswer:
    def result(self, timeout: float | None = None) -> bytes:
        assert timeout
        raise TimeoutError
