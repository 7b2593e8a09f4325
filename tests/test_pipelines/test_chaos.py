"""Whatever is killed, stopped or added during a build on a cluster, its bytes are those of the serial build."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from chaos import Build, Loopback, loopback, shard_bytes
from small_source import write_small_celeba

from hqdata.shards import verify_run
from pipelines.build_dataset import build_dataset
from pipelines.clusters import ClusterChoice
from pipelines.config import BuildConfig, load_config

pytestmark = [pytest.mark.dask, pytest.mark.slow]

NUM_PHOTOS = 60
POISON = {"000007.jpg": "exit", "000041.jpg": "segfault"}
"""Photos that no decoder can read; some tests let workers die of them instead."""
SETTINGS = [
    "align.size=16",
    "select.count=30",
    "pack.rows_per_shard=10",
    "run.chunk_photos=4",
    "run.quarantine_limit=0.1",
    "restore.when=never",
    "upscale.when=never",
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "celeba"
    write_small_celeba(folder, num_photos=NUM_PHOTOS)
    for name in POISON:
        (folder / "img_celeba" / name).write_bytes(b"no photo")
    return folder


def settings(source: Path) -> BuildConfig:
    return load_config(assignments=[f'source.root="{source}"', *SETTINGS])


@pytest.fixture(scope="module")
def serial(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The data set's bytes as one process makes them."""
    run = tmp_path_factory.mktemp("serial") / "run"
    build_dataset(settings(source), run, cluster=ClusterChoice(local="1"))
    return shard_bytes(run)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    with loopback(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def build(source: Path, cluster: Loopback, tmp_path: Path) -> Build:
    return Build(source, tmp_path / "run", SETTINGS, cluster.address)


def dropped(run: Path) -> dict[str, str]:
    return {Path(row["source"]).name: row["reason"] for row in pq.read_table(run / "dropped.parquet").to_pylist()}


def require_whole(build: Build, code: int, errors: str, serial: dict[str, str]) -> None:
    assert code == 0, errors
    assert shard_bytes(build.run) == serial
    assert verify_run(build.run) == []
    assert dropped(build.run).keys() == POISON.keys()


def test_workers_may_die_come_and_go(build: Build, cluster: Loopback, serial: dict[str, str]):
    leaving = cluster.add_worker()
    process = build.start()
    build.wait_until_scored(4)
    os.kill(cluster.worker_pids()[0], signal.SIGKILL)
    cluster.add_worker()
    leaving.send_signal(signal.SIGTERM)
    assert build.scored() < NUM_PHOTOS - len(POISON)
    require_whole(build, *build.end(process), serial)


def test_deadly_photos_cost_themselves(build: Build, cluster: Loopback, serial: dict[str, str]):
    cluster.set_deadly(POISON)
    try:
        code, errors = build.end(build.start())
    finally:
        cluster.set_deadly({})
    require_whole(build, code, errors, serial)
    assert all("worker process died" in reason for reason in dropped(build.run).values())


def test_a_stopped_worker_costs_the_time_of_a_straggler(build: Build, cluster: Loopback, serial: dict[str, str]):
    process = build.start(straggler_s=1.5, straggler_factor=2)
    build.wait_until_scored(8)
    stopped = cluster.worker_pids()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        code, errors = build.end(process)
    finally:
        os.kill(stopped, signal.SIGCONT)
    require_whole(build, code, errors, serial)
    assert "starting a copy" in errors


def test_a_killed_driver_goes_on_where_it_was(build: Build, serial: dict[str, str]):
    first = build.start()
    build.wait_until_scored(8)
    first.kill()
    first.communicate()
    assert not (build.run / "manifest.json").exists()
    assert build.scored() < NUM_PHOTOS - len(POISON)
    require_whole(build, *build.end(build.start()), serial)


def test_a_killed_scheduler_ends_the_run_soon_and_another_resumes_it(
    build: Build, cluster: Loopback, source: Path, serial: dict[str, str]
):
    process = build.start(lost_s=3)
    build.wait_until_scored(8)
    assert cluster.scheduler is not None
    cluster.scheduler.kill()
    code, errors = build.end(process, timeout_s=30)
    assert code == 75, errors
    assert "run the same command to resume" in errors
    assert "Traceback" not in errors
    assert 0 < build.scored() < NUM_PHOTOS - len(POISON)
    build_dataset(settings(source), build.run, cluster=ClusterChoice(local="1"))
    require_whole(build, 0, "", serial)
