"""A run in an object store: the same bytes as on a disk, checked as strictly, and never half a file."""

import pytest
from local_s3 import keys, local_s3, unfinished_uploads
from shard_runs import LAYOUT, rows, write_run, write_shards

from hqdata import s3_requests, store_errors
from hqdata.scratch import SCRATCH_VARIABLE
from hqdata.shards import (
    Problem,
    ShardLayout,
    open_dataset,
    prune,
    read_manifest,
    remove_manifest,
    verify_run,
    whole_shards,
    write_manifest,
    write_shard,
)
from hqdata.shards.format import DATA_FOLDER
from hqdata.storage import open_folder

DATA = "data/train-00001-of-00002.parquet"
TENSORS = "tensors/r02/images-00000-of-00002.safetensors"
LARGE = ShardLayout(size=256, num_shards=1, parts=LAYOUT.parts, attributes=LAYOUT.attributes)
"""Sixty pictures of it make files of 11 MB, of three parts each."""


@pytest.fixture(scope="module")
def s3():
    with local_s3() as server:
        yield server


@pytest.fixture(autouse=True)
def fast_stores(monkeypatch):
    monkeypatch.setattr(store_errors, "PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(s3_requests, "PART_BYTES", 5 << 20)


@pytest.fixture
def room(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv(SCRATCH_VARIABLE, str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture(params=["memory://bucket/shards", "s3://bucket/shards"])
def run(request):
    if request.param.startswith("s3"):
        request.getfixturevalue("s3").faults.clear()
    yield open_folder(request.param)
    open_folder(request.param).delete_all()


@pytest.fixture
def in_s3(s3):
    s3.faults.clear()
    yield open_folder("s3://bucket/shards")
    s3.faults.clear()
    open_folder("s3://bucket/shards").delete_all()


def contents(folder):
    return dict(folder.read_many(file.name for file in folder.files()))


def test_a_run_has_the_same_bytes_as_on_a_disk(run, tmp_path, room):
    shards = write_run(run.url)
    assert shards == write_run(tmp_path / "disk")
    assert contents(run) == contents(open_folder(tmp_path / "disk"))
    assert list(room.iterdir()) == []


@pytest.mark.parametrize("deep", [False, True])
def test_a_fresh_run_is_clean(run, deep):
    write_run(run)
    assert verify_run(run.url, deep=deep) == []


def test_whatever_is_wrong_with_a_run_is_found(run):
    write_run(run)
    data = run.read(TENSORS)
    run.write(TENSORS, data[:-1] + bytes([data[-1] ^ 1]))
    run.delete(DATA)
    run.write("data/notes.txt", b"x")
    run.write("work/notes.txt", b"x")
    found = [(problem.path, problem.what.split(" ")[:2]) for problem in verify_run(run)]
    assert found == [
        ("data/notes.txt", ["is", "not"]),
        (DATA, ["is", "missing;"]),
        (TENSORS, ["has", "sha256"]),
    ]


def test_other_tensors_than_the_pictures_are_found_by_the_deep_check(run):
    write_run(run)
    data = run.read(TENSORS)
    run.write(TENSORS, data[:-1] + bytes([data[-1] ^ 1]))
    write_manifest(run)
    what = "picture 2 differs from the PNG of '000002'"
    assert verify_run(run, deep=True) == [Problem(path=TENSORS, what=what)]


def test_a_run_is_finished_as_long_as_it_has_a_manifest(run):
    write_run(run)
    files = run.walk(without={"work"})
    assert sorted(read_manifest(run)) == [file.name for file in files if file.name != "manifest.json"]
    remove_manifest(run)
    with pytest.raises(FileNotFoundError, match="so the run is not finished"):
        read_manifest(run)


def test_a_shard_is_whole_while_its_files_have_their_sizes(run):
    shards = write_shards(run)
    assert whole_shards(run, shards) == shards
    run.write(DATA, b"1")
    assert whole_shards(run.url, shards) == shards[:1]


def test_prune_deletes_what_belongs_to_no_shard(run):
    shards = write_shards(run)
    before = contents(run)
    run.write("data/train-00000-of-00001.parquet", b"1")
    run.write("tensors/r09/images-00000-of-00001.safetensors", b"1")
    assert prune(run, shards) == ["data/train-00000-of-00001.parquet", "tensors/r09/images-00000-of-00001.safetensors"]
    assert contents(run) == before


def test_the_reader_says_how_to_copy_the_run():
    with pytest.raises(ValueError, match=r"copy the run to a disk first .*aws s3 sync s3://bucket/shards FOLDER"):
        open_dataset("s3://bucket/shards", 4)


def test_a_shard_whose_upload_fails_leaves_no_partial_file_and_is_written_again(in_s3, room, s3, tmp_path):
    s3.fail("PUT .*r08.*partNumber=2&", times=3)
    with pytest.raises(OSError, match=r"injected: 's3://bucket/shards/tensors/r08/images-00000-of-00001.safetensors'"):
        write_shard(in_s3, 0, rows(0, 60, 256), num_rows=60, layout=LARGE)
    assert unfinished_uploads() == []
    assert not [key for key in keys() if "r08" in key or DATA_FOLDER in key]
    assert list(room.iterdir()) == []
    again = write_shard(in_s3, 0, rows(0, 60, 256), num_rows=60, layout=LARGE)
    assert again == write_shard(tmp_path / "disk", 0, rows(0, 60, 256), num_rows=60, layout=LARGE)
    assert {file.path: in_s3.sha256(file.path) for file in again.files} == {f.path: f.sha256 for f in again.files}


def test_a_damaged_row_uploads_nothing(in_s3, room):
    bad = (*rows(0, 2), *rows(0, 1))
    with pytest.raises(ValueError, match="comes twice"):
        write_shard(in_s3, 0, bad, num_rows=3, layout=LAYOUT)
    assert (keys(), list(room.iterdir())) == ([], [])
