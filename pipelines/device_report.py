"""What the workers could compute on: asked first, since the device is part of a build's identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distributed import Client

from hqdata.settings import ConfigError
from pipelines.ask_workers import Answers, ask_workers
from pipelines.hardware import Hardware, hardware_here
from pipelines.naming import by_fault, some
from pipelines.scheduler_report import examine_scheduler
from pipelines.stopping import BuildStopped

__all__ = ["DeviceReport", "examine_devices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """What each worker could compute on."""

    hardware: dict[str, Hardware]
    """By the worker's address."""

    def choose(self, wanted: Literal["auto", "cpu", "cuda"] = "auto") -> Literal["cpu", "cuda"]:
        """Return the device that all workers have: with "auto" a GPU where each has one, the processor where none has.

        Raises:
            ConfigError: if some have a GPU and some have none, and "cpu" was not asked for; naming them.
        """
        lacking = [address for address, hardware in self.hardware.items() if not hardware.has_gpu]
        if wanted == "cpu" or (wanted == "auto" and len(lacking) == len(self.hardware)):
            return "cpu"
        if not lacking:
            return "cuda"
        if wanted == "cuda":
            raise ConfigError(
                f"--device cuda, but torch can use no GPU on {self._described(lacking)}; give --device cpu, or only"
                " workers that have one"
            )
        having = [address for address, hardware in self.hardware.items() if hardware.has_gpu]
        raise ConfigError(
            f"some workers have a GPU ({self._described(having)}) and some have none ({self._described(lacking)}), and"
            " the two give other pixels; give --device cpu, or --device cuda and only workers that have one"
        )

    def _described(self, addresses: list[str]) -> str:
        return some(f"{address}: {self.hardware[address].described}" for address in addresses)


def examine_devices(client: Client) -> DeviceReport:
    """Return what each worker could compute on.

    Raises:
        BuildStopped: if the scheduler or a worker cannot run our code, naming it, or no worker answers.
    """
    scheduler = examine_scheduler(client)
    faults = [f"{scheduler.name}: {fault}" for fault in scheduler.faults]
    answers: Answers[Hardware] = Answers() if faults else ask_workers(client, hardware_here)
    faults += by_fault((f"worker {address}", fault) for address, fault in answers.failed.items())
    if not faults and not answers.given:
        faults = [f"no worker answers ({some(answers.silent)})" if answers.silent else "there are no workers"]
    if faults:
        raise BuildStopped(f"{'; '.join(faults)}; run the same command again when that is mended")
    return DeviceReport(hardware=answers.given)
