"""Laws of pictures in arrays, .npy and .npz files."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.sources import NoPictures, open_source
from metrics.sources.stacks import read_npz

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 3, 6, 8), dtype=np.uint8)
LAST = np.ascontiguousarray(IMAGES.transpose(0, 2, 3, 1))
UNIT = IMAGES / np.float32(255)


def images_of(source, size=4):
    return torch.cat([batch.images for batch in source.batches(size)])


@pytest.mark.parametrize("given", [IMAGES, torch.from_numpy(IMAGES), LAST, torch.from_numpy(LAST), IMAGES[::-1][::-1]])
def test_uint8_is_taken_as_it_is_wherever_the_channels_are(given):
    got = images_of(open_source(given))
    np.testing.assert_array_equal(got.numpy(), IMAGES)
    assert got.dtype == torch.uint8


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("stack", [IMAGES, LAST, np.asfortranarray(LAST)], ids=["first", "last", "fortran"])
def test_an_npz_holds_its_pictures_as_arr_0(tmp_path: Path, save, stack):
    save(tmp_path / "a.npz", stack, np.arange(10))
    np.testing.assert_array_equal(images_of(open_source(tmp_path / "a.npz")).numpy(), IMAGES)


def test_an_npz_may_name_its_only_array(tmp_path: Path):
    np.savez(tmp_path / "a.npz", pictures=LAST)
    np.testing.assert_array_equal(images_of(open_source(tmp_path / "a.npz")).numpy(), IMAGES)


def test_an_npy_is_read(tmp_path: Path):
    np.save(tmp_path / "a.npy", LAST)
    np.testing.assert_array_equal(images_of(open_source(tmp_path / "a.npy")).numpy(), IMAGES)


def test_an_uncompressed_npz_is_not_loaded(tmp_path: Path):
    np.savez(tmp_path / "a.npz", LAST)
    assert isinstance(read_npz(tmp_path / "a.npz"), np.memmap)


def test_an_npz_of_statistics_is_refused_with_the_way_to_use_it(tmp_path: Path):
    np.savez(tmp_path / "a.npz", mu=np.zeros(4), sigma=np.eye(4))
    with pytest.raises(ValueError, match="statistics"):
        open_source(tmp_path / "a.npz")


def test_an_npz_of_several_arrays_without_arr_0_is_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", a=LAST, b=LAST)
    with pytest.raises(ValueError, match="arr_0"):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_objects_in_an_npz_are_never_unpickled(tmp_path: Path, save):
    save(tmp_path / "a.npz", np.array([_Trap()], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz: holds"):
        open_source(tmp_path / "a.npz")


def test_objects_in_an_npy_are_never_unpickled(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([_Trap()], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npy: is no whole \.npy file of numbers"):
        open_source(tmp_path / "a.npy")


def test_an_npz_called_npy_is_refused_by_name(tmp_path: Path):
    np.savez(tmp_path / "a.npz", LAST)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"a\.npy: is no whole \.npy file"):
        open_source(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("local", "central", "value"), [(6, 8, 1), (8, 10, 99)], ids=["encrypted", "unknown compression"]
)
def test_an_npz_that_cannot_be_unpacked_is_refused_by_name(tmp_path: Path, local, central, value):
    np.savez_compressed(tmp_path / "a.npz", LAST)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[local] = value
    data[data.find(b"PK\x01\x02") + central] = value
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: is no whole \.npz file"):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize("size", [0, (4,), (4, 4, 4), 4.5, "4", (4.0, 4.0)])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(ValueError, match="size must be a side or"):
        open_source(IMAGES, size=size)


def test_numpys_whole_numbers_are_whole_numbers():
    source = open_source(IMAGES, size=np.int64(4), limit=np.int64(3), num_threads=np.int32(2))
    assert images_of(source).shape == (3, 3, 4, 4)


@pytest.mark.parametrize("options", [{"limit": True}, {"limit": 2.0}, {"value_range": (0, np.inf)}])
def test_options_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        open_source(IMAGES, **options)


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.99])
def test_a_cut_array_file_is_refused_by_name(tmp_path: Path, name, share):
    (np.savez if name == "a.npz" else np.save)(tmp_path / name, LAST)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=name):
        open_source(tmp_path / name)


def test_an_array_whose_header_lies_about_its_length_is_refused(tmp_path: Path):
    np.save(tmp_path / "arr_0.npy", LAST)
    data = (tmp_path / "arr_0.npy").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("arr_0.npy", data.replace(b"(10, 6, 8, 3)", b"(99, 6, 8, 3)"))
    with pytest.raises(ValueError, match="disagree"):
        open_source(tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_mapped_by_the_range_said(dtype):
    got = images_of(open_source((UNIT * 2 - 1).astype(dtype), value_range=(-1, 1)))
    assert np.abs(got.numpy().astype(int) - IMAGES).max() <= (dtype == np.float16)  # whose steps near 1 are 1/16 level


def test_the_order_of_bytes_does_not_matter():
    got = images_of(open_source(UNIT.astype(">f4"), value_range=(0, 1)))
    np.testing.assert_array_equal(got.numpy(), IMAGES)


def test_bfloat16_is_mapped_too():
    assert images_of(open_source(torch.from_numpy(UNIT).bfloat16(), value_range=(0, 1))).dtype == torch.uint8


def test_floats_without_a_range_are_refused():
    with pytest.raises(ValueError, match=r"value_range=\(0, 1\) or value_range=\(-1, 1\)"):
        images_of(open_source(UNIT))


@pytest.mark.parametrize(
    ("pictures", "value_range"),
    [(UNIT * 255, (0, 1)), (UNIT * 2 - 1, (0, 1)), (UNIT * 255, (-1, 1))],
    ids=["0..255 for 0..1", "-1..1 for 0..1", "0..255 for -1..1"],
)
def test_values_that_belie_the_range_are_refused(pictures, value_range):
    with pytest.raises(ValueError, match="lie outside"):
        images_of(open_source(pictures, value_range=value_range))


def test_half_a_range_is_suspected_aloud():
    source = open_source(UNIT, value_range=(-1, 1))
    images_of(source)
    assert any("darker half" in note for note in source.notes())


def test_a_little_overshoot_is_saturated_and_told():
    bright = np.where(UNIT > 0.95, 1.2, UNIT)
    source = open_source(bright, value_range=(0, 1))
    assert images_of(source).max() == 255
    assert any("were saturated" in note for note in source.notes())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_with_the_pictures_number(bad):
    broken = UNIT.copy()
    broken[7, 0, 0, 0] = bad
    with pytest.raises(ValueError, match="ndarray: picture 7 holds NaN or infinity"):
        images_of(open_source(broken, value_range=(0, 1)), size=3)


@pytest.mark.parametrize(
    ("given", "error", "reason"),
    [
        (IMAGES[:, :2], ValueError, "3 channels"),
        (np.concatenate([IMAGES, IMAGES], axis=1)[:, :4], ValueError, "alpha"),
        (IMAGES[0], ValueError, "first axis"),
        (IMAGES[:, :, :3, :3], ValueError, "cannot be told"),
        (IMAGES.astype(np.int64), TypeError, "int64"),
        (IMAGES > 3, TypeError, "bool"),
        (IMAGES.astype(complex), TypeError, "complex"),
        (IMAGES.astype(str), TypeError, "dtype"),
    ],
    ids=["2 channels", "4 channels", "one picture", "3 pixels", "int64", "bool", "complex", "text"],
)
def test_arrays_that_are_no_pictures_are_refused(given, error, reason):
    with pytest.raises(error, match=reason):
        images_of(open_source(given))


def test_no_pictures_are_refused():
    with pytest.raises(NoPictures, match="ndarray holds no pictures"):
        open_source(IMAGES[:0])


def test_one_channel_is_repeated_and_told():
    source = open_source(IMAGES[:, :1])
    np.testing.assert_array_equal(images_of(source).numpy(), np.repeat(IMAGES[:, :1], 3, axis=1))
    assert any("10 pictures are grey" in note for note in source.notes())


def test_exact_copies_are_told():
    source = open_source(IMAGES[[0, 1, 2, 0, 0]])
    assert any(
        "2 of 5 pictures are exact copies" in note and "picture 0 and picture 3" in note for note in source.notes()
    )


def test_the_fingerprint_is_of_content_not_of_storage(tmp_path: Path):
    np.savez(tmp_path / "a.npz", IMAGES)
    prints = {open_source(given).fingerprint() for given in (IMAGES, torch.from_numpy(IMAGES), tmp_path / "a.npz")}
    assert len(prints) == 1


def test_the_range_of_floats_is_in_the_fingerprint():
    prints = {open_source(UNIT, value_range=given).fingerprint() for given in ((0, 1), (0, 2))}
    assert len(prints) == 2


def test_one_level_changes_the_fingerprint():
    other = IMAGES.copy()
    other[9, 2, 5, 7] ^= 1
    assert open_source(other).fingerprint() != open_source(IMAGES).fingerprint()


class _Trap:
    """Ends the process when it is unpickled."""

    def __reduce__(self):
        return os._exit, (99,)


def test_a_file_that_stays_as_it_is_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(tmp_path / "a.npy", IMAGES)
    source = open_source(tmp_path / "a.npy")
    first = source.fingerprint()
    monkeypatch.setattr("metrics.sources.stacks._bytes_of", None)
    assert (source.fingerprint(), source.stretch(0, len(IMAGES)).fingerprint()) == (first, first)


def test_a_file_that_changes_has_another_fingerprint(tmp_path: Path):
    np.save(tmp_path / "a.npy", IMAGES)
    source = open_source(tmp_path / "a.npy")
    first = source.fingerprint()
    data = bytearray((tmp_path / "a.npy").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a.npy").write_bytes(data)
    os.utime(tmp_path / "a.npy", ns=(0, 0))  # as if it was changed at another time, whatever the clock's steps
    assert source.fingerprint() != first


def test_an_array_that_changes_has_another_fingerprint():
    images = IMAGES.copy()
    source = open_source(images)
    first = source.fingerprint()
    images[-1, 0, 0, 0] ^= 1
    assert source.fingerprint() != first
