"""What a plan foretells: crops in the cache as the threshold lets them in, time by the work so far, reasons to redo."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hqdata.storage import open_folder
from pipelines.config import BuildConfig
from pipelines.job import STAGE_VERSIONS
from pipelines.plan import plan_build
from pipelines.plan_estimates import estimate_time, expected_cached
from pipelines.redo_reasons import redo_reasons
from pipelines.spending import SPENDING_PATH, Spending, keep_spending, read_spending
from pipelines.threshold import CacheThreshold

CHUNK = 8


def cached_in_simulation(count: int, faces: int, pilot: int, seed: int) -> int:
    threshold = CacheThreshold(count=count, photos=faces, pilot_photos=pilot)
    scores = np.random.default_rng(seed).random(faces)
    cached = 0
    for start in range(0, faces, CHUNK):
        chunk = scores[start : start + CHUNK]
        cached += int((chunk >= threshold.value).sum())
        threshold.add(len(chunk), chunk.tolist())
    return cached


@pytest.mark.parametrize(("count", "faces", "pilot"), [(300, 3000, 1000), (2000, 10000, 80000), (50, 10000, 500)])
def test_the_cache_is_estimated_as_the_threshold_fills_it(count: int, faces: int, pilot: int):
    simulated = np.mean([cached_in_simulation(count, faces, pilot, seed) for seed in range(5)])
    assert expected_cached(count=count, faces=faces, pilot=pilot) == pytest.approx(simulated, rel=0.08)


def test_without_a_pilot_the_cache_follows_the_harmonic_law():
    assert expected_cached(count=30_000, faces=202_599, pilot=0) == pytest.approx(87_301, abs=1)  # K (1 + ln(N / K))


@pytest.mark.parametrize("count", [10, 11])
def test_where_every_face_is_chosen_every_crop_is_cached(count: int):
    assert expected_cached(count=count, faces=10, pilot=100) == 10


CPU: Counter[str] = Counter({"find": 5.0, "networks": 15.0})  # pyright: ignore[reportArgumentType] -- seconds, not counts
SPENT = Spending(photos=10, searched=5, score_seconds=40.0, cpu_seconds=CPU, faces=4, pack_seconds=2.0, threads=3)


def test_a_photo_with_known_faces_is_spared_the_search():
    rendered = SPENT.to_score(0, 10)
    assert rendered == pytest.approx(30.0)  # three quarters of the CPU time, over ten photos
    assert SPENT.to_score(10, 0) == pytest.approx(30.0 + 20.0)  # the search was of five photos alone
    assert SPENT.to_pack(10) == pytest.approx(5.0)


def test_time_is_shared_by_the_workers():
    time = estimate_time(SPENT, searched=0, rendered=100, packed=8, threads=4)
    assert time is not None
    assert time.worker_s == pytest.approx(304.0)
    assert time.core_s == pytest.approx(150.0)  # workers were on a core half of the time
    assert time.wall_s == pytest.approx(76.0)


def test_what_was_never_measured_is_not_foretold():
    assert estimate_time(Spending(), searched=1, rendered=0, packed=0, threads=1) is None
    nothing = estimate_time(Spending(), searched=0, rendered=0, packed=5, threads=1)
    assert nothing is not None
    assert nothing.worker_s == 0.0


def test_spending_adds_up_over_builds_and_keys_stay_apart(tmp_path: Path):
    run = open_folder(tmp_path)
    keep_spending(run, "one", SPENT)
    keep_spending(run, "two", Spending(photos=1))
    keep_spending(run, "one", SPENT)
    assert read_spending(run, "one") == SPENT + SPENT
    assert read_spending(run, "one").cpu_seconds == {"find": 10.0, "networks": 30.0}
    assert read_spending(run, "two").photos == 1
    assert read_spending(run, "three") == Spending()


@pytest.mark.parametrize("text", ["{", '{"key": {"unknown": 1}}', '{"key": 3}', "[]"])
def test_spending_that_is_not_understood_costs_a_warning(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture):
    run = open_folder(tmp_path)
    run.write(SPENDING_PATH, text.encode())
    assert read_spending(run, "key") == Spending()
    assert SPENDING_PATH in caplog.text


def described(config: BuildConfig | None = None, **changes: Any) -> dict[str, Any]:
    values = {
        "config": (config or BuildConfig()).to_dict(),
        "resolved": {"device": "cpu"},
        "stage_versions": STAGE_VERSIONS,
        "keys": {"find": "f", "score": "s", "photos": "p"},
        "weights_sha256": {"restore": "r", "landmarks onet": "o"},
        "versions": {"torch": "2"},
    }
    return values | changes


def reasons(now: dict[str, Any], *, find: int = 0, render: int = 0) -> list[str]:
    return list(redo_reasons(described(), now, find=find, render=render))


DEFAULT = BuildConfig()


@pytest.mark.parametrize(
    ("now", "find", "render", "line"),
    [
        (
            described(replace(DEFAULT, align=replace(DEFAULT.align, size=256))),
            0,
            24,
            "align.size: 1024 -> 256: 24 photos rendered again, none searched again",
        ),
        (
            described(replace(DEFAULT, align=replace(DEFAULT.align, size=256))),
            0,
            0,
            "align.size: 1024 -> 256: the ledger knows these crops already",
        ),
        (
            described(replace(DEFAULT, landmarks=replace(DEFAULT.landmarks, provider="mtcnn"))),
            24,
            0,
            "landmarks.provider: auto -> mtcnn: 24 photos searched and rendered again",
        ),
        (
            described(replace(DEFAULT, landmarks=replace(DEFAULT.landmarks, min_face_px=20.0))),
            0,
            3,
            "landmarks.min_face_px: 40.0 -> 20.0: 3 photos have faces to render that were not wanted before",
        ),
        (
            described(replace(DEFAULT, select=replace(DEFAULT.select, where="score > 3"))),
            0,
            0,
            "select.where: '' -> score > 3: faces are chosen anew, none is scored again",
        ),
        (
            described(replace(DEFAULT, pack=replace(DEFAULT.pack, rows_per_shard=8))),
            0,
            0,
            "pack.rows_per_shard: 256 -> 8: shards are packed anew from the same crops",
        ),
        (
            described(weights_sha256={"restore": "new", "landmarks onet": "o"}),
            0,
            5,
            "weights.restore: r -> new: 5 photos rendered again, none searched again",
        ),
        (
            described(weights_sha256={"restore": "r", "landmarks onet": "new"}),
            5,
            0,
            "weights.landmarks onet: o -> new: 5 photos searched and rendered again",
        ),
        (described(versions={"torch": "3"}), 0, 0, "version of torch: 2 -> 3: recorded, nothing is done again for it"),
        (described(resolved={"device": "cuda"}), 4, 0, "device: cpu -> cuda: other pixels, so 4 photos are done again"),
        (
            described(keys={"find": "f", "score": "s", "photos": "new"}),
            2,
            0,
            "the source: photos or their attributes are new, changed or gone: 2 photos to search and render",
        ),
        (
            described(),
            2,
            1,
            "the last build: it left 3 photos to do, or they were refused and are tried again",
        ),
    ],
)
def test_every_redo_has_its_reason_and_its_extent(now: dict[str, Any], find: int, render: int, line: str):
    assert reasons(now, find=find, render=render) == [line]


def test_nothing_changed_needs_no_reason():
    assert reasons(described()) == []


def test_every_setting_of_a_build_has_a_consequence():
    silent = [
        line
        for section, values in DEFAULT.to_dict().items()
        for key in values
        for line in redo_reasons(
            described(),
            described() | {"config": DEFAULT.to_dict() | {section: values | {key: "other"}}},
            find=1,
            render=1,
        )
        if "nothing is done again" in line
    ]
    assert silent == []


def test_a_setting_that_the_last_build_did_not_know_had_its_default():
    before = described()
    del before["config"]["select"]["where"]
    assert list(redo_reasons(before, described(), find=0, render=0)) == []


@pytest.mark.dask
@pytest.mark.slow
def test_a_plan_tells_the_time_of_what_was_measured(scored_run: Path, scored_config: BuildConfig):
    assert plan_build(scored_config, scored_run).finished
    other = replace(scored_config, select=replace(scored_config.select, count=3))
    plan = plan_build(other, scored_run)
    assert plan.time is not None
    assert plan.time.photos_measured == 12
    assert plan.reasons == ("select.count: 6 -> 3: faces are chosen anew, none is scored again",)
    larger = plan_build(replace(scored_config, align=replace(scored_config.align, size=32)), scored_run)
    assert (larger.time, larger.photos_to_render) == (None, 11)
    assert "--pilot" in "\n".join(larger.lines())


@pytest.mark.dask
@pytest.mark.slow
def test_a_plan_with_a_condition_counts_the_faces_that_it_allows(copied: Path, scored_config: BuildConfig):
    filtered = replace(scored_config, select=replace(scored_config.select, where="identity == 1"))
    assert plan_build(filtered, copied).selected == 4
    (copied / "scores.parquet").unlink()
    assert plan_build(filtered, copied).selected == 6  # an upper bound, while the table is not there
