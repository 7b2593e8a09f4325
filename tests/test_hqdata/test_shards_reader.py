"""Laws of the reader: the same pictures in every process, and a clear word where a run cannot be read."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shard_runs import picture, write_run
from torch.utils.data import DataLoader

from hqdata.resample import box_pyramid
from hqdata.shards import open_dataset

NUM_PICTURES = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture
def spoiled(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def expected(number, resolution=16):
    image = next(level for level in box_pyramid(picture(number)) if level.shape[0] == resolution)
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


@pytest.mark.parametrize("resolution", [4, 8, 16])
@pytest.mark.parametrize("number", range(NUM_PICTURES))
def test_every_picture_comes_back_at_every_resolution(run, number, resolution):
    assert torch.equal(open_dataset(run, resolution)[number], expected(number, resolution))


def test_a_path_may_be_a_string(run):
    assert len(open_dataset(str(run), resolution=8)) == NUM_PICTURES


def test_negative_indices_count_from_the_end(run):
    assert torch.equal(open_dataset(run, 16)[-1], expected(NUM_PICTURES - 1))


def test_iterating_visits_every_picture_once(run):
    dataset = open_dataset(run, 16)
    assert torch.equal(torch.stack(list(dataset)), dataset.batch(range(NUM_PICTURES)))


def test_tensor_indices_are_indices(run):
    assert torch.equal(open_dataset(run, 16)[torch.tensor(4)], expected(4))


@pytest.mark.parametrize("index", [NUM_PICTURES, -NUM_PICTURES - 1])
def test_an_index_outside_is_refused(run, index):
    with pytest.raises(IndexError, match=f"index {index} is outside of a data set of 6 pictures"):
        open_dataset(run, 16)[index]


@pytest.mark.parametrize("index", [slice(2), 1.0, "000001"])
def test_what_is_no_index_is_refused(run, index):
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        open_dataset(run, 16)[index]


@given(st.lists(st.integers(-NUM_PICTURES, NUM_PICTURES - 1), max_size=9))
def test_a_batch_equals_its_pictures(run, indices):
    dataset = open_dataset(run, 8)
    batch = dataset.batch(indices)
    assert batch.shape == (len(indices), 3, 8, 8)
    assert all(torch.equal(one, dataset[index]) for one, index in zip(batch, indices, strict=True))


def test_changing_a_picture_does_not_change_the_data_set(run):
    dataset = open_dataset(run, 16)
    dataset[0].zero_()
    assert torch.equal(dataset[0], expected(0))


def test_ids_ranks_and_scores_belong_to_the_pictures(run):
    dataset = open_dataset(run, 16)
    assert dataset.ids == ("000000", "000001", "000002", "000003", "000004", "000005")
    assert dataset.ranks.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(dataset.scores, 1 - np.arange(6) / 1024)


def test_a_pickle_carries_names_and_no_pixels(run):
    dataset = open_dataset(run, 16)
    before = pickle.dumps(dataset)
    dataset.batch(range(NUM_PICTURES))
    assert pickle.dumps(dataset) == before
    assert torch.equal(pickle.loads(before)[3], expected(3))


@pytest.mark.parametrize(("workers", "method"), [(0, None), (2, "fork"), (1, "spawn")])
def test_a_data_loader_reads_everything_in_order(run, workers, method):
    dataset = open_dataset(run, 16)
    whole = dataset.batch(range(NUM_PICTURES))  # opens the files in this process first
    loader = DataLoader(dataset, batch_size=4, num_workers=workers, multiprocessing_context=method)
    assert torch.equal(torch.cat(list(loader)), whole)


def test_reading_changes_nothing_on_disk(run):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    open_dataset(run, 16).batch([0, 5])
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_missing_resolution_is_refused_with_the_choices(run):
    with pytest.raises(ValueError, match="has no pictures of resolution 256; choose one of 4, 8, 16"):
        open_dataset(run)


def test_a_missing_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        open_dataset(tmp_path / "nowhere")


def test_an_unfinished_run_is_refused(spoiled):
    (spoiled / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no manifest\.json, so the run is not finished"):
        open_dataset(spoiled, 16)


def test_a_run_without_tensors_is_refused(spoiled):
    shutil.rmtree(spoiled / "tensors")
    with pytest.raises(FileNotFoundError, match=r"tensors/index\.json: missing, so there are no tensors to read"):
        open_dataset(spoiled, 16)


def test_a_missing_shard_is_refused_by_name(spoiled):
    (spoiled / "tensors/r04/images-00001-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"r04/images-00001-of-00002\.safetensors: missing"):
        open_dataset(spoiled, 16)


@pytest.mark.parametrize("length", [0, 7, 8, 100, 4096, 5000, 6399])
def test_a_cut_shard_is_refused_by_name(spoiled, length):
    path = spoiled / "tensors/r04/images-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"r04/images-00001-of-00002\.safetensors"):
        open_dataset(spoiled, 16)


def test_a_shard_with_more_bytes_is_refused_by_name(spoiled):
    path = spoiled / "tensors/r04/images-00000-of-00002.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"images-00000-of-00002\.safetensors: 6401 bytes where 3 images need 6400"):
        open_dataset(spoiled, 16)


def test_a_shard_of_another_level_is_refused_by_name(spoiled):
    shutil.copy(
        spoiled / "tensors/r03/images-00000-of-00002.safetensors",
        spoiled / "tensors/r04/images-00000-of-00002.safetensors",
    )
    with pytest.raises(ValueError, match="holds 3 pictures of 8 px but the index says 3 of 16"):
        open_dataset(spoiled, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "format and version must be"),
        ({"format": "other"}, "format and version must be"),
        ({"ids": ["a"]}, "damaged .*its row counts disagree"),
        ({"size": 32}, "damaged .*KeyError"),
        ({"levels": 3}, "damaged"),
    ],
)
def test_a_strange_index_is_refused_by_name(spoiled, change, message):
    path = spoiled / "tensors/index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=rf"index\.json: {message}"):
        open_dataset(spoiled, 16)
