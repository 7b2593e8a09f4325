"""What makes a machine unfit, and how it is said."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import fitness
from pipelines.canary import canary_of
from pipelines.config import RestoreConfig, UpscaleConfig
from pipelines.fitness import Fitness, UnfitWorker, fitness_for, require_fit, shortcomings
from pipelines.hardware import Hardware, hardware_here
from pipelines.needs import Needs

NEEDS = Needs(
    provider="mtcnn", restore=RestoreConfig(), upscale=UpscaleConfig(), size=64, mode="accurate", device="cpu"
)


@pytest.fixture(scope="module")
def here() -> Fitness:
    return fitness_for(NEEDS)


def with_version(here: Fitness, name: str, version: str) -> Fitness:
    return replace(here, versions=tuple((key, version if key == name else old) for key, old in here.versions))


def test_a_machine_is_fit_for_itself(here: Fitness):
    require_fit(here)


@pytest.mark.parametrize("name", ["python", "torch", "numpy", "cv2", "PIL", "pyarrow", "libjpeg_turbo"])
def test_whatever_decides_bytes_is_compared(here: Fitness, name: str):
    (fault,) = shortcomings(with_version(here, name, "0.1"))
    assert fault == f"{name} is {dict(here.versions)[name]}, the driver has 0.1; install the driver's version"


def test_code_edited_during_a_run_is_noticed(here: Fitness):
    (fault,) = shortcomings(replace(here, rooms=(("hqdata", "0" * 64),)))
    assert "has other files than when the driver began" in fault


def test_code_installed_elsewhere_is_compared_by_its_content(here: Fitness):
    paths = tuple((room, f"/elsewhere/{room}/__init__.py") for room, _ in here.paths)
    assert shortcomings(replace(here, paths=paths)) == ()
    (fault,) = shortcomings(replace(here, paths=paths, rooms=(("pipelines", "0" * 64),)))
    assert "is other code than the driver's /elsewhere/pipelines/__init__.py" in fault


@pytest.mark.parametrize("files", ["metrics/__init__.py", "metrics.py"])
def test_a_strangers_package_or_module_is_found(
    here: Fitness, files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / files).parent.mkdir(exist_ok=True)
    (tmp_path / files).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "metrics", raising=False)
    (fault,) = shortcomings.__wrapped__(here)
    assert f"metrics is a stranger's, {tmp_path}" in fault


def test_other_weights_are_told_from_missing_ones(here: Fitness):
    other, missing = shortcomings(
        replace(
            here,
            weights=(("restore", "dejpeg-small", "0" * 64), ("upscale", "nowhere.safetensors", "0" * 64)),
        )
    )
    assert "the driver has 000000000000; copy the driver's file there" in other
    assert "nowhere.safetensors" in missing


def test_weights_that_nobody_has_are_a_fault_even_where_the_driver_lacks_them_too():
    unusable = fitness_for(replace(NEEDS, restore=RestoreConfig(weights="nowhere.safetensors")))
    (fault,) = shortcomings(unusable)
    assert "nowhere.safetensors" in fault


def test_networks_that_never_run_need_no_weights():
    never = replace(NEEDS, provider="annotations", restore=RestoreConfig(when="never", weights="nowhere.safetensors"))
    assert [purpose for purpose, _, _ in fitness_for(never).weights] == ["upscale"]


def test_a_machine_without_gpu_is_unfit_for_a_build_on_gpus(here: Fitness, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fitness, "hardware_here", lambda: Hardware(cpu="a", gpus=("H200",), gpu_fault="lost"))
    (fault,) = shortcomings(replace(here, needs=replace(NEEDS, device="cuda")))
    assert "computes on GPUs" in fault
    assert "lost" in fault


def test_other_pixels_than_equal_hardware_gives_are_a_fault(here: Fitness):
    canary = canary_of(NEEDS)
    group = hardware_here().group("cpu")
    require_fit(replace(here, canaries=((group, canary),)))
    (fault,) = shortcomings(replace(here, canaries=((group, replace(canary, png="0" * 64)),)))
    assert f"other pixels here than on the other machines with {group}" in fault


def test_other_hardware_is_not_held_to_these_pixels(here: Fitness):
    require_fit(replace(here, canaries=(("a machine of another kind", canary_of(replace(NEEDS, size=32))),)))


def test_an_unfit_worker_is_still_named_after_its_way_through_pickle(here: Fitness):
    with pytest.raises(UnfitWorker, match=r"the driver on \S+ cannot compute for this build: .*torch is") as caught:
        require_fit(with_version(here, "torch", "0.1"))
    error = pickle.loads(pickle.dumps(UnfitWorker(str(caught.value), "tcp://10.0.0.1:1")))
    assert (str(error), error.worker) == (str(caught.value), "tcp://10.0.0.1:1")


def test_other_hardware_that_comes_later_is_told_of_with_its_pixels(here: Fitness):
    canary = canary_of(NEEDS)
    alike = require_fit(replace(here, canaries=(("another kind", canary),)))
    other = require_fit(replace(here, canaries=(("another kind", replace(canary, pixels="0" * 64)),)))
    assert alike is not None
    assert other is not None
    assert (alike.group, alike.pixels, alike.is_alike) == (hardware_here().group("cpu"), canary.pixels, True)
    assert "the test picture differs" in str(other)


def test_hardware_that_was_there_from_the_beginning_is_no_news(here: Fitness):
    assert require_fit(here) is None
    assert require_fit(replace(here, canaries=((hardware_here().group("cpu"), canary_of(NEEDS)),))) is None


def test_other_hardware_on_which_the_test_picture_fails_is_unfit(here: Fitness, monkeypatch: pytest.MonkeyPatch):
    def fail(needs: Needs) -> None:
        raise RuntimeError("no kernel image")

    expected = replace(here, canaries=(("a third kind", canary_of(NEEDS)),))
    monkeypatch.setattr(fitness, "canary_of", fail)
    with pytest.raises(UnfitWorker, match="the test picture fails: RuntimeError: no kernel image"):
        require_fit(expected)
