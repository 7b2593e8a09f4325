"""Clusters that really run: on this machine, behind an address or a file, encrypted, and not at all."""

import errno
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from dask import config
from distributed import Security
from distributed.comm import CommClosedError
from loopback_slurm import wait_until

from hqdata.settings import ConfigError
from pipelines.clusters import ClusterChoice, ClusterError, losing_the_scheduler, open_cluster
from pipelines.clusters.address import address_in
from pipelines.clusters.defaults import SETTINGS, environment, warn_of_other_settings
from pipelines.clusters.security import is_exposed, security_of, warn_if_exposed
from pipelines.stopping import BuildStopped, SchedulerLost

DASK = [sys.executable, "-m"]


@contextmanager
def running(*words: str, environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    command = [*DASK, *words, "--no-dashboard"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def scheduler_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scheduler and a worker that somebody else started, with Dask's own settings."""
    folder = tmp_path_factory.mktemp("foreign")
    file = folder / "scheduler.json"
    place = ("--scheduler-file", str(file))
    with running("distributed.cli.dask_scheduler", *place, "--host", "127.0.0.1", "--port", "0"):
        wait_until(file.exists, "the scheduler writes its file", limit_s=60)
        with running("distributed.cli.dask_worker", *place, "--nthreads", "2", "--local-directory", str(folder)):
            yield file


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Path]:
    """A certificate that vouches for itself, and its key."""
    made = Security.temporary()
    files = {"tls_ca_file": made.tls_ca_file, "tls_cert": made.tls_client_cert, "tls_key": made.tls_client_key}
    for name, text in files.items():
        (tmp_path / name).write_text(str(text))
    return {name: tmp_path / name for name in files}


@pytest.mark.dask
def test_local_processes_have_their_threads_our_settings_and_scratch(tmp_path: Path):
    with open_cluster(ClusterChoice(local="2x1"), scratch=tmp_path / "scratch") as client:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [worker["nthreads"] for worker in workers] == [1, 1]
        assert client.run_on_scheduler(config.get, "distributed.scheduler.allowed-failures") == 0
        assert set(client.run(config.get, "distributed.worker.memory.spill").values()) == {False}
        assert list((tmp_path / "scratch").iterdir())


@pytest.mark.dask
def test_a_scheduler_is_found_by_its_file_and_by_its_address(
    scheduler_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with (
        caplog.at_level(logging.WARNING, "pipelines"),
        open_cluster(ClusterChoice(scheduler_file=scheduler_file), scratch=tmp_path) as client,
    ):
        assert sum(client.nthreads().values()) == 2
    assert "allowed-failures = 3" in caplog.text
    assert "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=0" in caplog.text
    assert "worker-ttl" in caplog.text
    assert "no TLS" not in caplog.text
    choice = ClusterChoice(scheduler=address_in(scheduler_file, wait_s=1))
    with open_cluster(choice, scratch=tmp_path) as client:
        assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.dask
def test_without_a_choice_it_is_the_scheduler_that_dask_is_told_of(scheduler_file: Path, tmp_path: Path):
    address = address_in(scheduler_file, wait_s=1)
    with (
        config.set({"scheduler-address": address}),  # what DASK_SCHEDULER_ADDRESS sets
        open_cluster(ClusterChoice(), scratch=tmp_path) as client,
    ):
        assert client.scheduler_info(n_workers=0)["address"] == address


@pytest.mark.dask
def test_workers_that_do_not_come_are_waited_for_no_longer_than_told(scheduler_file: Path, tmp_path: Path):
    choice = ClusterChoice(scheduler_file=scheduler_file, wait_workers=9, wait_s=2)
    with (
        pytest.raises(SchedulerLost, match=r"1 of 9 workers came within 2 s; .*--wait-workers"),
        open_cluster(choice, scratch=tmp_path),
    ):
        pass


@pytest.mark.dask
def test_a_cluster_with_tls_files_speaks_tls(tmp_path: Path, tls: dict[str, Path]):
    with open_cluster(ClusterChoice(local="1", **tls), scratch=tmp_path / "scratch") as client:
        assert client.scheduler_info(n_workers=0)["address"].startswith("tls://")
        assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.dask
def test_a_running_scheduler_with_tls_is_reached_and_has_nothing_to_warn_of(
    tmp_path: Path, tls: dict[str, Path], caplog: pytest.LogCaptureFixture
):
    file = tmp_path / "scheduler.json"
    words = [word for name, path in tls.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    place = ("--scheduler-file", str(file), *words)
    ours = {"PATH": "/usr/bin:/bin", **environment()}
    with running("distributed.cli.dask_scheduler", *place, "--port", "0", environ=ours):
        wait_until(file.exists, "the scheduler writes its file", limit_s=60)
        with (
            running("distributed.cli.dask_worker", *place, "--local-directory", str(tmp_path), environ=ours),
            caplog.at_level(logging.WARNING, "pipelines"),
            open_cluster(ClusterChoice(scheduler_file=file, **tls), scratch=tmp_path) as client,
        ):
            assert client.scheduler_info(n_workers=0)["address"].startswith("tls://")
    assert caplog.text == ""


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path):
    choice = ClusterChoice(scheduler="tcp://127.0.0.1:1", wait_s=1)
    with (
        pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:1"),
        open_cluster(choice, scratch=tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "was not written within 0.1 s"), ("{}", "is not what"), ('{"address"', "is not what")],
)
def test_a_scheduler_file_that_does_not_come_is_named(tmp_path: Path, text: str | None, sentence: str):
    file = tmp_path / "scheduler.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ClusterError, match=sentence):
        address_in(file, wait_s=0.1)


@pytest.mark.parametrize(
    ("address", "exposed"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://localhost:8786", False),
        ("inproc://10.0.0.1/1/2", False),
        ("tls://10.0.0.1:8786", False),
        ("tcp://10.0.0.1:8786", True),
        ("tcp://0.0.0.0:8786", True),
        ("tcp://node7.cluster:8786", True),
        ("ucx://10.0.0.1:8786", True),
        ("ws://10.0.0.1:8786", True),
    ],
)
def test_an_address_is_exposed_where_others_reach_it_in_the_clear(address: str, exposed: bool):
    assert is_exposed(address) is exposed


def test_a_scheduler_with_our_settings_in_other_words_is_not_warned_of(caplog: pytest.LogCaptureFixture):
    values = {**SETTINGS, "distributed.scheduler.worker-ttl": "2 minutes"}
    client = SimpleNamespace(run_on_scheduler=lambda get, key, default: values[key])
    with caplog.at_level(logging.WARNING, "pipelines"):
        warn_of_other_settings(client)  # type: ignore[arg-type]
    assert caplog.text == ""


def test_an_exposed_scheduler_is_warned_of(caplog: pytest.LogCaptureFixture):
    client = SimpleNamespace(scheduler_info=lambda n_workers: {"address": "tcp://10.0.0.1:8786"})
    with caplog.at_level(logging.WARNING, "pipelines"):
        warn_if_exposed(client)  # type: ignore[arg-type]
    assert "tcp://10.0.0.1:8786 takes commands from whoever reaches it: no TLS" in caplog.text


@pytest.mark.parametrize(
    ("status", "error", "seen", "words"),
    [
        ("connecting", KeyError("address"), SchedulerLost, "is gone"),
        ("closed", CommClosedError("x"), SchedulerLost, "is gone"),
        ("connecting", OSError(errno.ENOSPC, "No space left on device"), OSError, "No space"),
        ("connecting", BuildStopped("another driver"), BuildStopped, "another driver"),
        ("running", KeyError("address"), KeyError, "address"),
    ],
)
def test_an_error_is_the_schedulers_end_only_where_it_is_gone(
    status: str, error: Exception, seen: type[Exception], words: str
):
    client = cast("Any", SimpleNamespace(status=status))
    with pytest.raises(seen, match=words), losing_the_scheduler(client):
        raise error


@pytest.mark.dask
def test_a_scheduler_that_dies_between_two_questions_is_lost_and_not_some_error_of_dasks(tmp_path: Path):
    file = tmp_path / "scheduler.json"
    place = ("--scheduler-file", str(file))
    with running("distributed.cli.dask_scheduler", *place, "--host", "127.0.0.1", "--port", "0") as scheduler:
        wait_until(file.exists, "the scheduler writes its file", limit_s=60)
        words = ("distributed.cli.dask_worker", *place, "--no-nanny", "--local-directory", str(tmp_path))
        with (
            running(*words),
            pytest.raises(SchedulerLost, match="the scheduler is gone"),
            open_cluster(ClusterChoice(scheduler_file=file), scratch=tmp_path) as client,
        ):
            client.submit(os.kill, scheduler.pid, signal.SIGKILL).result()


def test_a_certificate_given_for_its_key_is_named(tls: dict[str, Path]):
    swapped = ClusterChoice(tls_ca_file=tls["tls_ca_file"], tls_cert=tls["tls_key"], tls_key=tls["tls_cert"])
    with pytest.raises(ConfigError, match=r"--tls-cert .* and --tls-key .* are not a certificate and its key"):
        security_of(swapped)


def test_a_wrong_setting_of_the_drivers_is_refused_before_anything_starts(tmp_path: Path):
    with (
        config.set({"hqdata": {"straggler_s": "soon"}}),
        pytest.raises(ConfigError, match="straggler_s"),
        open_cluster(ClusterChoice(local="1"), scratch=tmp_path / "scratch"),
    ):
        pytest.fail("it started")
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"address": 5}', '{"id": "x"}'])
def test_a_file_that_no_scheduler_wrote_is_named_after_the_wait_of_which_the_user_is_told(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "s.json").write_text(text)
    with (
        caplog.at_level(logging.INFO, "pipelines"),
        pytest.raises(ClusterError, match=r"s\.json is not what `dask scheduler"),
    ):
        address_in(tmp_path / "s.json", wait_s=0.01)
    assert caplog.text.count("waiting up to 0.01 s for a scheduler") == 1
