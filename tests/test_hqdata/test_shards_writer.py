"""Laws of the shard writer: the rows come back, the same rows give the same bytes, and a failure leaves nothing."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from shard_runs import LAYOUT, picture, row, rows, write_shards

from hqdata.shards import ShardFiles, ShardLayout, prune, whole_shards, write_index, write_shard

SCRIPT = "import sys, pathlib, shard_runs; shard_runs.write_run(pathlib.Path(sys.argv[1]))"


def files_of(run):
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def slow_level(image, resolution):
    """Every block's mean at once, in float64: the carried halvings are exact, so they must agree."""
    step = image.shape[0] // resolution
    means = image.reshape(resolution, step, resolution, step, 3).astype(np.float64).mean(axis=(1, 3))
    return np.rint(means).astype(np.uint8)


def test_every_column_comes_back(tmp_path):
    write_shard(tmp_path, 0, rows(0, 3), num_rows=3, layout=LAYOUT)
    read = pq.read_table(tmp_path / "data/train-00000-of-00002.parquet").to_pylist()[1]
    source = row(1)
    assert read == {
        "image": {"bytes": source.png, "path": "000001.png"},
        "id": "000001",
        "rank": 1,
        "score": source.score,
        "breadth": 0.125,
        "noise": -1.5,
        "source": "album 1/000001.jpg",
        "face_index": 1,
        "landmarks": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
        "landmark_source": "mtcnn",
        "quad": [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "source_width": 161,
        "source_height": 120,
        "pixel_sha256": source.pixel_sha256,
        "Male": 1,
        "camera": None,
    }


@pytest.mark.parametrize("level", [2, 3, 4])
def test_the_official_library_reads_each_level_as_block_means(tmp_path, level):
    write_shard(tmp_path, 1, rows(5, 3), num_rows=3, layout=LAYOUT)
    images = load_file(tmp_path / f"tensors/r{level:02d}/images-00001-of-00002.safetensors")["images"]
    expected = np.stack([slow_level(picture(number), 1 << level) for number in (5, 6, 7)])
    assert np.array_equal(images, expected.transpose(0, 3, 1, 2))


def test_rows_are_grouped_in_64_with_a_page_index_and_statistics(tmp_path):
    write_shard(tmp_path, 0, rows(0, 70, size=4), num_rows=70, layout=replace(LAYOUT, size=4))
    metadata = pq.ParquetFile(tmp_path / "data/train-00000-of-00002.parquet").metadata
    image, _, id, rank = (metadata.row_group(0).column(number) for number in range(4))
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [64, 6]
    assert (image.compression, image.has_offset_index, id.compression) == ("UNCOMPRESSED", True, "ZSTD")
    assert (rank.statistics.min, rank.statistics.max) == (0, 63)


def test_records_tell_the_bytes_on_disk(tmp_path):
    for files in write_shards(tmp_path):
        for file in files.files:
            data = (tmp_path / file.path).read_bytes()
            assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_two_processes_write_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", SCRIPT, tmp_path / name], check=True, cwd=Path(__file__).parents[1])
    first, second = files_of(tmp_path / "first"), files_of(tmp_path / "second")
    assert len(first) == 12
    assert first == second


def test_memory_does_not_grow_with_the_shard(tmp_path):
    layout = replace(LAYOUT, size=32)
    peaks = []
    for count in (130, 520):
        tracemalloc.start()
        write_shard(tmp_path, 0, rows(0, count, size=32), num_rows=count, layout=layout)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_an_earlier_attempt_is_replaced(tmp_path):
    path = tmp_path / "data/train-00000-of-00002.parquet"
    path.parent.mkdir()
    path.write_bytes(b"half")
    files = write_shard(tmp_path, 0, rows(0, 1), num_rows=1, layout=LAYOUT)
    assert whole_shards(tmp_path, [files]) == [files]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"png": row(7).png[:-60]}, "row '000007': its picture is a damaged PNG: cut off"),
        ({"png": b"\xff\xd8\xff\xe0 no PNG"}, "row '000007': its picture is no PNG"),
        ({"png": row(7, size=8).png}, "row '000007': its picture must be a 16x16 PNG of 8-bit RGB, got 8x8"),
        ({"png": row(8).png}, "row '000007': its PNG decodes to pixels with sha256"),
        ({"score": float("nan")}, "row '000007': score must be finite, got nan"),
        ({"id": "000000"}, "row '000000' comes twice in this shard"),
        ({"parts": {"breadth": 1.0}}, r"row '000007': part of the score must be given for \['breadth', 'noise'\]"),
        ({"attributes": {"Male": "yes", "camera": None}}, "attribute 'Male' must be of type int, got 'yes'"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_leaves_no_file(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path, 0, [row(0), row(7, **changes)], num_rows=2, layout=LAYOUT)
    assert files_of(tmp_path) == {}


@pytest.mark.parametrize(
    ("num_rows", "message"), [(2, "row '000002' is beyond the 2 rows"), (4, "num_rows says 4 rows but 3 came")]
)
def test_another_number_of_rows_is_refused_and_leaves_no_file(tmp_path, num_rows, message):
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path, 0, rows(0, 3), num_rows=num_rows, layout=LAYOUT)
    assert files_of(tmp_path) == {}


