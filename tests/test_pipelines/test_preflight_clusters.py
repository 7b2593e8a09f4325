"""Whole clusters of real processes, one healthy worker among broken ones: each fault is named with its machine."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import scipy
from click.testing import CliRunner
from dask_processes import WITHOUT_OURS, scheduler, workers
from distributed import Client
from small_source import write_small_celeba

import metrics
from hqdata.weights import registry
from pipelines.ask_workers import ask_workers
from pipelines.build_dataset import build_dataset
from pipelines.cli import cli
from pipelines.cluster_report import ClusterReport, Room
from pipelines.clusters import ClusterChoice
from pipelines.config import RestoreConfig, UpscaleConfig, load_config
from pipelines.fitness import fitness_for
from pipelines.needs import Needs
from pipelines.preflight import examine, examine_devices, require_fit
from pipelines.stopping import BuildStopped

pytestmark = [pytest.mark.dask, pytest.mark.slow]

RESTORER = "weights/restorer.safetensors"
"""Relative, so that each machine finds its own."""


def needs(restorer: str = RESTORER) -> Needs:
    return Needs(
        provider="mtcnn",
        restore=RestoreConfig(weights=restorer),
        upscale=UpscaleConfig(),
        size=64,
        mode="accurate",
        device="cpu",
    )


def give_restorer(machine: Path, name: str = "dejpeg-small") -> None:
    target = machine / RESTORER
    target.parent.mkdir(parents=True)
    shutil.copy(registry.FOLDER / f"{name}.safetensors", target)


def first_on_the_path(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def stranger(folder: Path, package: str, code: str = "") -> dict[str, str]:
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code)
    return first_on_the_path(folder)


def other_scipy(folder: Path) -> dict[str, str]:
    """The installed one, but for its version."""
    package = folder / "scipy"
    package.mkdir(parents=True)
    for path in Path(scipy.__file__).parent.iterdir():
        if path.name not in ("version.py", "__pycache__"):
            (package / path.name).symlink_to(path)
    (package / "version.py").write_text('version = full_version = "0.0.1"\ngit_revision = ""\nrelease = True\n')
    return first_on_the_path(folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    """A client of a scheduler with one healthy worker and one of each broken kind, in a folder that is a machine."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "no-folder").touch()
    home = {"HOME": str(folder / "driver")}
    environments = {
        "healthy": {},
        "old-library": other_scipy(folder / "old"),
        "wrong-weights": stranger(folder / "emptied", "mtcnn"),
        "no-scratch": {"HQDATA_SCRATCH": str(folder / "no-folder"), "HOME": str(folder / "no-scratch")},
        "stranger": stranger(folder / "strangers", "metrics"),
    }
    for name in environments:
        give_restorer(folder / name, "sr4-small" if name == "wrong-weights" else "dejpeg-small")
    give_restorer(folder / "driver")
    with (
        pytest.MonkeyPatch.context() as patch,
        scheduler(folder / "scheduler", stranger(folder / "no-torch", "torch", "raise ImportError")) as address,
        workers(address, folder, {name: home | added for name, added in environments.items()}),
        Client(address) as client,
    ):
        patch.chdir(folder / "driver")
        patch.setenv("HOME", home["HOME"])
        client.wait_for_workers(len(environments), timeout=60)
        yield client, folder


@dataclass(frozen=True)
class Examined:
    report: ClusterReport
    names: dict[str, str]
    """Addresses of the workers by what they are."""
    folder: Path

    def faults_of(self, name: str) -> list[str]:
        return [fault for fault in self.report.faults if self.names[name] in fault]


@pytest.fixture(scope="module")
def examined(cluster: tuple[Client, Path]) -> Examined:
    client, folder = cluster
    names = {facts["name"]: address for address, facts in client.scheduler_info(n_workers=-1)["workers"].items()}
    return Examined(examine(client, fitness_for(needs()), Room(run="~/run")), names, folder)


def test_a_healthy_worker_has_no_fault(examined: Examined):
    assert examined.faults_of("healthy") == []


def test_another_version_of_a_library_is_named(examined: Examined):
    (fault,) = examined.faults_of("old-library")
    assert f"scipy is 0.0.1, the driver has {scipy.__version__}" in fault


