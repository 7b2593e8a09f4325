"""A file is there whole, or as it was before."""

import stat
from pathlib import Path

import numpy as np
import pytest

from metrics.feature_store import FeatureStore
from metrics.sources.stacks import read_npy, read_npz
from metrics.statistics_files import load_statistics, save_statistics
from metrics.whole_files import whole_file


def write_half(path: Path) -> None:
    with whole_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt


def test_what_is_written_is_there_at_the_end(tmp_path: Path):
    with whole_file(tmp_path / "a.bin") as file:
        file.write(b"new")
        seen = (tmp_path / "a.bin").exists()
    assert not seen
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_others_may_read_it_as_they_may_any_new_file(tmp_path: Path):
    (tmp_path / "usual").touch()
    with whole_file(tmp_path / "a.bin") as file:
        file.write(b"new")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "a.bin")]
    assert modes[0] == modes[1]


ROWS = np.arange(6.0).reshape(3, 2)
FILES = {
    "features.npz": (lambda path: store_of(ROWS).save(path), FeatureStore.load),
    "features.npy": (lambda path: store_of(ROWS).save(path), FeatureStore.load),
    "statistics.npz": (lambda path: save_statistics(path, mean=ROWS[0], covariance=np.eye(2)), load_statistics),
    "pictures.npy": (lambda path: np.save(path, np.zeros((1, 3, 4, 4), np.uint8)), read_npy),
    "pictures.npz": (lambda path: np.savez(path, np.zeros((1, 3, 4, 4), np.uint8)), read_npz),
    "packed.npz": (lambda path: np.savez_compressed(path, np.zeros((1, 3, 4, 4), np.uint8)), read_npz),
}


def store_of(rows: np.ndarray) -> FeatureStore:
    store = FeatureStore(rows.shape[1])
    store.update(rows, first_index=0)
    return store


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_leads_to_another_error_than_one_that_names_the_file(tmp_path: Path, name: str):
    write, read = FILES[name]
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    strange = []
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            read(path)
        except Exception as error:
            if not isinstance(error, ValueError) or name not in str(error):
                strange.append((place, error))
    assert not strange