@pytest.mark.parametrize(("shard", "num_rows"), [(-1, 1), (2, 1), (0, 0)])
def test_an_impossible_shard_is_refused(tmp_path, shard, num_rows):
    with pytest.raises(ValueError, match=f"shard {shard} of 2 with {num_rows} rows cannot be"):
        write_shard(tmp_path, shard, [], num_rows=num_rows, layout=LAYOUT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 24}, "size must be a power of two and at least 4, got 24"),
        ({"size": 2}, "size must be a power of two and at least 4, got 2"),
        ({"size": 0}, "size must be a power of two and at least 4, got 0"),
        ({"num_shards": 0}, "num_shards must be at least 1, got 0"),
        ({"attributes": {"score": float}}, "column 'score' exists twice"),
        ({"attributes": {"noise": float}}, "column 'noise' exists twice"),
        ({"attributes": {"bbox": list}}, "attribute 'bbox' has type <class 'list'>"),
    ],
)
def test_an_impossible_layout_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(LAYOUT, **changes)


def test_records_survive_json(tmp_path):
    files = write_shards(tmp_path)[1]
    assert ShardFiles.from_json(json.loads(json.dumps(files.to_json()))) == files


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_shard_with_a_missing_or_cut_file_is_not_whole(tmp_path, spoil):
    files = write_shards(tmp_path)[0]
    spoil(tmp_path / files.tensors[1].path)
    assert whole_shards(tmp_path, [files]) == []


def test_prune_deletes_what_belongs_to_no_shard(tmp_path):
    shards = write_shards(tmp_path)
    before = files_of(tmp_path)
    write_shards(tmp_path, layout=ShardLayout(**{**vars_of(LAYOUT), "size": 64, "num_shards": 1}))
    (tmp_path / "data/.train-00000-of-00002.parquet.host.1.2.tmp").write_bytes(b"half")
    deleted = prune(tmp_path, shards)
    assert files_of(tmp_path) == before
    assert len(deleted) == 7
    assert not (tmp_path / "tensors/r06").exists()


def vars_of(layout):
    return {name: getattr(layout, name) for name in layout.__slots__}


def test_the_index_does_not_depend_on_the_order_of_the_shards(tmp_path):
    shards = write_shards(tmp_path)
    assert write_index(tmp_path, shards) == write_index(tmp_path, shards[::-1])


def test_a_missing_shard_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shards must be 0 to num_shards - 1 of one layout, got \[1\]"):
        write_index(tmp_path, write_shards(tmp_path)[1:])


def test_an_id_in_two_shards_is_refused(tmp_path):
    first, second = write_shards(tmp_path)
    with pytest.raises(ValueError, match="id '000000' is in shards 0 and 1"):
        write_index(tmp_path, [first, replace(second, ids=first.ids)])
