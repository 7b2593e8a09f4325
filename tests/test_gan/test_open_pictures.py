"""Pictures are the same wherever they come from, and a sentence names the one that cannot be used."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from gan.open_pictures import open_pictures
from gan.pictures import ArrayPictures, RunPictures
from hqdata.png import encode_png

GOLDEN_RUN = Path(__file__).parents[1] / "golden" / "run-v1"
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 8), dtype=np.uint8)
PNGS = [encode_png(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in IMAGES]
KINDS = ["b", "a", "b", "c", "a"]
ONE_HOT = [[0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]


def as_folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "more").mkdir(parents=True)
    for number, png in enumerate(PNGS):
        (folder / ("more" if number > 2 else "") / f"{number}.png").write_bytes(png)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"no picture either")
    return folder


def as_parquet(tmp_path, name="pictures.parquet", rows=slice(None), **columns):
    cells = pa.array([{"bytes": png, "path": None} for png in PNGS[rows]])
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"image": cells, "kind": KINDS[rows], **columns}), path)
    return path


def as_bytes_column(tmp_path):
    pq.write_table(pa.table({"png": pa.array(PNGS, type=pa.binary())}), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def as_folder_of_parquet(tmp_path):
    as_parquet(tmp_path, "tables/0.parquet", slice(0, 2))
    return as_parquet(tmp_path, "tables/1.parquet", slice(2, None)).parent


def as_npy(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    return tmp_path / "a.npy"


def as_npz(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES, kind=np.array(KINDS))
    return tmp_path / "a.npz"


@pytest.mark.parametrize("write", [as_folder, as_parquet, as_bytes_column, as_folder_of_parquet, as_npy, as_npz])
def test_pictures_are_the_same_wherever_they_come_from(tmp_path, write):
    pictures = open_pictures(write(tmp_path), resolution=8, channels=3)
    assert len(pictures) == 5
    assert torch.equal(pictures.batch(np.arange(5), 3), torch.from_numpy(IMAGES))
    assert pictures.fingerprint == ArrayPictures(IMAGES).fingerprint
    assert pictures.labels is None


@pytest.mark.parametrize("write", [as_parquet, as_folder_of_parquet, as_npz])
def test_a_columns_values_become_one_hot_labels(tmp_path, write):
    labels = open_pictures(write(tmp_path), resolution=8, label_column="kind").labels
    assert labels is not None
    assert labels.tolist() == ONE_HOT


def test_rows_of_labels_are_taken_as_they_are(tmp_path):
    rows = np.eye(5, 4, dtype=np.float32)
    np.savez(tmp_path / "a.npz", images=IMAGES, rows=rows)
    assert torch.equal(open_pictures(tmp_path / "a.npz", label_column="rows").labels, torch.from_numpy(rows))


def test_a_run_is_read_from_the_disk():
    pictures = open_pictures(GOLDEN_RUN, resolution=8, channels=3, label_column="Male")
    assert isinstance(pictures, RunPictures)
    assert pictures.batch(np.array([0]), 2).shape == (1, 3, 4, 4)
    assert pictures.labels is not None


def test_a_runs_own_parquet_can_be_opened_too():
    run, table = open_pictures(GOLDEN_RUN), open_pictures(GOLDEN_RUN / "data")
    places = np.arange(len(run))
    assert torch.equal(run.batch(places, run.last_level), table.batch(places, table.last_level))


def test_an_unfinished_run_is_no_folder_of_pictures(tmp_path):
    (tmp_path / "work").mkdir()
    with pytest.raises(FileNotFoundError, match="not finished"):
        open_pictures(tmp_path)


def test_grey_files_feed_grey_networks(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    pictures = open_pictures(tmp_path, resolution=8, channels=1)
    assert pictures.channels == 1
    assert pictures.batch(np.array([0]), 3).flatten().tolist() == list(range(64))


def test_pictures_need_not_be_square(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((8, 12, 3), np.uint8)))
    pictures = open_pictures(tmp_path, resolution=8, channels=3, base=(4, 6))
    assert pictures.batch(np.array([0]), 2).shape == (1, 3, 4, 6)


def test_a_base_of_another_shape_does_not_fit_a_run():
    with pytest.raises(ValueError, match=r"networks\.base"):
        open_pictures(GOLDEN_RUN, base=(4, 6))


@pytest.mark.parametrize(
    ("png", "channels", "sentence"),
    [
        (PNGS[0][:-30], 3, r"c\.png: .*damaged.*remove or replace it"),
        (b"GIF89a" + bytes(20), 3, r"c\.png: GIF is not supported"),
        (encode_png(np.zeros((8, 16, 3), np.uint8)), 3, r"c\.png: has 16 x 8 pixels, .*b\.png 8 x 8; .*crop them"),
        (PNGS[1], 1, r"c\.png: is in colour"),
    ],
)
def test_a_picture_that_cannot_be_used_is_named(tmp_path, png, channels, sentence):
    (tmp_path / "b.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    (tmp_path / "c.png").write_bytes(png)
    with pytest.raises(ValueError, match=sentence):
        open_pictures(tmp_path, resolution=8, channels=channels)


def test_a_size_other_than_the_networks_names_the_file_and_what_helps(tmp_path):
    with pytest.raises(ValueError, match=r"0\.png: has 8 x 8 pixels, wanted 16 x 16;.*networks\.resolution"):
        open_pictures(as_folder(tmp_path), resolution=16, channels=3)


def test_a_size_that_no_network_has_names_the_folder(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((10, 10, 3), np.uint8)))
    with pytest.raises(ValueError, match=rf"{tmp_path}: .*power of two, got 10 x 10"):
        open_pictures(tmp_path)


def test_a_damaged_row_is_named(tmp_path):
    table = pa.table({"image": [PNGS[0], b"", PNGS[2]]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet row 1: the file is empty"):
        open_pictures(tmp_path / "a.parquet")


@pytest.mark.parametrize("write", [as_folder, as_parquet, as_npy, as_npz])
def test_too_many_pictures_for_the_memory_are_refused_before_it_is_filled(tmp_path, write):
    with pytest.raises(ValueError, match=r"GiB.*hqdata build"):
        open_pictures(write(tmp_path), limit_bytes=500)


@pytest.mark.parametrize("write", [as_folder, as_parquet, as_npy, as_npz])
def test_a_column_that_is_not_there_is_said(tmp_path, write):
    with pytest.raises(ValueError, match=r"no (column|array) 'sort'"):
        open_pictures(write(tmp_path), label_column="sort")


def test_empty_labels_are_counted(tmp_path):
    path = as_parquet(tmp_path, sort=pa.array(["a", None, "b", None, "c"]))
    with pytest.raises(ValueError, match="labels are empty for 2 pictures"):
        open_pictures(path, label_column="sort")


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.npy", npy(IMAGES)[:200], "no array file"),
        ("a.npy", npy(np.array([object()])), "no array file"),
        ("a.npz", b"PK no zip", "no array file"),
        ("a.npy", npy(IMAGES[0]), r"wanted one array of pictures, .* got images \(3, 8, 8\)"),
        ("a.npz", npz(a=IMAGES, b=IMAGES), "wanted one array of pictures"),
        ("a.npy", npy(IMAGES.transpose(0, 2, 3, 1)), "channels last; transpose"),
        ("a.parquet", b"PAR1", "no Parquet file"),
        ("a.bin", b"", "give a folder"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as error:
        open_pictures(tmp_path / name)
    assert name in str(error.value)


def test_float_pictures_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES.astype(np.float32))
    with pytest.raises(TypeError, match=r"a\.npy: images must be uint8 in 0\.\.255, got float32"):
        open_pictures(tmp_path / "a.npy")


def test_a_parquet_without_pictures_lists_its_columns(tmp_path):
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="no column holds encoded pictures; its columns are x"):
        open_pictures(tmp_path / "a.parquet")


def test_an_empty_folder_says_what_is_read(tmp_path):
    with pytest.raises(ValueError, match="holds no pictures; wanted are PNG"):
        open_pictures(tmp_path)


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing: no such file"):
        open_pictures(tmp_path / "nothing")


def test_alpha_is_read_from_arrays_alone(tmp_path):
    with pytest.raises(ValueError, match=r"\.npy and \.npz alone"):
        open_pictures(as_folder(tmp_path), channels=4)
