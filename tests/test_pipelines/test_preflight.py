"""What a cluster's report makes of its machines' reports; whole clusters: test_preflight_clusters.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from hqdata.settings import ConfigError
from pipelines.ask_workers import Answers
from pipelines.canary import Canary
from pipelines.cluster_report import ClusterReport, Room, report_on
from pipelines.config import RestoreConfig, UpscaleConfig
from pipelines.device_report import DeviceReport
from pipelines.fitness import Fitness, fitness_for
from pipelines.hardware import Hardware
from pipelines.machine_report import MachineReport, examine_driver
from pipelines.needs import Needs
from pipelines.scheduler_report import SchedulerReport
from pipelines.scratch import ScratchFolder
from pipelines.stopping import BuildStopped

NEEDS = Needs(
    provider="annotations",
    restore=RestoreConfig(when="never"),
    upscale=UpscaleConfig(when="never"),
    size=32,
    mode="accurate",
    device="cpu",
)
SCHEDULER = SchedulerReport(address="tcp://s:1", host="s")
SAME = Canary(pixels="a", png="b", score=1.0)
OTHER = replace(SAME, pixels="c")
GPU = Hardware(cpu="x", gpus=("H200",))
CPU = Hardware(cpu="x")


@pytest.fixture(scope="module")
def expected() -> Fitness:
    return fitness_for(NEEDS)


@pytest.fixture(scope="module")
def driver(expected: Fitness) -> MachineReport:
    return replace(examine_driver(expected, ()), host="d", group="driver's", scratch=())


@pytest.fixture
def report(expected: Fitness, driver: MachineReport):
    """Of workers that differ from the driver in what is given for each, by name."""

    def of(room: Room | None = None, /, **workers: dict) -> ClusterReport:
        machines = {name: replace(driver, address=name, host="h", **facts) for name, facts in workers.items()}
        return report_on(expected, driver, SCHEDULER, Answers(given=machines), room=room)

    return of


def test_machines_of_one_hardware_that_disagree_stop_the_build_naming_the_odd_one(report):
    found = report(
        a={"canary": SAME, "group": "g"}, b={"canary": OTHER, "group": "g"}, c={"canary": SAME, "group": "g"}
    )
    with pytest.raises(BuildStopped, match="worker b on h: the test picture gives other pixels there"):
        found.stop_if_unfit()
    assert len(found.faults) == 1


def test_the_driver_is_right_where_it_has_the_same_hardware(expected: Fitness, driver: MachineReport):
    workers = {name: replace(driver, address=name, canary=OTHER) for name in "abc"}
    found = report_on(expected, replace(driver, canary=SAME), SCHEDULER, Answers(given=workers))
    assert found.faults == (
        "worker a on d, worker b on d, worker c on d: the test picture gives other pixels there than on other machines"
        " with driver's",
    )


def test_other_hardware_with_other_pixels_is_a_warning_not_a_fault(report):
    found = report(a={"canary": SAME, "group": "g"}, b={"canary": OTHER, "group": "h"})
    assert found.faults == ()
    (warning,) = found.warnings
    assert "different hardware (g: a; h: b)" in warning
    assert "other hardware may change bits" in warning
    assert found.hardware == {"g": ["a"], "h": ["b"]}


def test_a_worker_that_comes_later_is_held_to_the_pixels_of_its_hardware(report):
    found = report(a={"canary": SAME, "group": "g"}, b={"canary": OTHER, "group": "h"})
    assert dict(found.expected.canaries) == {"g": SAME, "h": OTHER}


def test_one_fault_of_many_machines_is_one_line(report):
    found = report(**{name: {"faults": ("no paper",)} for name in "abcdef"})
    assert found.faults == ("worker a on h, worker b on h, worker c on h, worker d on h and 2 more: no paper",)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (Answers(), "there are no workers"),
        (Answers(silent={"tcp://a": "left before it answered"}), "no worker answers"),
        (Answers(failed={"tcp://a": "it cannot run our code"}), "worker tcp://a: it cannot run our code"),
    ],
)
def test_no_usable_worker_is_a_fault(expected: Fitness, driver: MachineReport, answers: Answers, words: str):
    (fault,) = report_on(expected, driver, SCHEDULER, answers).faults
    assert words in fault


def test_a_worker_that_leaves_is_a_warning_while_others_stay(expected: Fitness, driver: MachineReport):
    answers = Answers(given={"a": replace(driver, address="a")}, silent={"b": "left before it answered"})
    found = report_on(expected, driver, SCHEDULER, answers)
    assert (found.faults, found.warnings) == ((), ("worker b: left before it answered",))


def test_another_dask_is_a_warning(report, driver: MachineReport):
    assert report(a={"distributed": "1"}).warnings == (
        f"worker a on h: distributed is 1, the driver has {driver.distributed}",
    )


def test_too_little_scratch_for_all_threads_is_a_warning(report):
    folder = ScratchFolder(path="/x", file_system="xfs", free_bytes=3 * 10**9)
    found = report(Room(scratch_bytes=2 * 10**9), a={"scratch": (folder,)}, b={"scratch": (folder,), "threads": 2})
    assert found.warnings == ("worker b on h: scratch /x has 3.0 GB free and wants 4.0 GB",)


def test_too_little_room_for_the_run_is_a_warning(report, tmp_path: Path):
    (warning,) = report(Room(run=str(tmp_path / "run"), run_bytes=10**18), a={}).warnings
    assert "this build wants about 1000000000.0 GB" in warning


@pytest.mark.parametrize(
    ("hardware", "wanted", "device"),
    [
        ([CPU, CPU], "auto", "cpu"),
        ([GPU, GPU], "auto", "cuda"),
        ([GPU, GPU], "cpu", "cpu"),
        ([GPU, GPU], "cuda", "cuda"),
        ([GPU, CPU], "cpu", "cpu"),
    ],
)
def test_all_workers_compute_on_one_kind_of_device(hardware: list[Hardware], wanted: str, device: str):
    assert DeviceReport(hardware=dict(zip("ab", hardware, strict=True))).choose(wanted) == device


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("other", "word"),
    [(CPU, "b: x"), (replace(GPU, gpu_fault="no kernel image"), "b: H200, which fails: no kernel image")],
)
def test_a_pool_of_which_some_have_no_usable_gpu_is_refused_naming_them(wanted: str, other: Hardware, word: str):
    with pytest.raises(ConfigError, match=f"{word}.*--device cpu"):
        DeviceReport(hardware={"a": GPU, "b": other}).choose(wanted)


def test_hardware_is_grouped_by_what_decides_pixels():
    assert GPU.group("cuda") == "H200 with x"
    assert GPU.group("cpu") == CPU.group("cuda") == "x"
