"""The Parquet shards are what Hugging Face `datasets` expects, without a network and without our code."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_runs import LAYOUT, write_run

from hqdata.shards import open_dataset
from hqdata.shards.parquet import schema_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture
def loaded(run, tmp_path, monkeypatch):
    """The run as `datasets` loads it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    datasets = pytest.importorskip("datasets")
    files = sorted(str(path) for path in (run / "data").iterdir())
    return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))


def test_datasets_gives_the_pixels_of_the_tensors(run, loaded):
    pictures = np.stack([np.asarray(row["image"]) for row in loaded]).transpose(0, 3, 1, 2)
    assert np.array_equal(pictures, open_dataset(run, 16).batch(range(6)).numpy())


def test_datasets_knows_the_columns(loaded):
    features = {name: str(feature) for name, feature in loaded.features.items()}
    assert features["image"].startswith("Image(")
    assert features["landmarks"] == "List(Value('float64'), length=10)"
    assert [features[name] for name in ("score", "rank", "Male", "camera")] == [
        "Value('float64')",
        "Value('int64')",
        "Value('int64')",
        "Value('string')",
    ]


def test_the_file_names_its_format_and_version():
    assert json.loads(schema_of(LAYOUT).metadata[b"progan_hq"]) == {"format": "progan-hq/data", "version": 1}


def test_a_filter_on_the_rank_reads_the_right_rows(run):
    table = pq.read_table(run / "data", filters=[("rank", "<", 2)], columns=["id"])
    assert table.column("id").to_pylist() == ["000000", "000001"]


@pytest.mark.parametrize(
    ("kind", "stored"), [(bool, pa.bool_()), (float, pa.float64()), (int, pa.int64()), (str, pa.string())]
)
def test_attributes_keep_their_type(kind, stored):
    layout = type(LAYOUT)(size=4, num_shards=1, attributes={"value": kind})
    assert schema_of(layout).field("value").type == stored
