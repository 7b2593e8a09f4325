"""Laws of run folders, tensor shards and Parquet shards."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from metrics.sources import NoPictures, UnreadablePicture, open_source

GOLDEN = Path(__file__).parents[1] / "golden" / "run-v1"
INDEX = "tensors/index.json"
SHARD = "tensors/r03/images-00000-of-00001.safetensors"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run folder that may be damaged."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "run"))


def images_of(source):
    return torch.cat([batch.images for batch in source.batches(4)]).numpy()


def png(seed):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_run_gives_its_largest_level():
    assert images_of(open_source(GOLDEN)).shape == (2, 3, 8, 8)


def test_a_stored_level_is_taken_as_it_is():
    source = open_source(GOLDEN, size=4)
    np.testing.assert_array_equal(images_of(source), images_of(open_source(GOLDEN / "tensors/r02")))
    assert source.resize == ""


def test_another_size_is_resized_from_the_largest_level():
    source = open_source(GOLDEN, size=6)
    assert images_of(source).shape == (2, 3, 6, 6)
    assert source.resize.endswith("to 6 x 6")


@pytest.mark.parametrize("part", ["data", "data/train-00000-of-00001.parquet", "tensors/r03", SHARD])
def test_all_shards_hold_the_same_pictures(part):
    np.testing.assert_array_equal(images_of(open_source(GOLDEN / part)), images_of(open_source(GOLDEN)))


def test_an_unfinished_run_is_refused(run: Path):
    (run / "manifest.json").unlink()
    with pytest.raises(ValueError, match="not finished"):
        open_source(run)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"version": 2}, "version 2"), ({"format": "x"}, "'x'"), ({"num_rows": 3}, "hqdata verify")],
)
def test_an_index_of_another_version_or_count_is_refused(run: Path, changes, reason):
    change(run / INDEX, **changes)
    with pytest.raises(ValueError, match=reason):
        open_source(run)


def test_an_empty_run_is_refused(run: Path):
    change(run / INDEX, num_rows=0)
    with pytest.raises(NoPictures, match="nothing was chosen"):
        open_source(run)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "not json"])
def test_what_is_no_index_is_refused(run: Path, text):
    (run / INDEX).write_text(text)
    with pytest.raises(ValueError, match=r"index\.json: is no index"):
        open_source(run)


def test_an_index_cannot_lead_out_of_its_run(run: Path):
    index = json.loads((run / INDEX).read_text())
    index["levels"]["r03"]["files"][0]["path"] = "../../etc/passwd"
    (run / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match="leads out of the run folder"):
        open_source(run)


@pytest.mark.parametrize("length", [0, 4, 100, 4100, 4479])
def test_a_cut_tensor_shard_is_refused_by_name(run: Path, length):
    (run / SHARD).write_bytes((run / SHARD).read_bytes()[:length])
    with pytest.raises(ValueError, match=r"images-00000-of-00001\.safetensors"):
        open_source(run)


def test_strange_tensors_are_refused(run: Path):
    data = (run / SHARD).read_bytes().replace(b'\\"version\\":1', b'\\"version\\":9')
    (run / SHARD).write_bytes(data)
    with pytest.raises(ValueError, match="version 1 of progan-hq/tensors"):
        open_source(run)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "struct"])
def test_pictures_of_any_parquet_are_read_across_row_groups(tmp_path: Path, binary):
    values = [png(seed) if binary else {"bytes": png(seed), "path": f"{seed}.png"} for seed in range(7)]
    pq.write_table(pa.table({"image": values, "label": list(range(7))}), tmp_path / "a.parquet", row_group_size=2)
    expected = [np.asarray(Image.open(io.BytesIO(png(seed)))).transpose(2, 0, 1) for seed in range(7)]
    np.testing.assert_array_equal(images_of(open_source(tmp_path / "a.parquet")), expected)


def test_a_row_without_a_picture_is_named(tmp_path: Path):
    pq.write_table(pa.table({"image": [png(0), None]}), tmp_path / "a.parquet")
    with pytest.raises(UnreadablePicture, match=r"a\.parquet row 1: .*no picture"):
        images_of(open_source(tmp_path / "a.parquet"))


@pytest.mark.parametrize("columns", [{"photo": [b"x"]}, {"image": ["x"]}, {"image": [{"path": "x"}]}])
def test_a_parquet_without_pictures_is_refused(tmp_path: Path, columns):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column 'image' of encoded pictures"):
        open_source(tmp_path / "a.parquet")


def test_a_cut_parquet_is_refused(run: Path):
    path = run / "data" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="no whole Parquet file"):
        open_source(path)
