"""What a worker writes down, and what it leaves for the next build to try again."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_source import write_small_celeba

from hqdata import precision, restore
from hqdata.record import Refused
from hqdata.sources import open_source
from hqdata.storage import open_folder
from pipelines import stages
from pipelines.config import RestoreConfig, load_config
from pipelines.dask_map import BuildStopped
from pipelines.job import Job, list_photos, make_job
from pipelines.ledger import read_rows
from pipelines.rows import ChunkResult, PhotoTask
from pipelines.score_phase import _Breaker


@pytest.fixture
def job_and_task(tmp_path: Path) -> tuple[Job, PhotoTask]:
    write_small_celeba(tmp_path / "source", num_photos=1)
    config = load_config(assignments=["align.size=16", "restore.when=never", "upscale.when=never"])
    source = open_source(str(tmp_path / "source"))
    job = make_job(config, source, open_folder(tmp_path / "run"), "cpu")
    (ref,) = list_photos(source, job)
    return job, PhotoTask(ref=ref)


def written(job: Job) -> tuple[int, int]:
    folders = (job.folder("found", job.find_key), job.folder("scored", job.score_key))
    found, scored = (sum(len(rows) for _, rows in read_rows(folder)) for folder in folders)
    return found, scored


def test_a_scored_photo_is_written_down(job_and_task: tuple[Job, PhotoTask]):
    job, task = job_and_task
    stages.score_chunk([task], job, 0.0)
    assert written(job) == (1, 1)


def test_a_photo_out_of_reach_is_reported_but_not_written_down(job_and_task: tuple[Job, PhotoTask]):
    job, task = job_and_task
    lost = replace(task, ref=replace(task.ref, path="img_celeba/none.jpg"))
    result = stages.score_chunk([lost], job, 0.0)
    assert [row.stage for row in result.found] == ["read"]
    assert result.to_retry == (task.ref.id,)
    assert written(job) == (0, 0)


def test_a_damaged_photo_is_written_down(job_and_task: tuple[Job, PhotoTask]):
    job, task = job_and_task
    Path(job.root, task.ref.path).write_bytes(b"no picture")
    result = stages.score_chunk([task], job, 0.0)
    assert [row.stage for row in result.found] == ["read"]
    assert result.to_retry == ()
    assert written(job) == (1, 0)


def test_a_photo_out_of_reach_keeps_the_faces_that_were_scored(job_and_task: tuple[Job, PhotoTask]):
    job, task = job_and_task
    file = stages.score_chunk([task], job, 0.0).found_file
    lost = replace(task, ref=replace(task.ref, path="img_celeba/none.jpg"), found_file=file, skip=(0,))
    assert stages.score_chunk([lost], job, 0.0).scored == ()


@pytest.mark.parametrize("error", [ValueError("odd"), Refused("align", "too small")])
def test_only_a_face_that_our_own_code_failed_on_is_tried_again(
    job_and_task: tuple[Job, PhotoTask], error: Exception, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_, **__):
        raise error

    job, task = job_and_task
    monkeypatch.setattr(stages, "plan_face", fail)
    to_retry = stages.score_chunk([task], job, 0.0).to_retry
    assert to_retry == ((task.ref.id,) if isinstance(error, ValueError) else ())
    assert written(job) == (1, 0 if to_retry else 1)


def test_a_source_that_vanishes_stops_the_build():
    breaker = _Breaker()
    lost = tuple(str(number) for number in range(8))
    result = ChunkResult(
        found=(),
        found_file=None,
        scored=(),
        scored_file=None,
        to_retry=lost,
        last_error="read: it is missing",
        cached=0,
        seconds={},
    )
    breaker.add(result, 8)
    breaker.add(result, 8)
    with pytest.raises(BuildStopped, match=r"24 of the first 24 photos .*it is missing.* run the same command"):
        breaker.add(result, 8)


@pytest.mark.parametrize("section", ["restore", "upscale"])
def test_another_precision_scores_again_and_finds_nothing_anew(tmp_path: Path, section: str):
    write_small_celeba(tmp_path / "source", num_photos=1)
    source = open_source(str(tmp_path / "source"))
    exact, fast = (
        make_job(load_config(assignments=[f"{section}.precision={word}"]), source, open_folder(tmp_path / "run"), "cpu")
        for word in ("float32", "bfloat16")
    )
    assert exact.score_key != fast.score_key
    assert exact.find_key == fast.find_key


def test_a_worker_that_cannot_compute_as_asked_stops_the_build(
    job_and_task: tuple[Job, PhotoTask], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    job, task = job_and_task
    monkeypatch.setattr(precision, "CPU_FACTS", tmp_path / "none")
    demanding = replace(job, restore=RestoreConfig(precision="bfloat16"))
    with pytest.raises(BuildStopped, match="precision is bfloat16, but cpu has no instructions for it"):
        stages.score_chunk([task], demanding, 0.0)


def test_threads_beside_the_networks_change_no_row_and_no_crop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_small_celeba(tmp_path / "source", num_photos=5)
    Path(tmp_path / "source" / "img_celeba" / "000003.jpg").write_bytes(b"no picture")
    config = load_config(assignments=["align.size=16"])
    source = open_source(str(tmp_path / "source"))
    written = []
    for threads in (0, 3):
        monkeypatch.setattr(stages, "threads_beside", lambda device, count=threads: count)
        job = make_job(config, source, open_folder(tmp_path / str(threads)), "cpu")
        result = stages.score_chunk([PhotoTask(ref=ref) for ref in list_photos(source, job)], job, 0.0)
        files = {file.name: job.run_folder.read(file.name) for file in job.run_folder.files()}
        written.append((files, result.found, result.scored, result.cached))
    assert written[0] == written[1]
    assert written[0][-1] == 4


def test_a_job_names_a_file_of_weights_so_that_any_folder_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_small_celeba(tmp_path / "source", num_photos=1)
    shipped = Path(restore.__file__).parents[1] / "weights" / "dejpeg-small.safetensors"
    shutil.copy(shipped, tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    config = load_config(assignments=["restore.weights=mine.safetensors"])
    job = make_job(config, open_source(str(tmp_path / "source")), open_folder(tmp_path / "run"), "cpu")
    assert job.restore.weights == str(tmp_path / "mine.safetensors")
    assert job.upscale.weights == "sr4-small"


def test_the_threads_of_a_worker_share_one_copy_of_the_networks_and_compute_with_one_thread_each(
    job_and_task: tuple[Job, PhotoTask], monkeypatch: pytest.MonkeyPatch
):
    job, _ = job_and_task
    opened: list[Job] = []
    monkeypatch.setattr(stages, "_open_tools", lambda job: opened.append(job) or time.sleep(0.1))
    together = threading.Barrier(4)

    def begin(_: int) -> int:
        torch.set_num_threads(2)
        together.wait()
        stages._tools(job)
        return torch.get_num_threads()

    stages._opened_tools.cache_clear()
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(begin, range(4))) == [1] * 4
    finally:
        stages._opened_tools.cache_clear()
    assert opened == [job]
