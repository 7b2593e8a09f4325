"""Statistics files: what we write others read, what they write we read, and damage is refused by the file's name."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics.frechet import FrechetReference, fid
from metrics.moments import Moments
from metrics.statistics_files import load_statistics, save_statistics


def statistics(width: int = 4, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(seed).normal(size=(50, width))
    return rows.mean(axis=0), np.cov(rows, rowvar=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "faces.npz"


def test_what_was_saved_comes_back(path: Path):
    mean, covariance = statistics()
    provenance = {"extractor": "inception-fid", "ddof": 1}
    save_statistics(path, mean=mean, covariance=covariance, count=50, provenance=provenance)
    found = load_statistics(path)
    assert np.array_equal(found.mean, mean)
    assert np.array_equal(found.covariance, (covariance + covariance.T) / 2)
    assert (found.count, found.provenance) == (50, provenance)


def test_a_saved_reference_gives_the_distance_of_the_features(path: Path):
    reference, generated = np.random.default_rng(1).normal(size=(2, 60, 5))
    moments, others = Moments(5), Moments(5)
    moments.update(reference)
    others.update(generated)
    save_statistics(path, mean=moments.mean, covariance=moments.covariance(), count=moments.count)
    found = load_statistics(path)
    distance = FrechetReference(found.mean, found.covariance).distance(others.mean, others.covariance())
    assert distance == pytest.approx(fid(reference=reference, generated=generated), abs=1e-10)


def test_what_is_read_as_others_read_it_is_what_was_written(path: Path):
    """pytorch-fid and clean-fid take `mu` and `sigma` from np.load without pickles."""
    mean, covariance = statistics()
    save_statistics(path, mean=mean, covariance=covariance, count=50, provenance={"by": "us"})
    with np.load(path) as archive:
        assert np.array_equal(archive["mu"][:], mean)
        assert archive["sigma"][:] == pytest.approx(covariance, abs=1e-16)


@pytest.mark.reference
def test_pytorch_fid_reads_what_we_write(path: Path):
    fid_score = pytest.importorskip("pytorch_fid.fid_score")
    mean, covariance = statistics()
    save_statistics(path, mean=mean, covariance=covariance, count=50, provenance={"by": "us"})
    mu, sigma = fid_score.compute_statistics_of_path(str(path), None, 50, 4, "cpu")
    assert np.array_equal(mu, mean)
    assert sigma == pytest.approx(covariance, abs=1e-16)


@pytest.mark.reference
def test_clean_fid_reads_what_we_write(path: Path, monkeypatch: pytest.MonkeyPatch):
    """clean-fid finds statistics by name, in its own folder."""
    features = pytest.importorskip("cleanfid.features")
    mean, covariance = statistics()
    save_statistics(path, mean=mean, covariance=covariance, count=50, provenance={"by": "us"})
    monkeypatch.setattr(features, "check_download_url", lambda **_: str(path))
    mu, sigma = features.get_reference_statistics("faces", "na", mode="clean", split="custom")
    assert np.array_equal(mu, mean)
    assert sigma == pytest.approx(covariance, abs=1e-16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_other_libraries_files_are_read(path: Path, dtype, write):
    """pytorch-fid writes np.savez_compressed(path, mu=, sigma=), clean-fid np.savez, some in float32."""
    mean, covariance = statistics()
    write(path, mu=mean.astype(dtype), sigma=covariance.astype(dtype), arr_0=np.zeros((2, 8, 8, 3), np.uint8))
    found = load_statistics(path)
    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert found.covariance == pytest.approx(covariance, abs=1e-6)
    assert (found.count, found.provenance) == (None, {})


def test_the_same_statistics_are_the_same_bytes(tmp_path: Path):
    for name in ("a.npz", "b.npz"):
        save_statistics(tmp_path / name, mean=np.zeros(2), covariance=np.eye(2), provenance={"z": 1, "a": 2})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_a_count_that_could_not_be_read_is_not_written(path: Path, count):
    with pytest.raises(ValueError, match="count must be one positive whole number"):
        save_statistics(path, mean=np.zeros(2), covariance=np.eye(2), count=count)
    assert not path.exists()


def test_files_of_another_byte_order_are_read(path: Path):
    np.savez(path, mu=np.array([1.0, 2.0], ">f8"), sigma=np.eye(2).astype(">f4"))
    assert load_statistics(path).mean.tolist() == [1.0, 2.0]


def test_others_may_read_a_statistics_file(path: Path):
    path.with_name("usual").touch()
    save_statistics(path, mean=np.zeros(2), covariance=np.eye(2))
    assert path.stat().st_mode == path.with_name("usual").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch):
    save_statistics(path, mean=np.zeros(2), covariance=np.eye(2))
    before = path.read_bytes()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_statistics(path, mean=np.ones(2), covariance=np.eye(2))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"mu": np.zeros(2)}, "holds no sigma"),
        ({"arr_0": np.zeros((2, 3))}, "holds no mu and no sigma"),
        ({"mu": np.zeros(3), "sigma": np.eye(2)}, "a mean of shape"),
        ({"mu": np.zeros((1, 2)), "sigma": np.eye(2)}, "a mean of shape"),
        ({"mu": np.zeros(2), "sigma": np.ones(2)}, "shape"),
        ({"mu": np.zeros(2), "sigma": np.full((2, 2), np.nan)}, "NaN or infinity"),
        ({"mu": np.array([np.inf, 0]), "sigma": np.eye(2)}, "NaN or infinity"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 2.0], [3.0, 4.0]])}, "not symmetric"),
        ({"mu": np.zeros(2), "sigma": -np.eye(2)}, "negative variance"),
        ({"mu": np.zeros(2, dtype=complex), "sigma": np.eye(2)}, "real numbers"),
        ({"mu": np.array(["a", "b"]), "sigma": np.eye(2)}, "real numbers"),
        ({"mu": np.array([Bomb(), Bomb()], dtype=object), "sigma": np.eye(2)}, "allow_pickle"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "count": np.array(-3)}, "count must be"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "provenance": np.array("{oops")}, "Expecting property name"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "provenance": np.array("[1]")}, "a JSON object"),
    ],
)
def test_a_file_of_something_else_is_refused_by_name(path: Path, entries: dict, message: str):
    np.savez(path, **entries)
    with pytest.raises(ValueError, match=f"faces.npz: .*{message}"):
        load_statistics(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a zip", pickle.dumps(Bomb()), b"\x93NUMPY\x01\x00", b"PK\x03\x04" + bytes(40)],
    ids=["empty", "text", "pickle", "npy", "zip head"],
)
def test_a_file_that_is_no_archive_is_refused_by_name(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"faces.npz: is no .npz archive"):
        load_statistics(path)


def test_an_entry_that_is_no_array_is_refused_by_name(path: Path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mu.npy", pickle.dumps(Bomb()))
        archive.writestr("sigma.npy", b"")
    with pytest.raises(ValueError, match=r"faces.npz: "):
        load_statistics(path)


@pytest.fixture(scope="module")
def good_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.npz"
    mean, covariance = statistics()
    save_statistics(path, mean=mean, covariance=covariance, count=50, provenance={"extractor": "inception-fid"})
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_cut_file_is_refused_by_name(good_bytes: bytes, tmp_path_factory: pytest.TempPathFactory, data):
    path = tmp_path_factory.getbasetemp() / "cut.npz"
    path.write_bytes(good_bytes[: data.draw(st.integers(0, len(good_bytes) - 1))])
    with pytest.raises(ValueError, match=r"cut.npz: "):
        load_statistics(path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_refused_by_name_or_changes_nothing(good_bytes, tmp_path_factory, data):
    """Dates and versions in a zip archive's directory are nobody's numbers."""
    flipped = bytearray(good_bytes)
    flipped[data.draw(st.integers(0, len(good_bytes) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(flipped)
    assert loaded_or_refusal(path) in (loaded_or_refusal(path.with_name("good.npz"), good_bytes), "flipped.npz refused")


def loaded_or_refusal(path: Path, content: bytes | None = None) -> object:
    if content is not None:
        path.write_bytes(content)
    try:
        found = load_statistics(path)
    except ValueError as error:
        return f"{path.name} refused" if f"{path.name}: " in str(error) else str(error)
    return found.mean.tolist(), found.covariance.tolist(), found.count, found.provenance


def test_a_missing_file_is_named(path: Path):
    with pytest.raises(FileNotFoundError, match=r"no statistics file at .*faces\.npz"):
        load_statistics(path)


def test_another_suffix_is_refused_before_writing(tmp_path: Path):
    with pytest.raises(ValueError, match=r"end in .npz, got faces.npy"):
        save_statistics(tmp_path / "faces.npy", mean=np.zeros(2), covariance=np.eye(2))
    assert list(tmp_path.iterdir()) == []


def test_statistics_that_are_none_are_not_written(path: Path):
    with pytest.raises(ValueError, match="NaN"):
        save_statistics(path, mean=np.zeros(2), covariance=np.full((2, 2), np.nan))
    assert not path.exists()
