"""A training from the command line: its settings, its pictures, its processes, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gan.config import PRESETS, GanConfig, LossConfig, TrainingConfig, gan_config_from_dict
from gan.looks import usual_looks
from gan.open_pictures import open_pictures
from gan.pictures import Pictures
from gan.processes import Processes, join_processes
from gan.schedule import Schedule
from gan.tensorboard_mirror import FOLDER, TensorBoardMirror, has_tensorboard
from gan.trainer import check_pictures
from gan.training_run import Look, run_training
from gan.zoo.shape import Shape
from hqdata.atomic import write_json
from hqdata.settings import ConfigError, load_settings, settings_from_dict
from hqdata.training.identity import RUN_FILE
from hqdata.training.machine import DeviceChoice, Machine, choose_machine

__all__ = [
    "FITTED",
    "DataConfig",
    "TrainSettings",
    "load_train_settings",
    "noted_settings",
    "open_fitting",
    "train_generator",
]

FITTED = ("resolution", "channels")
"""Sizes of the networks that can follow the pictures'."""
DATA_FILE = "data.json"
"""Where a training's pictures lie, in its folder; what they are is in its identity."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The pictures to train on."""

    source: str = ""
    """A run of `hqdata build`, a folder or Parquet of pictures, or a .npy or .npz file; see `gan.open_pictures`."""
    labels: str = ""
    """Column of labels; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """What `hqdata train` can be told: the pictures, and the sections of `gan.config.GanConfig`."""

    data: DataConfig = field(default_factory=DataConfig)
    networks: Shape = field(default_factory=Shape)
    schedule: Schedule = field(default_factory=Schedule)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @property
    def gan(self) -> GanConfig:
        """The training's own part.

        Raises:
            ConfigError: when the sections contradict each other.
        """
        return GanConfig(networks=self.networks, schedule=self.schedule, loss=self.loss, training=self.training)

    def fitted_to(self, pictures: Pictures, names: Iterable[str]) -> TrainSettings:
        """Return these settings with some of `FITTED` as the pictures have them, and labels where none were set.

        Raises:
            ConfigError: when the architecture has no networks of such sizes.
        """
        own = {"resolution": 1 << pictures.last_level, "channels": pictures.channels}
        own = {name: own[name] for name in names}
        if pictures.labels is not None and not self.networks.labels:
            own["labels"] = pictures.labels.shape[1]
        try:
            networks = dataclasses.replace(self.networks, **own)
        except ValueError as error:
            raise ConfigError(f"[networks], as the pictures want them: {error}") from error
        return dataclasses.replace(self, networks=networks)

    def with_source(self, source: Path) -> TrainSettings:
        """Return these settings with pictures from somewhere else."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, source=str(source)))


def load_train_settings(
    files: Iterable[Path | str],
    assignments: Iterable[str],
    *,
    source: Path | str | None = None,
    labels: str | None = None,
) -> TrainSettings:
    """Merge defaults, presets or TOML files, assignments and the command line's own; the last wins.

    Raises:
        ConfigError: for an unknown key (naming the nearest), a wrong type, a value out of range or a broken file.
    """
    return load_settings(
        TrainSettings,
        files=files,
        assignments=assignments,
        sections={"data": {"source": None if source is None else str(source), "labels": labels}},
        shipped=PRESETS,
    )


def noted_settings(run: Path) -> TrainSettings:
    """Return the settings that the training in a folder was begun with.

    Raises:
        ConfigError: when there is no training in it.
    """
    try:
        identity = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))["identity"]
        data = json.loads((run / DATA_FILE).read_text(encoding="utf-8"))
        config = gan_config_from_dict(identity["config"])
        noted = settings_from_dict(TrainSettings, {"data": data})
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{run}: holds no training to resume ({error}); begin one without --resume") from error
    sections = {part.name: getattr(config, part.name) for part in dataclasses.fields(config)}
    return dataclasses.replace(noted, **sections)