def test_missing_and_other_weights_are_named_with_their_file(examined: Examined):
    detector, restorer = sorted(examined.faults_of("wrong-weights"))
    assert "mtcnn/assets/weights/pnet.lz4: no such weights file; reinstall with `pip install" in detector
    assert f"{RESTORER}: holds a 'upscale-generator', but symmetric-autoencoder, red-net is needed" in restorer


def test_scratch_that_cannot_be_written_to_is_named(examined: Examined):
    assert any(
        "scratch cannot be written to" in fault and str(examined.folder / "no-folder") in fault
        for fault in examined.faults_of("no-scratch")
    )


def test_a_run_folder_that_only_looks_shared_is_named(examined: Examined):
    assert any("another one than the driver's" in fault for fault in examined.faults_of("no-scratch"))


def test_a_strangers_package_is_named_with_its_file_and_ours(examined: Examined):
    (fault,) = examined.faults_of("stranger")
    ours = Path(metrics.__file__)
    assert f"metrics is a stranger's, {examined.folder / 'strangers' / 'metrics' / '__init__.py'}" in fault
    assert f"hides ours in {ours.parents[1]}" in fault


def test_a_fault_stops_a_build_and_says_on_which_machine(examined: Examined):
    with pytest.raises(BuildStopped, match=rf"nothing was computed(.|\n)*{examined.names['old-library']}"):
        examined.report.stop_if_unfit()


def test_a_worker_without_nanny_is_a_warning(examined: Examined):
    assert any("no nanny" in warning for warning in examined.report.warnings)


def test_an_examination_leaves_nothing_behind(examined: Examined):
    assert [path.name for path in (examined.folder / "driver").iterdir()] == ["weights"]
    assert [path.name for path in (examined.folder / "no-scratch").glob("run")] == []


def test_a_healthy_worker_may_come_late_and_a_broken_one_may_not(cluster, examined: Examined):
    client, _ = cluster
    answers = ask_workers(client, require_fit, examined.report.expected)
    assert set(answers.given) == {examined.names["healthy"], examined.names["no-scratch"]}
    assert f"worker {examined.names['stranger']} on" in answers.failed[examined.names["stranger"]]


def test_a_build_on_them_stops_before_any_photo_and_names_them(cluster, examined: Examined, tmp_path: Path):
    client, _ = cluster
    write_small_celeba(tmp_path / "photos", num_photos=1)
    settings = [f'source.root="{tmp_path / "photos"}"', "align.size=64", f"restore.weights={RESTORER}"]
    choice = ClusterChoice(scheduler=client.scheduler.address)
    with pytest.raises(BuildStopped, match=rf"{examined.names['old-library']} on .*: scipy is 0.0.1, the driver has"):
        build_dataset(load_config(assignments=settings), tmp_path / "run", choice)
    assert not (tmp_path / "run" / "run.json").exists()


def test_the_command_names_what_is_wrong_and_fails(cluster, examined: Examined):
    client, _ = cluster
    words = ["doctor", "--scheduler", client.scheduler.address, "--restore-weights", RESTORER]
    answer = CliRunner().invoke(cli, words)
    assert answer.exit_code == 1
    wrong = [line for line in answer.stdout.splitlines() if line.startswith("wrong ")]
    assert len(wrong) == 5
    assert answer.stdout.splitlines()[-1].startswith("unfit: 5 things to mend")


def test_the_scheduler_needs_no_torch(examined: Examined):
    assert examined.report.scheduler.faults == ()


def test_a_worker_without_the_package_is_named_with_what_it_lacks(tmp_path: Path):
    with (
        scheduler(tmp_path) as address,
        workers(address, tmp_path, {"bare": WITHOUT_OURS}),
        Client(address) as client,
    ):
        client.wait_for_workers(1, timeout=60)
        with pytest.raises(BuildStopped, match=r"worker tcp\S+: it cannot run our code: .*there is no pipelines"):
            examine_devices(client)


def test_a_scheduler_without_the_package_is_named_before_any_worker_is_asked(tmp_path: Path):
    with scheduler(tmp_path, WITHOUT_OURS) as address, Client(address) as client:
        with pytest.raises(BuildStopped, match=rf"the scheduler {address} on .* cannot import pipelines"):
            examine_devices(client)
        (fault,) = examine(client, fitness_for(needs("dejpeg-small"))).faults
    assert "No module named 'pipelines'" in fault
    assert "install progan-hq where it runs" in fault
