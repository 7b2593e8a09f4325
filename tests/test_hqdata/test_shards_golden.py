"""A run of format version 1, kept as it was written: it stays readable, and tensors are still written byte for byte.

`tests/golden/run-v1` holds what `shard_runs.write_run(folder, rows_per_shard=2, layout=LAYOUT_V1)` wrote, without the
work folder. It is never written again; another version of the format gets a golden run of its own.
"""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from shard_runs import LAYOUT

from hqdata.shards import ShardLayout, ShardRow, open_dataset, verify_run, write_index, write_shard

GOLDEN = Path(__file__).parents[1] / "golden" / "run-v1"
LAYOUT_V1 = ShardLayout(size=8, num_shards=1, parts=LAYOUT.parts, attributes=LAYOUT.attributes)
TENSOR_SHA256 = {
    "tensors/r02/images-00000-of-00001.safetensors": "14b385d0e3c95b64ba74ab22f7d8b11551c48f46afc47e5ec26dfb61c139cfdc",
    "tensors/r03/images-00000-of-00001.safetensors": "cf418360b4cbcc465d68ce5c87a8c2544e67e3e64cb263be9d4e19fdfab0f5ad",
}


def stored_row(values):
    """Return the row from which the Parquet row was made."""
    return ShardRow(
        **{name: values[name] for name in ("id", "rank", "score", "source", "face_index", "landmark_source")},
        parts={name: values[name] for name in LAYOUT_V1.parts},
        attributes={name: values[name] for name in LAYOUT_V1.attributes},
        landmarks=np.reshape(values["landmarks"], (5, 2)),
        quad=np.reshape(values["quad"], (4, 2)),
        source_size=(values["source_height"], values["source_width"]),
        png=values["image"]["bytes"],
        pixel_sha256=values["pixel_sha256"],
    )


@pytest.fixture
def rewritten(tmp_path):
    rows = [stored_row(values) for values in pq.read_table(GOLDEN / "data").to_pylist()]
    files = write_shard(tmp_path, 0, rows, num_rows=2, layout=LAYOUT_V1)
    return files, tmp_path


def test_the_golden_run_is_whole():
    assert verify_run(GOLDEN, deep=True) == []


@pytest.mark.parametrize(("path", "sha256"), TENSOR_SHA256.items())
def test_the_golden_tensors_are_those_that_were_pinned(path, sha256):
    assert hashlib.sha256((GOLDEN / path).read_bytes()).hexdigest() == sha256


@pytest.mark.parametrize("position", [0, 1])
def test_tensors_are_still_written_byte_for_byte(rewritten, position):
    file = rewritten[0].tensors[position]
    assert file.sha256 == TENSOR_SHA256[file.path]


def test_the_same_rows_are_still_written_to_parquet(rewritten):
    assert pq.read_table(rewritten[1] / "data").equals(pq.read_table(GOLDEN / "data"), check_metadata=True)


def test_the_index_is_still_written_like_that(rewritten):
    files, run = rewritten
    write_index(run, [files])
    golden = json.loads((GOLDEN / "tensors/index.json").read_text())
    written = json.loads((run / "tensors/index.json").read_text())
    assert written | {"data": None} == golden | {"data": None}  # Parquet's bytes depend on the version of pyarrow


def test_the_reader_gives_the_golden_pictures():
    pixels = open_dataset(GOLDEN, 4)[1]
    assert torch.equal(
        pixels[:, 0],
        torch.tensor([[199, 126, 167, 138], [189, 165, 118, 139], [143, 132, 107, 115]], dtype=torch.uint8),
    )


def test_the_snippets_of_the_specification_read_the_golden_run():
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    text = text.partition("# Formats of a training")[0]
    first, index, parquet, manifest = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    first = first.replace("r08", "r03").replace("00118", "00001").replace("256", "8")
    names = {}
    for snippet in (first, index.replace("r08", "r03"), parquet, manifest):
        exec(snippet.replace("RUN", str(GOLDEN)), names)
    assert np.array_equal(names["images"][0], names["image"].transpose(2, 0, 1))
    assert (names["row_of"], names["bad"]) == ({"000000": 0, "000001": 1}, [])
    assert names["paths"] == ["tensors/r03/images-00000-of-00001.safetensors"]


def test_writing_and_checking_need_no_torch():
    script = "import sys, hqdata.shards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