def train_generator(
    settings: TrainSettings,
    run: Path,
    *,
    device: DeviceChoice,
    threads: int | None = None,
    fitted: Iterable[str] = (),
    measures: bool = True,
) -> bool:
    """Train, or go on, until the schedule ends or a signal comes; return whether it has ended.

    Args:
        settings: of the training.
        run: its folder.
        device: where to compute.
        threads: of the processor for each process; torch's choice by default.
        fitted: which of `FITTED` the networks take from the pictures, instead of refusing others.
        measures: log distances to the real pictures at every tick; see `gan.looks.usual_looks`.

    Raises:
        ConfigError: when the pictures cannot be opened, or do not fit the networks.
        Diverged: as `run_training`.
    """
    if threads:
        torch.set_num_threads(threads)
    _ = settings.gan  # refuses contradictions before pictures are decoded
    machine = choose_machine(device, settings.training.precision)
    settings, pictures = open_fitting(settings, fitted)
    config = settings.gan
    with _joined(machine.device) as processes:
        check_pictures(config, pictures)
        config.check_minibatches(processes.world)
        _tell(config, pictures, machine, processes)
        if processes.leads and not (run / RUN_FILE).exists():
            _note_data(run, settings.data)
        with _mirrored(run, processes) as mirrors:
            looks = usual_looks(machine) if measures else ()
            return run_training(config, pictures, run, machine=machine, processes=processes, looks=(*looks, *mirrors))


def open_fitting(settings: TrainSettings, fitted: Iterable[str]) -> tuple[TrainSettings, Pictures]:
    """Return the settings with networks for the pictures, and the pictures.

    Args:
        settings: whose `data` says where the pictures are.
        fitted: as for `train_generator`.

    Raises:
        ConfigError: when the pictures cannot be opened, or do not have the size and channels that were set.
    """
    data, networks, fitted = settings.data, settings.networks, tuple(fitted)
    if not data.source:
        raise ConfigError(
            "no pictures were given; name a run, a folder, a Parquet or an array file, or set data.source"
        )
    try:
        pictures = open_pictures(
            data.source,
            resolution=None if "resolution" in fitted else networks.resolution,
            channels=None if "channels" in fitted else networks.channels,
            label_column=data.labels or None,
            base=networks.base,
        )
    except (TypeError, ValueError, FileNotFoundError) as error:
        raise ConfigError(str(error)) from error
    return settings.fitted_to(pictures, fitted), pictures


@contextmanager
def _joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, and part from them at the end; only the leading one speaks."""
    processes = join_processes(device)
    if not processes.leads:
        logging.getLogger("gan").setLevel(logging.WARNING)
    try:
        yield processes
    finally:
        if processes.world > 1:
            torch.distributed.destroy_process_group()


@contextmanager
def _mirrored(run: Path, processes: Processes) -> Iterator[tuple[Look, ...]]:
    """Yield what shows the log elsewhere, and close it at the end."""
    if not processes.leads or not has_tensorboard():
        yield ()
        return
    mirror = TensorBoardMirror(run)
    try:
        yield (mirror,)
    finally:
        mirror.close()


def _tell(config: GanConfig, pictures: Pictures, machine: Machine, processes: Processes) -> None:
    if not processes.leads:
        return
    shape = config.networks
    labels = f", {shape.labels} labels" if shape.labels else ""
    several = f" x {processes.world} processes" if processes.world > 1 else ""
    _LOGGER.info(
        "%d pictures of %d px%s; %s networks of %d px on %s%s in %s",
        len(pictures),
        1 << pictures.last_level,
        labels,
        shape.architecture,
        shape.resolution,
        machine.device,
        several,
        machine.precision,
    )
    _warn_of_an_early_end(config)
    if has_tensorboard():
        _LOGGER.info("TensorBoard shows it as well: its files are in %s/", FOLDER)
    else:
        _LOGGER.info("tensorboard is not installed; figures are in runlog.jsonl alone")


def _warn_of_an_early_end(config: GanConfig) -> None:
    last, schedule = config.networks.last_level, config.course
    end = config.phase(schedule.total_images - 1)
    if end.level == last and end.fade == 1:
        return
    growths = last - (schedule.first_resolution.bit_length() - 1)
    _LOGGER.warning(
        "the schedule ends after %d images at %d px%s; %d px are whole after %d, so set schedule.total_images,"
        " stable_images and fade_images",
        schedule.total_images,
        end.resolution,
        f", fade {end.fade:.2f}" if end.fade < 1 else "",
        1 << last,
        growths * (schedule.stable_images + schedule.fade_images),
    )


def _note_data(run: Path, data: DataConfig) -> None:
    noted: Mapping[str, str] = dataclasses.asdict(data)
    if data.source:
        noted = {**noted, "source": str(Path(data.source).resolve())}
    write_json(run / DATA_FILE, noted)
