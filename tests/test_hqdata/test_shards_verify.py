"""Laws of the check: a fresh run is clean, and whatever is changed, cut, missing or added is noticed by name."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_runs import LAYOUT, row, rows, write_run

from hqdata.shards import Problem, verify_run, write_index, write_manifest, write_shard
from hqdata.storage import open_folder

PATHS = (
    "data/train-00000-of-00002.parquet",
    "data/train-00001-of-00002.parquet",
    "selected.parquet",
    "tensors/index.json",
    "tensors/r02/images-00000-of-00002.safetensors",
    "tensors/r02/images-00001-of-00002.safetensors",
    "tensors/r03/images-00000-of-00002.safetensors",
    "tensors/r03/images-00001-of-00002.safetensors",
    "tensors/r04/images-00000-of-00002.safetensors",
    "tensors/r04/images-00001-of-00002.safetensors",
)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    write_run(folder)
    return folder


@pytest.fixture
def run(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "run")


def problems_with(path, data, run):
    """What is found while the file has other bytes; the file is put back."""
    original = path.read_bytes()
    path.write_bytes(data)
    try:
        return verify_run(run)
    finally:
        path.write_bytes(original)


def flipped(data, place, bit):
    position = int(place * len(data))
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


@pytest.mark.parametrize("deep", [False, True])
def test_a_fresh_run_is_clean(clean, deep):
    assert verify_run(str(clean), deep=deep) == []


def test_these_tests_know_every_file(clean):
    files = open_folder(clean).walk(without={"work"})
    assert [file.name for file in files if file.name != "manifest.json"] == list(PATHS)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATHS), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_any_flipped_bit_is_noticed_in_its_file(clean, path, place, bit):
    problems = problems_with(clean / path, flipped((clean / path).read_bytes(), place, bit), clean)
    assert [problem.path for problem in problems] == [path]
    assert "sha256" in problems[0].what


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_any_flipped_bit_of_the_manifest_is_noticed(clean, place, bit):
    path = clean / "manifest.json"
    assert problems_with(path, flipped(path.read_bytes(), place, bit), clean) != []


@settings(max_examples=40, deadline=None)
@given(st.sampled_from((*PATHS, "manifest.json")), st.floats(0, 1, exclude_max=True))
def test_any_cut_tail_is_noticed_in_its_file(clean, path, place):
    data = (clean / path).read_bytes()
    problems = problems_with(clean / path, data[: int(place * len(data))], clean)
    assert [problem.path for problem in problems] == [path]


@pytest.mark.parametrize("path", PATHS)
def test_a_missing_file_is_noticed(run, path):
    (run / path).unlink()
    assert [(problem.path, "is missing" in problem.what) for problem in verify_run(run)] == [(path, True)]


@pytest.mark.parametrize("path", ["data/notes.txt", "data/.train-00000-of-00002.parquet.host.1.2.tmp", "extra"])
def test_an_extra_file_is_noticed(run, path):
    (run / path).write_bytes(b"x")
    what = "is not in the manifest; delete it, or move it out of the run folder"
    assert verify_run(run) == [Problem(path=path, what=what)]


def test_a_file_that_the_disk_refuses_is_noticed(clean, monkeypatch):
    def refuse(folder, name):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hqdata.storage.Folder.sha256", refuse)
    assert [problem.path for problem in verify_run(clean)] == list(PATHS)
    assert "cannot be read ([Errno 5] Input/output error)" in str(verify_run(clean)[0])


def test_the_work_folder_is_not_looked_at(run):
    (run / "work" / "cache.bin").write_bytes(b"x")
    assert verify_run(run) == []


def test_a_missing_manifest_means_an_unfinished_run(run):
    (run / "manifest.json").unlink()
    (problem,) = verify_run(run)
    assert "missing, so the run is not finished; repeat the same `hqdata build` command" in str(problem)


@pytest.mark.parametrize("change", [{"version": 2}, {"format": "other"}, {"files": []}, {"files": {"a": {}}}])
def test_a_strange_manifest_is_noticed(run, change):
    path = run / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert [problem.path for problem in verify_run(run)] == ["manifest.json"]


def test_a_manifest_with_more_in_it_is_noticed(run):
    path = run / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": 1}))
    assert [(problem.path, problem.what.split(";")[0]) for problem in verify_run(run)] == [
        ("manifest.json", "has been changed since it was written")
    ]


@pytest.mark.parametrize("path", ["selected.parquet", "tensors/index.json"])
def test_a_run_finished_without_a_required_file_is_noticed(run, path):
    (run / path).unlink()
    write_manifest(run)
    assert [problem.what.split(",")[0] for problem in verify_run(run)] == ["is not in the manifest"]


def test_a_shard_left_out_of_the_manifest_is_noticed(run):
    (run / PATHS[0]).unlink()
    write_manifest(run)
    assert verify_run(run) == [Problem(path=PATHS[0], what="is in the index but not in the manifest")]


def test_another_selection_is_noticed(run):
    pq.write_table(pa.table({"rank": [0], "id": ["000000"]}), run / "selected.parquet")
    write_manifest(run)
    what = "names 1 faces, but the index holds 6 and not the same ones"
    assert verify_run(run) == [Problem(path="selected.parquet", what=what)]


def test_a_data_file_with_other_rows_is_noticed(run):
    shutil.copy(run / PATHS[0], run / PATHS[1])
    write_manifest(run)
    what = "has 3 rows, but the index holds 3 and not the same ones in the same order"
    assert verify_run(run) == [Problem(path=PATHS[1], what=what)]


def test_a_tensor_file_of_another_level_is_noticed(run):
    shutil.copy(run / PATHS[4], run / PATHS[6])
    write_manifest(run)
    what = "holds 3 pictures of 4 px, but the index says 3 of 8"
    assert verify_run(run) == [Problem(path=PATHS[6], what=what)]


@pytest.mark.parametrize("path", PATHS[:3])
def test_a_table_that_never_was_one_is_noticed(run, path):
    (run / path).write_bytes(b"not Parquet")
    write_manifest(run)
    (problem,) = verify_run(run)
    assert problem.path == path
    assert "is no readable" in problem.what


def test_other_tensors_than_the_pictures_are_noticed_by_the_deep_check(run):
    path = run / PATHS[7]
    path.write_bytes(path.read_bytes()[:-1] + b"\x80")
    write_manifest(run)
    assert verify_run(run) == []
    assert verify_run(run, deep=True) == [Problem(path=PATHS[7], what="picture 2 differs from the PNG of '000005'")]


def test_another_pixel_hash_than_the_pictures_is_noticed_by_the_deep_check(run):
    path = run / PATHS[0]
    table = pq.read_table(path)
    hashes = pa.array(["0" * 64] * 3)
    pq.write_table(table.set_column(table.schema.get_field_index("pixel_sha256"), "pixel_sha256", hashes), path)
    write_manifest(run)
    assert [problem.what for problem in verify_run(run, deep=True)] == [
        f"the picture of '00000{number}' has other pixels than its hash says" for number in range(3)
    ]


def test_a_damaged_picture_is_noticed_by_the_deep_check(run):
    path = run / PATHS[0]
    table = pq.read_table(path)
    broken = [{"bytes": row(number).png[:-30], "path": "x.png"} for number in range(3)]
    pq.write_table(
        table.set_column(0, table.schema.field("image"), pa.array(broken, table.schema.field("image").type)), path
    )
    write_manifest(run)
    assert ["is a damaged PNG" in problem.what for problem in verify_run(run, deep=True)] == [True] * 3


def test_known_hashes_are_taken_and_not_read_again(tmp_path):
    shards = write_run(tmp_path)
    path = tmp_path / PATHS[0]
    path.write_bytes(flipped(path.read_bytes(), 0.5, 3))
    write_manifest(tmp_path, [file for files in shards for file in files.files])
    assert [problem.path for problem in verify_run(tmp_path)] == [PATHS[0]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "was written but is no longer in"),
        (lambda path: path.write_bytes(b"1"), r"has 1 bytes but \d+ were written"),
    ],
)
def test_a_run_that_lost_a_known_file_is_not_declared_finished(tmp_path, spoil, message):
    shards = [write_shard(tmp_path, shard, rows(3 * shard, 3), num_rows=3, layout=LAYOUT) for shard in range(2)]
    write_index(tmp_path, shards)
    spoil(tmp_path / PATHS[5])
    with pytest.raises(ValueError, match=rf"^{PATHS[5]}: {message}"):
        write_manifest(tmp_path, [file for files in shards for file in files.files])
    assert not (tmp_path / "manifest.json").exists()
