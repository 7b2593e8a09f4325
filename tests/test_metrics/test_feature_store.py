"""Laws of keeping feature rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.feature_store import FeatureStore

ROWS = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)


def stored(cuts, order=None, **options):
    """Return a store that was given ROWS in pieces, in any order."""
    pieces = list(zip([0, *cuts], [*cuts, len(ROWS)], strict=True))
    store = FeatureStore(5, **options)
    for number in order if order is not None else range(len(pieces)):
        start, stop = pieces[number]
        store.update(ROWS[start:stop], first_index=start)
    return store


cuts = st.sets(st.integers(0, 40), max_size=6).map(sorted)


@given(cuts, st.randoms(), st.sampled_from([0, 100, 2**30]))
def test_rows_come_in_the_order_of_pictures_however_they_arrive(cuts, random, limit_bytes):
    order = random.sample(range(len(cuts) + 1), len(cuts) + 1)
    store = stored(cuts, order, limit_bytes=limit_bytes)
    np.testing.assert_array_equal(store.rows(), ROWS)
    assert store.indices().tolist() == list(range(40))
    assert len(store) == 40


@given(st.integers(0, 40), st.booleans(), st.sampled_from([0, 2**30]))
def test_the_order_of_merging_does_not_matter(cut, swapped, limit_bytes):
    halves = FeatureStore(5, limit_bytes=limit_bytes), FeatureStore(5)
    halves[0].update(ROWS[:cut], first_index=0)
    halves[1].update(ROWS[cut:], first_index=cut)
    one, other = halves[::-1] if swapped else halves
    one.merge(other)
    np.testing.assert_array_equal(one.rows(), ROWS)


def test_a_merged_store_keeps_its_own_rows():
    one, other = stored([], limit_bytes=0), FeatureStore(5)
    other.update(ROWS[:1] + 1, first_index=40)
    one.merge(other)
    np.testing.assert_array_equal(other.rows(), ROWS[:1] + 1)


def test_rows_may_still_come_after_they_were_read():
    store = stored([], limit_bytes=0)
    store.rows()
    store.update(ROWS[:1], first_index=40)
    np.testing.assert_array_equal(store.rows(), np.concatenate([ROWS, ROWS[:1]]))


def test_beyond_the_limit_rows_are_mapped_from_a_file(tmp_path: Path):
    store = stored([10, 20], limit_bytes=500, folder=tmp_path)
    assert store.spilled
    assert isinstance(store.rows(), np.memmap)
    assert not stored([10, 20]).spilled


def test_the_file_vanishes_with_the_store(tmp_path: Path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    store = stored([10, 20], limit_bytes=0, folder=tmp_path)
    del store
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_indices_may_have_gaps():
    store = FeatureStore(5)
    store.update(ROWS[:2], first_index=7)
    store.update(ROWS[2:3], first_index=3)
    assert store.indices().tolist() == [3, 7, 8]
    np.testing.assert_array_equal(store.rows(), ROWS[[2, 0, 1]])


def test_a_picture_given_twice_is_named():
    store = stored([])
    store.update(ROWS[:2], first_index=39)
    with pytest.raises(ValueError, match="picture 39 was given twice"):
        store.rows()


@given(cuts, st.sampled_from(["float16", "float32", "float64"]))
def test_a_state_gives_the_same_store_back(cuts, dtype):
    store = stored(cuts, dtype=dtype)
    again = FeatureStore.from_state_dict(store.state_dict())
    np.testing.assert_array_equal(again.rows(), store.rows())
    assert (again.dtype, again.width) == (dtype, 5)


def test_a_state_survives_torch_without_pickle(tmp_path: Path):
    torch.save(stored([3]).state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    np.testing.assert_array_equal(FeatureStore.from_state_dict(state).rows(), ROWS)


@pytest.mark.parametrize("name", ["rows.npz", "rows.npy"])
@pytest.mark.parametrize("limit_bytes", [0, 2**30])
def test_a_file_gives_the_same_rows_back(tmp_path: Path, name, limit_bytes):
    stored([3], limit_bytes=limit_bytes).save(tmp_path / name)
    np.testing.assert_array_equal(FeatureStore.load(tmp_path / name).rows(), ROWS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_keeps_gaps(tmp_path: Path):
    store = FeatureStore(5)
    store.update(ROWS[:2], first_index=7)
    store.save(tmp_path / "rows.npz")
    assert FeatureStore.load(tmp_path / "rows.npz").indices().tolist() == [7, 8]


def test_an_empty_store_has_no_rows(tmp_path: Path):
    FeatureStore(5).save(tmp_path / "rows.npz")
    assert FeatureStore.load(tmp_path / "rows.npz").rows().shape == (0, 5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
@pytest.mark.parametrize("name", ["rows.npz", "rows.npy"])
def test_a_cut_file_is_refused_by_name(tmp_path: Path, name, share):
    stored([]).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=name):
        FeatureStore.load(tmp_path / name)


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((3, 2), int), np.zeros((3, 2, 1)), np.array([{}], object)], ids=str
)
def test_files_of_other_things_are_refused(tmp_path: Path, array):
    np.save(tmp_path / "rows.npy", array)
    with pytest.raises(ValueError, match=r"rows\.npy"):
        FeatureStore.load(tmp_path / "rows.npy")


def test_a_missing_file_is_missing(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        FeatureStore.load(tmp_path / "rows.npz")


def test_another_ending_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="must end in"):
        stored([]).save(tmp_path / "rows.pt")


@pytest.mark.parametrize("rows", [ROWS[:, :4], ROWS[0], torch.zeros(2, 6)], ids=["narrow", "one row", "wide"])
def test_rows_of_another_shape_are_refused(rows):
    with pytest.raises(ValueError, match=r"must have shape \(n, 5\)"):
        FeatureStore(5).update(rows, first_index=0)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: FeatureStore(0), "width"),
        (lambda: FeatureStore(5, "int8"), "dtype"),
        (lambda: FeatureStore(5).update(ROWS, first_index=-1), "first_index"),
        (lambda: FeatureStore(5).merge(FeatureStore(6)), "alike"),
        (lambda: FeatureStore(5).merge(FeatureStore(5, "float16")), "alike"),
    ],
    ids=["width", "dtype", "index", "widths", "types"],
)
def test_senseless_arguments_are_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_any_float_are_taken(dtype):
    store = FeatureStore(5)
    store.update(torch.from_numpy(ROWS).to(dtype).requires_grad_(), first_index=0)
    assert torch.equal(store.tensor(), torch.from_numpy(ROWS).to(dtype).float())


def test_a_store_does_not_change_with_the_array_it_was_given():
    given, store = ROWS.copy(), FeatureStore(5)
    store.update(given, first_index=0)
    given[:] = 0
    np.testing.assert_array_equal(store.rows(), ROWS)


@pytest.mark.parametrize(
    "rows", [ROWS.tolist(), ROWS.astype(complex), ROWS.astype(object)], ids=["list", "complex", "objects"]
)
def test_what_is_no_array_of_real_numbers_is_refused(rows):
    with pytest.raises(TypeError, match="rows must be"):
        FeatureStore(5).update(rows, first_index=0)


def test_numbers_too_large_for_the_type_are_refused_by_picture():
    rows = np.ones((3, 2), np.float32)
    rows[1, 0] = 7e4
    with pytest.raises(ValueError, match="picture 11 has numbers too large for float16"):
        FeatureStore(2, "float16").update(rows, first_index=10)


@pytest.mark.gpu
def test_rows_from_cuda_arrive():
    store = FeatureStore(5)
    for start in range(0, 40, 10):
        store.update(torch.from_numpy(ROWS[start : start + 10]).cuda(), first_index=start)
    np.testing.assert_array_equal(store.rows(), ROWS)
