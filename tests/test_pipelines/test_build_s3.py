"""A whole build in an object store: the bytes of a local one, whatever fails in the middle of an upload."""

import os
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from local_s3 import BUCKET, client, keys, local_s3, unfinished_uploads
from small_source import write_small_celeba

from hqdata import s3_requests
from hqdata.storage import open_folder
from pipelines.build_dataset import build_dataset
from pipelines.cli import cli
from pipelines.config import load_config
from pipelines.stopping import BuildStopped

pytestmark = [pytest.mark.dask, pytest.mark.slow]

NUM_PHOTOS = 12
SETTINGS = (
    "align.size=1024",
    "select.count=11",
    "pack.rows_per_shard=6",
    "upscale.when=never",
    "restore.when=never",
    "run.chunk_photos=3",
)
LARGE = "tensors/r10/images-00001-of-00002.safetensors"
"""18 MiB, so three parts; the first shard has 15 MiB, which come in one request."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("celeba")
    write_small_celeba(folder, num_photos=NUM_PHOTOS)
    return folder


@pytest.fixture(scope="module")
def expected(source, tmp_path_factory):
    """Hashes of the files of a local build by one worker."""
    run = tmp_path_factory.mktemp("local") / "run"
    build_dataset(config(source, "run.workers=1"), run)
    return hashes(run)


@pytest.fixture(scope="module")
def server():
    with local_s3() as server:
        yield server


@pytest.fixture
def s3(server):
    server.faults.clear()
    yield server
    server.faults.clear()
    open_folder(f"s3://{BUCKET}").delete_all()


def config(source, *more):
    return load_config(assignments=[f'source.root="{source}"', *SETTINGS, *more])


def hashes(run):
    folder = open_folder(run)
    names = (file.name for file in folder.walk(without={"work"}) if file.name.startswith(("data/", "tensors/")))
    return {name: folder.sha256(name) for name in names}


def command(*words):
    """Return a command's exit code and what it said."""
    answer = CliRunner().invoke(cli, [*map(str, words)])
    return answer.exit_code, answer.output


def test_an_upload_that_fails_in_a_worker_leaves_nothing_and_the_build_goes_on(source, expected, s3):
    run = "s3://bucket/run"
    s3.fail(f"PUT .*{LARGE}.*partNumber=2&", times=1000)
    with pytest.raises(BuildStopped, match=r"shard 1 cannot be written: .*injected"):
        build_dataset(config(source, "run.workers=2"), run)
    assert unfinished_uploads() == []
    assert not {f"run/{LARGE}", "run/data/train-00001-of-00002.parquet", "run/manifest.json"} & set(keys())
    s3.faults.clear()
    s3.fail("PUT .*partNumber=2&", status=503, times=2)
    summary = build_dataset(config(source, "run.workers=2"), run)
    assert (summary.newly_scored_photos, summary.selected) == (0, 11)
    assert hashes(run) == expected
    assert unfinished_uploads() == []
    assert command("verify", run, "--deep") == (0, f"{run} is whole\n")
    assert "finished" in command("status", run)[1]
    plan = command("plan", "--source", source, "--out", run, *(word for name in SETTINGS for word in ("--set", name)))
    assert "nothing is left to do" in plan[1]


def test_a_driver_killed_during_an_upload_leaves_nothing_to_the_next_one(source, expected, s3):
    run = "s3://bucket/run"
    begun = s3.fail(f"PUT .*{LARGE}.*partNumber=2&", held=threading.Event())
    words = ["build", "--source", source, "--out", run, "--local", "2"]
    words += [word for name in SETTINGS for word in ("--set", name)]
    with subprocess.Popen([sys.executable, "-m", "pipelines.cli", *map(str, words)], start_new_session=True) as driver:
        met = begun.met.wait(240)
        os.killpg(driver.pid, 9)
    begun.held.set()
    assert met
    assert f"run/{LARGE}" in unfinished_uploads()
    assert "run/manifest.json" not in keys()
    build_dataset(config(source, "run.workers=2"), run)
    assert hashes(run) == expected
    assert (unfinished_uploads(), open_folder(run).exists("work/lock.json")) == ([], False)


def test_photos_in_the_bucket_give_the_bytes_of_photos_on_a_disk(source, s3, tmp_path):
    photos = source / "img_celeba"
    for path in sorted(photos.iterdir()):
        client().upload_file(str(path), BUCKET, f"photos/{path.name}")
    small = ("align.size=64", "landmarks.provider=mtcnn")
    build_dataset(config(photos, *small, "run.workers=1"), tmp_path / "run")
    build_dataset(config("s3://bucket/photos", *small, "run.workers=2"), "s3://bucket/run")
    assert len(hashes("s3://bucket/run")) > 2
    assert hashes("s3://bucket/run") == hashes(tmp_path / "run")


def test_the_large_file_of_these_tests_is_one_of_several_parts(expected):
    assert LARGE in expected
    assert 6 * 3 * 1024**2 >= 2 * s3_requests.PART_BYTES > 5 * 3 * 1024**2
