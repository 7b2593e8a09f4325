"""`hqdata doctor` on a healthy set-up; broken ones: test_preflight_clusters.py."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines import doctor
from pipelines.cli import cli
from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.config import load_config
from pipelines.device_report import DeviceReport
from pipelines.doctor import diagnose
from pipelines.hardware import Hardware
from pipelines.run_folder import RUN_FORMAT, RUN_VERSION

pytestmark = pytest.mark.dask

SETTINGS = ["align.size=32", "restore.when=never", "upscale.weights=sr4-small"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a build with annotations has begun."""
    folder = tmp_path_factory.mktemp("run")
    description = {
        "format": RUN_FORMAT,
        "version": RUN_VERSION,
        "config": load_config(assignments=SETTINGS).to_dict(),
        "resolved": {"landmarks": "annotations", "device": "cpu"},
    }
    (folder / "run.json").write_text(json.dumps(description))
    return folder


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory):
    with open_cluster(ClusterChoice(local="1"), scratch=tmp_path_factory.mktemp("dask")) as client:
        yield client.scheduler.address


@pytest.fixture(scope="module")
def answer(scheduler: str, run: Path):
    return CliRunner().invoke(cli, ["doctor", "--scheduler", scheduler, "--run", str(run), "--json"])


def test_a_healthy_set_up_is_fit(answer):
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert (found["fit"], found["faults"], len(found["workers"])) == (True, [], 1)


def test_the_settings_of_the_run_are_tried(answer):
    needs = json.loads(answer.stdout)["expected"]["needs"]
    assert (needs["size"], needs["restore"]["when"], needs["provider"]) == (32, "never", "annotations")


def test_driver_and_worker_make_the_same_pixels(answer):
    found = json.loads(answer.stdout)
    assert found["workers"][0]["canary"] == found["driver"]["canary"]
    assert found["driver"]["canary"]["pixels"]


def test_the_run_folder_is_tried_and_left_as_it_was(answer, run: Path):
    assert json.loads(answer.stdout)["workers"][0]["wrote"]
    assert [path.name for path in run.iterdir()] == ["run.json"]


def test_a_run_folder_that_nobody_can_write_to_is_named_beside_a_mixed_pool(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    pool = DeviceReport(hardware={"tcp://a": Hardware(cpu="x", gpus=("H200",)), "tcp://b": Hardware(cpu="x")})
    monkeypatch.setattr(doctor, "examine_devices", lambda client: pool)
    choice, folder = ClusterChoice(scheduler=scheduler), tmp_path / "file" / "run"
    found = diagnose(load_config(assignments=SETTINGS), choice, str(folder))
    mixed, unwritable = found.faults
    assert "some have none (tcp://b: x)" in mixed
    assert f"the driver cannot write to the run folder {folder}" in unwritable
    assert [line for line in found.lines() if line.startswith("wrong ")] == [f"wrong       {f}" for f in found.faults]
    assert list(found.lines())[-1] == "unfit: 2 things to mend, see above"


@pytest.mark.parametrize(
    ("settled", "pool", "fault"),
    [
        ("cpu", {"tcp://a": Hardware(cpu="x", gpus=("H200",)), "tcp://b": Hardware(cpu="x")}, ""),
        ("cuda", {"tcp://b": Hardware(cpu="x")}, "torch can use no GPU on tcp://b: x"),
    ],
)
def test_a_begun_run_keeps_its_device(settled: str, pool: dict, fault: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "examine_devices", lambda client: DeviceReport(hardware=pool))
    _, found = doctor._device(None, load_config(), {"resolved": {"device": settled}})
    assert fault in found
    assert bool(found) == bool(fault)
