"""`hqdata verify` on a cluster finds what one process finds, on disks and in object stores."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from distributed import Client
from shard_runs import write_run

from hqdata.shards import verify_run, write_manifest
from hqdata.shards.verify import check_files
from hqdata.storage import open_folder
from pipelines import verify_on_cluster
from pipelines.cli import cli
from pipelines.clusters import ClusterChoice
from pipelines.stopping import BuildStopped
from pipelines.verify_on_cluster import check_portion

pytestmark = pytest.mark.dask

DATA = "data/train-00000-of-00002.parquet"
TENSORS = "tensors/r03/images-00001-of-00002.safetensors"


@pytest.fixture(scope="module")
def cluster(two_workers: Client) -> tuple[str, str]:
    """The words that name the cluster."""
    return "--scheduler", two_workers.scheduler_info()["address"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    write_run(folder)
    return folder


@pytest.fixture(params=["disk", "s3"])
def url(request: pytest.FixtureRequest, two_workers: Client, tmp_path: Path) -> Iterator[str]:
    """Where a run is to be put."""
    place = str(tmp_path / "run") if request.param == "disk" else "s3://bucket/verified"
    yield place
    open_folder(place).delete_all()


def put(run: Path, place: str) -> str:
    """Copy a run to a folder or an object store."""
    for path in run.rglob("*"):
        if path.is_file():
            open_folder(place).write(path.relative_to(run).as_posix(), path.read_bytes())
    return place


def with_broken_files(run: Path) -> None:
    """Give a run other bytes, a missing file, one too many and one cut off."""
    data = bytearray((run / DATA).read_bytes())
    data[len(data) // 2] ^= 1
    (run / DATA).write_bytes(data)
    (run / TENSORS).unlink()
    (run / "data" / "notes.txt").write_text("x")
    (run / "selected.parquet").write_bytes((run / "selected.parquet").read_bytes()[:-1])


def with_other_pixels(run: Path) -> None:
    """Give a run tensors that differ from the pictures, in files whose digests are right."""
    for path in (run / "tensors").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x80")
    write_manifest(run)


def with_other_rows(run: Path) -> None:
    """Give a run a shard that the index contradicts, in a file whose digest is right."""
    shutil.copy(run / DATA, run / DATA.replace("00000-of", "00001-of"))
    write_manifest(run)


def hqdata_verify(*words: str) -> Result:
    return CliRunner().invoke(cli, ["verify", *words])


@pytest.mark.parametrize("damage", [with_broken_files, with_other_pixels, with_other_rows])
def test_the_problems_are_those_of_one_process(clean: Path, url: str, cluster, tmp_path: Path, damage):
    damaged = shutil.copytree(clean, tmp_path / "damaged")
    damage(damaged)
    put(damaged, url)
    alone = verify_run(url, deep=True)
    answer = hqdata_verify(url, "--deep", *cluster)
    assert answer.stderr.splitlines()[:-1] == [str(problem) for problem in alone]
    assert answer.exit_code == 1
    assert alone


@pytest.mark.parametrize("words", [(), ("--deep",)], ids=["", "deep"])
def test_a_fresh_run_is_whole(clean: Path, url: str, cluster, words: tuple[str, ...]):
    put(clean, url)
    answer = hqdata_verify(url, *words, *cluster)
    assert (answer.exit_code, answer.stdout) == (0, f"{url} is whole\n")


def test_an_unfinished_run_is_told_as_in_one_process(clean: Path, url: str, cluster):
    put(clean, url)
    open_folder(url).delete("manifest.json")
    assert hqdata_verify(url, *cluster).stderr == hqdata_verify(url).stderr


def die_the_first_time(folder, files):
    marker = folder.path / "work" / "died"
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return check_files(folder, files)


def test_a_killed_worker_costs_nothing_but_time(clean: Path, cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = shutil.copytree(clean, tmp_path / "run")
    with_broken_files(run)
    monkeypatch.setattr("hqdata.shards.verify.check_files", die_the_first_time)
    monkeypatch.setattr(verify_on_cluster, "TASK_BYTES", 1)
    choice = ClusterChoice(scheduler=cluster[1])
    found = verify_on_cluster.verify_on_cluster(str(run), choice, deep=True)
    monkeypatch.undo()
    assert (run / "work" / "died").exists()
    assert found == verify_run(run, deep=True)


def test_a_worker_that_sees_another_run_stops_the_check(clean: Path, two_workers: Client):
    asked = two_workers.submit(check_portion, [], check_files, open_folder(clean), "0" * 64, pure=False)
    with pytest.raises(BuildStopped, match="is not the run that the driver sees"):
        asked.result()
