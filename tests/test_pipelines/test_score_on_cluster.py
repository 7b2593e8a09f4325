"""`hqdata score` on a cluster: the report is that of one process, whatever becomes of a worker."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from distributed import Client
from local_s3 import keys
from PIL import Image
from small_features import noise_pictures

from gan.checkpoint import save_generator
from gan.zoo import Shape
from gan.zoo.progan import ProGanGenerator
from hqdata.storage import Folder, open_folder
from metrics.evaluation import evaluate
from metrics.report import Report
from pipelines.cli import cli
from pipelines.clusters import ClusterChoice
from pipelines.score_generator import ClusterPasses
from pipelines.score_parts import NetworkWords, PartJob, SetWords, Stretch, gather_stretches
from pipelines.stopping import BuildStopped

pytestmark = pytest.mark.dask

BATCH, PART = 4, 8
NETWORK = NetworkWords(extractor="efficientnet-lite0", weights=None, precision="float32", protocol="tf1")
PATCHES = ("-m", "swd,ms_ssim", "--batch-size", str(BATCH), "--cache", "none", "--json", "-")
"""Measures without a network, which cost little."""


@pytest.fixture(scope="module")
def cluster(two_workers: Client) -> tuple[str, ...]:
    """The words that name the cluster."""
    return ("--scheduler", two_workers.scheduler_info()["address"], "--part-pictures", str(PART))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four sets of 32 px or less by their kind: 36 files of which two are equal, grey arrays, a generator."""
    folder = tmp_path_factory.mktemp("sets")
    (folder / "files").mkdir()
    for number, picture in enumerate([*noise_pictures(0, 35), noise_pictures(0, 1)[0]]):
        Image.fromarray(picture.transpose(1, 2, 0)).save(folder / "files" / f"{number}.png")
    np.savez(folder / "grey.npz", noise_pictures(1, 30, channels=1))
    torch.manual_seed(0)
    generator = ProGanGenerator(Shape(resolution=32, latent=8, most_maps=8, map_budget=64))
    save_generator(folder / "training" / "average.safetensors", generator, level=5, fade=1.0, images=0)
    return {"files": folder / "files", "grey": folder / "grey.npz", "generator": folder / "training"}


def hqdata_score(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["score", *map(str, words)])


def told(answer: Result) -> dict:
    """Return the report without its times."""
    assert answer.exit_code == 0, answer.stderr
    return {**json.loads(answer.stdout), "seconds": None, "images_per_s": None}


@pytest.mark.slow
@pytest.mark.parametrize("generated", ["grey", "generator"])
def test_the_report_is_that_of_one_process(sets: dict[str, Path], cluster, tmp_path: Path, generated: str):
    words = (sets["files"], sets[generated], "--limit", "16", "--extractor", "efficientnet-lite0")
    others = ("--batch-size", str(BATCH), "--json", "-", "--cache")
    alone = told(hqdata_score(*words, *others, tmp_path / "one"))
    together = told(hqdata_score(*words, *others, tmp_path / "other", *cluster, "--work", tmp_path / "work"))
    assert together == alone
    assert {figure["metric"] for figure in alone["figures"]} == {"fid", "kid", "is", "prdc", "swd", "ms_ssim"}
    assert open_folder(tmp_path / "work").files() == []


def test_what_one_process_had_cached_serves_a_cluster(sets: dict[str, Path], cluster, tmp_path: Path):
    words = (sets["files"], sets["generator"], "--limit", "20", *PATCHES[:4], "--json", "-", "--cache", tmp_path)
    first = hqdata_score(*words)
    report = told(hqdata_score(*words, *cluster, "--work", tmp_path / "work"))
    assert report["figures"] == told(first)["figures"]
    assert report["reference"]["from_cache"] == ["patches", "similarities"]


def test_parts_may_lie_in_an_object_store(sets: dict[str, Path], cluster):
    words = (sets["files"], sets["generator"], "--limit", "20", *PATCHES)
    assert told(hqdata_score(*words, *cluster, "--work", "s3://bucket/work")) == told(hqdata_score(*words))
    assert keys() == []


@pytest.mark.slow
def test_one_worker_gives_the_same_report(sets: dict[str, Path], tmp_path: Path):
    words = (sets["generator"], "--reference", sets["files"], "--limit", "20", *PATCHES)
    alone = told(hqdata_score(*words))
    assert told(hqdata_score("--local=1", "--part-pictures", "8", f"--work={tmp_path}", *words)) == alone


class Killing:
    """A report of progress that kills a worker when the first part is there."""

    def __init__(self, client: Client):
        self.pids = list(client.run(os.getpid).values())

    def __call__(self, part: str, done: int, total: int | None):
        if self.pids:
            os.kill(self.pids.pop(), signal.SIGKILL)
            self.pids.clear()


