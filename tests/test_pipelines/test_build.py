"""The whole way on small pictures: same bytes for any number of workers and after a kill, and exact redoing."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hostile_photos import write_hostile_folder
from small_source import write_small_celeba

from hqdata.png import decode_png, encode_png
from hqdata.shards import open_dataset, verify_run
from pipelines.build_dataset import build_dataset
from pipelines.config import BuildConfig, load_config
from pipelines.plan import plan_build

pytestmark = [pytest.mark.dask, pytest.mark.slow]

NUM_PHOTOS = 24
COUNT = 14
SETTINGS = ["align.size=32", f"select.count={COUNT}", "pack.rows_per_shard=5", "run.chunk_photos=2", "run.workers=1"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("celeba")
    write_small_celeba(folder, num_photos=NUM_PHOTOS)
    return folder


def settings(source: Path, *more: str) -> BuildConfig:
    return load_config(assignments=[f'source.root="{source}"', *SETTINGS, *more])


@pytest.fixture(scope="module")
def run(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished build by one worker."""
    folder = tmp_path_factory.mktemp("run") / "one"
    build_dataset(settings(source), folder)
    return folder


def shard_bytes(run: Path) -> dict[str, str]:
    files = [path for folder in ("data", "tensors") for path in (run / folder).rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_run_folder_is_whole(run: Path):
    assert verify_run(run, deep=True) == []
    for name in ("run.json", "scores.parquet", "selected.parquet", "dropped.parquet", "report/contact_sheet.png"):
        assert name in json.loads((run / "manifest.json").read_text())["files"]


def test_the_chosen_faces_are_spread_over_shards_as_always(run: Path):
    rows = [pq.read_metadata(path).num_rows for path in sorted((run / "data").glob("*.parquet"))]
    assert rows == [4, 5, 5]


def test_every_photo_is_scored_and_the_best_are_chosen(run: Path):
    scores = pq.read_table(run / "scores.parquet").to_pandas().set_index("id")
    selected = pq.read_table(run / "selected.parquet").to_pandas()
    assert len(scores) == NUM_PHOTOS
    assert list(selected["rank"]) == list(range(COUNT))
    left_out = scores.drop(index=selected["id"])
    assert selected["score"].is_monotonic_decreasing
    assert left_out["score"].max() <= selected["score"].min()


def test_parquet_and_tensors_hold_the_same_pixels(run: Path):
    table = [row for path in sorted((run / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    dataset = open_dataset(run, resolution=32)
    assert len(dataset) == len(table) == COUNT
    for position, row in enumerate(table):
        pixels = decode_png(row["image"]["bytes"])
        assert np.array_equal(dataset[position].numpy(), pixels.transpose(2, 0, 1))


def test_two_workers_and_other_chunks_give_the_same_bytes(source: Path, run: Path, tmp_path: Path):
    build_dataset(settings(source, "run.workers=2", "run.chunk_photos=5", "run.pilot_photos=4"), tmp_path / "run")
    assert shard_bytes(tmp_path / "run") == shard_bytes(run)


def test_a_killed_build_goes_on_and_gives_the_same_bytes(source: Path, run: Path, tmp_path: Path):
    command = [sys.executable, "-m", "pipelines.cli", "build", "--source", str(source), "--out", str(tmp_path / "run")]
    command += [word for setting in SETTINGS for word in ("--set", setting)]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    rows = tmp_path / "run" / "work" / "scored"
    deadline = time.monotonic() + 120
    while len(list(rows.rglob("*.jsonl"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "run" / "manifest.json").exists()
    done_before = sum(len(path.read_text().splitlines()) - 1 for path in rows.rglob("*.jsonl"))
    assert 0 < done_before < NUM_PHOTOS
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{NUM_PHOTOS} photos: " in second.stderr
    assert shard_bytes(tmp_path / "run") == shard_bytes(run)
    assert verify_run(tmp_path / "run") == []


def test_the_same_command_finds_nothing_to_do(source: Path, run: Path):
    before = (run / "manifest.json").stat().st_mtime_ns
    summary = build_dataset(settings(source), run)
    assert (summary.newly_scored_photos, summary.newly_packed_shards, summary.selected) == (0, 0, COUNT)
    assert (run / "manifest.json").stat().st_mtime_ns == before
    assert "nothing is left to do" in list(plan_build(settings(source), run).lines())


@pytest.fixture
def copied_run(run: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-r", str(run), str(tmp_path / "copy")], check=True)
    return tmp_path / "copy"


def wound_shard(run: Path) -> None:
    next((run / "data").glob("*.parquet")).write_bytes(b"cut off")


def wound_table(run: Path) -> None:
    (run / "scores.parquet").unlink()


def wound_manifest(run: Path) -> None:
    (run / "manifest.json").write_text("{")


def wound_marker(run: Path) -> None:
    (run / "manifest.json").unlink()
    next((run / "work" / "packed").rglob("*.json")).write_text('{"shard": 0}')


@pytest.mark.parametrize("wound", [wound_shard, wound_table, wound_manifest, wound_marker])
def test_a_damaged_run_is_not_called_finished_and_heals(source: Path, run: Path, copied_run: Path, wound):
    wound(copied_run)
    assert "nothing is left to do" not in list(plan_build(settings(source), copied_run).lines())
    assert build_dataset(settings(source), copied_run).newly_scored_photos == 0
    assert verify_run(copied_run, deep=True) == []
    assert shard_bytes(copied_run) == shard_bytes(run)


def test_a_setting_that_changes_only_the_tables_writes_them_anew(source: Path, copied_run: Path):
    build_dataset(settings(source, "landmarks.min_face_px=1000"), copied_run)
    assert pq.read_table(copied_run / "dropped.parquet").num_rows == NUM_PHOTOS
    assert pq.read_table(copied_run / "scores.parquet").num_rows == 0


def test_an_edited_annotation_costs_its_photo(source: Path, copied_run: Path, tmp_path: Path):
    subprocess.run(["cp", "-rp", str(source), str(tmp_path / "source")], check=True)
    annotations = tmp_path / "source" / "Anno" / "list_landmarks_celeba.txt"
    head, columns, first, *rest = annotations.read_text().splitlines()
    name, x, *points = first.split()
    annotations.write_text("\n".join([head, columns, " ".join([name, str(int(x) + 2), *points]), *rest]) + "\n")
    config = settings(tmp_path / "source")
    assert plan_build(config, copied_run).photos_to_find == 1
    assert build_dataset(config, copied_run).newly_scored_photos == 1


def test_a_changed_attribute_is_packed_again(source: Path, tmp_path: Path):
    subprocess.run(["cp", "-rp", str(source), str(tmp_path / "source")], check=True)
    table = tmp_path / "source" / "Anno" / "identity_CelebA.txt"
    config = settings(tmp_path / "source", "align.size=16")
    for identity in (1, 2):
        table.write_text("".join(f"{number:06d}.jpg {identity}\n" for number in range(1, NUM_PHOTOS + 1)))
        summary = build_dataset(config, tmp_path / "run")
    assert (summary.newly_scored_photos, summary.newly_packed_shards) == (0, 3)
    stored = [pq.read_table(path).to_pylist() for path in (tmp_path / "run" / "data").glob("*.parquet")]
    assert {row["identity"] for rows in stored for row in rows} == {2}


def test_another_count_scores_nothing_again(source: Path, copied_run: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    summary = build_dataset(settings(source, "select.count=9"), copied_run)
    assert (summary.newly_scored_photos, summary.newly_packed_shards, summary.selected) == (0, 2, 9)
    assert "select.count: 14 -> 9" in caplog.text
    assert verify_run(copied_run, deep=True) == []


def test_another_size_renders_again_but_does_not_search_again(source: Path, copied_run: Path):
    config = settings(source, "align.size=16")
    plan = plan_build(config, copied_run)
    assert (plan.photos_to_find, plan.photos_to_render) == (0, NUM_PHOTOS)
    assert plan.changes == ("align.size: 32 -> 16",)
    build_dataset(config, copied_run)
    assert verify_run(copied_run, deep=True) == []
    assert open_dataset(copied_run, resolution=16)[0].shape == (3, 16, 16)
    assert len(list((copied_run / "work" / "crops").iterdir())) == 1  # the other size's cache is gone


def test_a_lost_cache_is_rendered_again_to_the_same_bytes(source: Path, run: Path, copied_run: Path):
    for path in (copied_run / "work" / "crops").rglob("*.png"):
        path.unlink() if path.name < "8" else path.write_bytes(b"damaged")
    for path in (copied_run / "work" / "packed").rglob("*.json"):
        path.unlink()
    build_dataset(settings(source), copied_run)
    assert shard_bytes(copied_run) == shard_bytes(run)


def test_an_added_photo_costs_one_photo(run: Path, source: Path, tmp_path: Path):
    subprocess.run(["cp", "-rp", str(source), str(tmp_path / "source")], check=True)
    photos = tmp_path / "source" / "img_celeba"
    config = load_config(assignments=[*SETTINGS, f'source.root="{photos}"', "source.kind=photos", "select.count=30"])
    spare = (photos / "000001.jpg").read_bytes()
    (photos / "000001.jpg").unlink()
    build_dataset(config, tmp_path / "run")
    (photos / "extra.jpg").write_bytes(spare)
    assert build_dataset(config, tmp_path / "run").newly_scored_photos == 1


def test_hostile_photos_are_all_accounted_for(tmp_path: Path):
    expected = write_hostile_folder(tmp_path / "photos")
    config = load_config(assignments=[*SETTINGS, f'source.root="{tmp_path / "photos"}"'])
    summary = build_dataset(config, tmp_path / "run")
    scores = pq.read_table(tmp_path / "run" / "scores.parquet").to_pandas()
    dropped = pq.read_table(tmp_path / "run" / "dropped.parquet").to_pandas()
    listed = {file.name: file for file in expected if file.listed}
    assert set(scores["source"]) | set(dropped["source"]) == set(listed)
    assert set(scores["source"]) == {name for name, file in listed.items() if file.has_face}
    assert summary.photos == len(listed)
    assert (dropped["reason"].str.len() > 5).all()
    assert verify_run(tmp_path / "run", deep=True) == []
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_a_source_without_a_face_gives_an_empty_data_set_and_says_where_to_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "grey.png").write_bytes(encode_png(np.full((64, 64, 3), 128, dtype=np.uint8)))
    config = load_config(assignments=[*SETTINGS, f'source.root="{tmp_path / "photos"}"'])
    summary = build_dataset(config, tmp_path / "run")
    assert (summary.photos, summary.selected, summary.dropped) == (1, 0, 1)
    assert "none of 1 photos gave a usable face" in caplog.text
    assert verify_run(tmp_path / "run", deep=True) == []
    assert len(open_dataset(tmp_path / "run", resolution=32)) == 0
