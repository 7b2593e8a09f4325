"""Every mistake that users bring gets one sentence that names it: no traceback from deep inside, no wrong number."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_features import noise_pictures, small_extractor

from metrics.discrepancy import cmmd, kid, mmd
from metrics.evaluation import evaluate
from metrics.features import MissingWeights, WeightsError, extractor
from metrics.frechet import fid, fid_infinity, frechet_distance
from metrics.inception import inception_score
from metrics.moments import Moments
from metrics.multiscale import ms_ssim, ms_ssim_diversity
from metrics.neighbours import prdc, precision_recall
from metrics.pyramids import laplacian_pyramid
from metrics.sliced import sliced_wasserstein, swd
from metrics.sources.opening import open_source
from metrics.statistics_files import load_statistics

ROWS = np.random.default_rng(0).normal(size=(12, 4))
PICTURES = noise_pictures(0, 12)
LARGE = noise_pictures(0, 2, side=164)
NAN_ROWS = np.where(np.arange(12)[:, None] == 7, np.nan, ROWS)


def slices(*, reference, generated):
    return sliced_wasserstein(reference=reference, generated=generated, rng=np.random.default_rng(0))


ROW_MEASURES = {
    "fid": fid,
    "fid_infinity": fid_infinity,
    "kid": kid,
    "cmmd": cmmd,
    "mmd": mmd,
    "prdc": prdc,
    "precision_recall": precision_recall,
    "sliced_wasserstein": slices,
}
BAD_ROWS = [
    pytest.param([[1.0, 2.0]], TypeError, "numpy array or a torch tensor", id="a list"),
    pytest.param(ROWS.astype(str), TypeError, "real numbers", id="strings"),
    pytest.param(ROWS.astype(complex), TypeError, "real", id="complex"),
    pytest.param(ROWS.astype(object), TypeError, "real numbers", id="objects"),
    pytest.param(ROWS[0], ValueError, r"\(n, d\)", id="one axis"),
    pytest.param(ROWS[None], ValueError, r"\(n, d\)", id="three axes"),
    pytest.param(ROWS[:, :0], ValueError, r"\(n, d\)", id="no columns"),
    pytest.param(ROWS[:0], ValueError, "at least", id="no rows"),
    pytest.param(NAN_ROWS, ValueError, "NaN or infinity in row 7", id="NaN"),
    pytest.param(np.where(np.isnan(NAN_ROWS), np.inf, NAN_ROWS), ValueError, "infinity in row 7", id="infinity"),
    pytest.param(ROWS[:, :3], ValueError, "one length", id="another width"),
]


@pytest.mark.parametrize("side", ["reference", "generated"])
@pytest.mark.parametrize(("rows", "kind", "sentence"), BAD_ROWS)
@pytest.mark.parametrize("measure", ROW_MEASURES.values(), ids=ROW_MEASURES)
def test_rows_that_cannot_be_measured(measure: Callable, rows, kind: type, sentence: str, side: str):
    with pytest.raises(kind, match=sentence) as raised:
        measure(**{"reference": ROWS, "generated": ROWS, side: rows})
    assert side in str(raised.value)


@pytest.mark.parametrize("measure", ["fid", "kid", "mmd", "prdc", "precision_recall", "fid_infinity"])
@pytest.mark.parametrize("side", ["reference", "generated"])
def test_one_row_is_too_few(measure: str, side: str):
    with pytest.raises(ValueError, match=r"at least|rows|pictures"):
        ROW_MEASURES[measure](**{"reference": ROWS, "generated": ROWS, side: ROWS[:1]})


BAD_PICTURES = [
    pytest.param([1, 2], TypeError, "numpy array or a torch tensor", id="a list"),
    pytest.param(PICTURES / 255.0, TypeError, "value_range", id="floats"),
    pytest.param(PICTURES.astype(np.int16), TypeError, "uint8", id="int16"),
    pytest.param(PICTURES[:, :2], ValueError, r"\(n, 3, height, width\)", id="2 channels"),
    pytest.param(PICTURES[:, :1], ValueError, "repeat the one channel", id="grey"),
    pytest.param(PICTURES.transpose(0, 2, 3, 1), ValueError, "permute", id="channels last"),
    pytest.param(PICTURES[0], ValueError, "first axis", id="one picture"),
    pytest.param(PICTURES[:0], ValueError, "at least|no pictures|hold", id="none"),
    pytest.param(PICTURES[:, :, :0], ValueError, "height, width", id="no pixels"),
]
PICTURE_MEASURES = {
    "swd": lambda pictures: swd(reference=PICTURES, generated=pictures),
    "ms_ssim_diversity": ms_ssim_diversity,
    "laplacian_pyramid": laplacian_pyramid,
    "embed": lambda pictures: small_extractor().embed(pictures),
}


@pytest.mark.parametrize(("pictures", "kind", "sentence"), BAD_PICTURES)
@pytest.mark.parametrize("measure", PICTURE_MEASURES.values(), ids=PICTURE_MEASURES)
def test_pictures_that_cannot_be_measured(measure: Callable, pictures, kind: type, sentence: str):
    with pytest.raises(kind, match=sentence):
        measure(pictures)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: swd(reference=PICTURES, generated=noise_pictures(0, 12, side=16)), "one size"),
        (lambda: ms_ssim(LARGE, LARGE[:1]), "same shape"),
        (lambda: ms_ssim(LARGE[:, :2], LARGE[:, :2]), "1 or 3"),
        (lambda: ms_ssim(LARGE[:0], LARGE[:0]), "shape"),
        (lambda: ms_ssim(LARGE / 1.0, LARGE / 0.5), "255"),
        (lambda: ms_ssim(LARGE * np.nan, LARGE / 1.0), "NaN"),
        (lambda: ms_ssim(PICTURES, PICTURES), "ms_ssim_progan"),
        (lambda: frechet_distance(np.zeros(3), np.eye(3), np.zeros(4), np.eye(4)), r"\(1, 3\) and \(1, 4\)"),
        (lambda: frechet_distance(np.zeros(3), np.ones((3, 2)), np.zeros(3), np.eye(3)), r"\(3, 2\)"),
        (lambda: frechet_distance(np.zeros(2), -np.eye(2), np.zeros(2), np.eye(2)), "negative variance"),
        (lambda: mmd(reference=ROWS, generated=ROWS[:5], estimator="u"), "equally many"),
        (lambda: inception_score(ROWS, splits=20), "20 splits need at least 20"),
        (lambda: kid(reference=ROWS, generated=ROWS), "subset_size 1000 is more than"),
        (lambda: prdc(reference=ROWS, generated=ROWS, k=12), "k must be below"),
        (lambda: Moments(4).update(ROWS[:, :3]), "4 numbers"),
    ],
)
def test_sizes_that_do_not_fit_are_named(call: Callable, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        call()


def measured(generated: object, **options):
    settings = {"reference": PICTURES, "metrics": ["fid"], "extractor": small_extractor(), "cache": None}
    return evaluate(**{**settings, "generated": generated, **options})


def ranged(pictures: np.ndarray):
    return open_source(pictures.astype(np.float32), value_range=(0, 1))


@pytest.mark.parametrize(
    ("generated", "kind", "sentence"),
    [
        pytest.param(lambda: PICTURES / 255.0, ValueError, "value_range", id="floats without a range"),
        pytest.param(lambda: ranged(PICTURES * 1.0), ValueError, "outside", id="floats of another range"),
        pytest.param(lambda: ranged(PICTURES * np.nan), ValueError, "picture 0 holds NaN", id="NaN"),
        pytest.param(lambda: PICTURES.astype(np.int64), TypeError, "uint8", id="int64"),
        pytest.param(lambda: PICTURES[:, :2], ValueError, "3 channels", id="2 channels"),
        pytest.param(lambda: PICTURES[:0], ValueError, "no pictures", id="zero pictures"),
        pytest.param(lambda: PICTURES[0], ValueError, "first axis|shape", id="one picture without a first axis"),
        pytest.param(lambda: PICTURES[:1], ValueError, "fid cannot be computed: it needs 2 pictures", id="one picture"),
        pytest.param(lambda: iter([]), ValueError, "no pictures", id="an empty stream"),
        pytest.param(lambda: {"images": PICTURES}, TypeError, "array or a list", id="a dictionary"),
        pytest.param(lambda: 7, TypeError, "holds no pictures", id="a number"),
        pytest.param(lambda: "/nowhere/at/all", FileNotFoundError, "/nowhere/at/all", id="no such folder"),
    ],
)
def test_sets_that_cannot_be_evaluated(generated: Callable, kind: type, sentence: str):
    with pytest.raises(kind, match=sentence):
        measured(generated())


def test_a_stream_of_one_picture_is_refused_after_reading_it():
    with pytest.raises(ValueError, match="it needs 2 pictures, the generated set has 1"):
        measured(iter(PICTURES[:1]))


def empty_folder(folder: Path) -> Path:
    return folder


def text_as_picture(folder: Path) -> Path:
    for number in range(3):
        Image.fromarray(PICTURES[number].transpose(1, 2, 0)).save(folder / f"{number}.png")
    (folder / "0.png").write_text("no picture")
    return folder


def truncated_picture(folder: Path) -> Path:
    for number in range(3):
        Image.fromarray(PICTURES[number].transpose(1, 2, 0)).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:200])
    return folder


def truncated_archive(folder: Path) -> Path:
    np.savez(folder / "set.npz", PICTURES)
    (folder / "set.npz").write_bytes((folder / "set.npz").read_bytes()[:-200])
    return folder / "set.npz"


def flipped_archive(folder: Path) -> Path:
    np.savez_compressed(folder / "set.npz", PICTURES)
    data = bytearray((folder / "set.npz").read_bytes())
    data[len(data) // 2] ^= 255
    (folder / "set.npz").write_bytes(data)
    return folder / "set.npz"


def archive_of_objects(folder: Path) -> Path:
    np.savez(folder / "set.npz", np.array([{"a": 1}], dtype=object))
    return folder / "set.npz"


def archive_of_texts(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing to see")
    return folder / "set.zip"


def pickled_pictures(folder: Path) -> Path:
    (folder / "set.pkl").write_bytes(pickle.dumps(PICTURES))
    return folder / "set.pkl"


@pytest.mark.parametrize(
    "make",
    [
        empty_folder,
        text_as_picture,
        truncated_picture,
        truncated_archive,
        flipped_archive,
        archive_of_objects,
        archive_of_texts,
        pickled_pictures,
    ],
)
@pytest.mark.parametrize("role", ["reference", "generated"])
def test_files_that_cannot_be_read_are_named(make: Callable, role: str, tmp_path: Path):
    path = make(tmp_path)
    with pytest.raises(ValueError, match=str(tmp_path)) as raised:
        measured(**{"generated": PICTURES, role: path})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kept", [10, 200, -50])
def test_a_cut_statistics_file_is_named(kept: int, tmp_path: Path):
    np.savez(tmp_path / "ref.npz", mu=np.zeros(48), sigma=np.eye(48))
    (tmp_path / "ref.npz").write_bytes((tmp_path / "ref.npz").read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"ref\.npz"):
        measured(PICTURES, reference=tmp_path / "ref.npz")
    with pytest.raises(ValueError, match=r"ref\.npz"):
        load_statistics(tmp_path / "ref.npz")


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"mu": np.zeros(48)}, "no sigma"),
        ({"mu": np.zeros(48), "sigma": np.eye(47)}, "shape"),
        ({"mu": np.full(48, np.nan), "sigma": np.eye(48)}, "NaN"),
        ({"mu": np.zeros(48), "sigma": np.triu(np.ones((48, 48)))}, "symmetric"),
        ({"mu": np.zeros(47), "sigma": np.eye(47)}, "47 columns, GridColours gives 48"),
    ],
)
def test_statistics_that_are_none_are_named(entries: dict, sentence: str, tmp_path: Path):
    np.savez(tmp_path / "ref.npz", **entries)
    with pytest.raises(ValueError, match=sentence):
        measured(PICTURES, reference=tmp_path / "ref.npz")


def truncated_weights(path: Path):
    torch.save({"weight": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])


class Payload:
    """Runs code when it is unpickled; must never be."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle was run')",))


def hostile_pickle(path: Path):
    path.write_bytes(pickle.dumps(Payload()))


def other_weights(path: Path):
    torch.save({"weight": torch.zeros(3)}, path)


@pytest.mark.parametrize("sha256", ["published", "any"])
@pytest.mark.parametrize("make", [truncated_weights, hostile_pickle, other_weights])
@pytest.mark.parametrize("name", ["inception-fid", "efficientnet-lite0", "clip-vit-l14-336"])
def test_weights_that_are_none_are_named(name: str, make: Callable, sha256: str, tmp_path: Path):
    make(tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        extractor(name, weights=tmp_path / "weights.pth", sha256=sha256, device="cpu")


def test_weights_that_are_not_there_are_named(tmp_path: Path):
    with pytest.raises(MissingWeights, match="nowhere"):
        extractor("inception-fid", weights=tmp_path / "nowhere.pth", device="cpu")