class Interrupting:
    """A report of progress that acts as a first Ctrl-C would when two parts are there."""

    def __init__(self):
        self.seen = []

    def __call__(self, part: str, done: int, total: int | None):
        self.seen.append(done)
        if len(self.seen) == 2:
            raise KeyboardInterrupt


@contextmanager
def passes_in(work: Path, cluster) -> Iterator[ClusterPasses]:
    choice = ClusterChoice(scheduler=cluster[1])
    with ClusterPasses(choice, open_folder(work), network=NETWORK, part_pictures=PART) as passes:
        yield passes


def measured(sets: dict[str, Path], passes: ClusterPasses | None = None, progress=None) -> Report:
    """Return the report on the patches of a set and itself, without its times."""
    path = str(sets["files"])
    source = path if passes is None else passes.open_stored(path, size=None, limit=None, seed=0)
    settings = {"metrics": ["swd"], "batch_size": BATCH, "cache": None, "device": "cpu"}
    report = evaluate(reference=source, generated=source, progress=progress, passes=passes, **settings)
    return replace(report, seconds={}, images_per_s=0.0)


def test_a_killed_worker_costs_its_part(sets: dict[str, Path], two_workers: Client, cluster, tmp_path: Path):
    with passes_in(tmp_path / "work", cluster) as passes:
        killing = Killing(two_workers)
        assert measured(sets, passes, killing) == measured(sets)
        assert killing.pids == []


@pytest.fixture
def interrupted(sets: dict[str, Path], cluster, tmp_path: Path) -> Folder:
    """The work folder of a command that was interrupted after two parts."""
    with pytest.raises(KeyboardInterrupt), passes_in(tmp_path / "work", cluster) as passes:
        measured(sets, passes, Interrupting())
    return open_folder(tmp_path / "work" / "parts")


def test_the_same_command_uses_the_parts_that_are_there(interrupted: Folder, sets: dict[str, Path], cluster):
    seen = []
    with passes_in(interrupted.path.parent, cluster) as passes:
        report = measured(sets, passes, lambda part, done, total: seen.append(done))
    assert report == measured(sets)
    assert seen[0] > 2 * BATCH + PART - BATCH  # more than one part and the first new one


def test_a_damaged_part_is_made_anew(interrupted: Folder, sets: dict[str, Path], cluster):
    part = interrupted.path / interrupted.files()[0].name
    part.write_bytes(part.read_bytes()[:-100])
    with passes_in(interrupted.path.parent, cluster) as passes:
        assert measured(sets, passes) == measured(sets)


def test_a_picture_that_cannot_be_read_is_named_as_in_one_process(sets: dict[str, Path], cluster, tmp_path: Path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sets["files"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (folder / "7.png").read_bytes()
    (folder / "7.png").write_bytes(whole[: len(whole) // 2])
    words = (sets["files"], folder, "--work", tmp_path / "work", *PATCHES)
    answer = hqdata_score(*words, *cluster)
    assert answer.exit_code == 2
    assert answer.stderr == hqdata_score(*words[:2], *PATCHES).stderr
    assert "7.png" in answer.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"path": "/nowhere/pictures"}, "no such file or folder"),
        ({"limit": 20}, "has 20 pictures there and 36 on the driver's"),
        ({}, "not those that the driver sees"),
    ],
    ids=["none", "fewer", "others"],
)
def test_a_worker_that_sees_other_pictures_stops_the_run(
    sets: dict[str, Path], two_workers: Client, tmp_path: Path, change: dict, sentence: str
):
    words = {"path": str(sets["files"]), "is_generator": False, "name": "files", "size": None, "limit": None, "seed": 0}
    job = PartJob(
        command=tmp_path.name,
        work=str(tmp_path),
        pictures=SetWords(**{**words, **change}),
        count=36,
        identities=(("similarities", '{"seed": 0}'),),
        network=NETWORK,
        batch_size=BATCH,
        device="cpu",
    )
    stretch = Stretch(start=0, stop=4, content="of other pictures", file="parts/0.npz")
    with pytest.raises(BuildStopped, match=sentence):
        two_workers.submit(gather_stretches, [stretch], job, pure=False).result()
    assert open_folder(tmp_path).files() == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--work", "x", "a", "b"], "give --local N"),
        (["stats", "a", "-o", "b.npz", "--local", "2"], "stats runs in this process alone"),
        (["a", "b", "--local", "2", "--scheduler", "tcp://127.0.0.1:1"], "both say where the work runs"),
        (["a", "b", "-m", "swd", "--local", "2"], "a: no such file or folder"),
    ],
    ids=["no cluster", "statistics", "two clusters", "no pictures"],
)
def test_wrong_use_starts_no_cluster(words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.score_generator.open_cluster", None)
    answer = hqdata_score(*words)
    assert answer.exit_code != 0
    assert sentence in f"{answer.stderr}{answer.exception}"


def test_the_help_names_the_options_of_a_cluster():
    assert "--scheduler-file" in hqdata_score("--help").stdout
