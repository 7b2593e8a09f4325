"""What a training will take, before any of it is spent: sizes, schedule, arithmetic, memory and time of every level.

Costs are counted on the config's own networks (`gan.costs`), times are floors: no training on the named device is
faster than its arithmetic and its memory allow. How near one comes is for a benchmark to say.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from gan.config import GanConfig
from gan.costs import Costs, StepCosts, count_costs, step_costs
from gan.devices import GIB, Device
from gan.schedule import Phase
from gan.zoo.registry import build_discriminator, build_generator
from gan.zoo.shape import Shape

__all__ = ["LevelPlan", "Plan", "plan", "plan_lines"]

ADAM_BYTES = 28
"""Moved for each parameter by a fused Adam step: weight and both moments in and out, the gradient in, float32."""
AVERAGE_BYTES = 12
"""Moved for each of the generator's parameters by its average."""
STATE_BYTES = 16
"""Held for each parameter: weight, gradient and both moments; the average holds 4 more for the generator's."""
SECONDS = ("compute", "traffic", "convolution_traffic", "update", "floor", "eager")
"""The last columns: fields of a level's plan without their _s."""
COUNTS = ("level", "from", "shown", "fading", "batch", "rate", "parameters", "forward", "training", "memory")
COUNT_UNITS = ("px", "kimg", "kimg", "kimg", "", "", "G + D, M", "GFLOP", "GFLOP/img", "GiB")
HEADS = (
    (*COUNTS, *(name.replace("olution_traffic", "s") for name in SECONDS)),
    (*COUNT_UNITS, *["s/kimg"] * len(SECONDS)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelPlan:
    """One level of a training on one device; seconds are for 1,000 real pictures shown, over all processes."""

    resolution: int
    begins_images: int
    """Real pictures shown before this level begins to fade in, or the training begins."""
    images: int
    """Shown at this level, the fade included."""
    fade_images: int
    minibatch: int
    """Over all processes."""
    rate: float
    """At its end."""
    generator_parameters: int
    discriminator_parameters: int
    """Of networks that end at this level."""
    forward_flops: float
    """For each picture through the generator once."""
    flops: float
    """For each real picture shown, both networks' steps."""
    memory_bytes: float
    """Networks, optimisers and the larger step, in each process; without the libraries' own work space."""
    compute_s: float
    """By arithmetic."""
    traffic_s: float
    """By the memory traffic of all operations, each for itself."""
    convolution_traffic_s: float
    """By the convolutions' traffic, with everything else fused into them."""
    update_s: float
    """By the traffic of Adam and the average, once a step."""
    launch_s: float
    """By starting operations one by one."""

    @property
    def floor_s(self) -> float:
        """Below which no execution gets."""
        return max(self.compute_s, self.convolution_traffic_s) + self.update_s

    @property
    def eager_s(self) -> float:
        """Below which eager execution does not get."""
        return max(self.compute_s, self.traffic_s, self.launch_s) + self.update_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All levels of a training on one kind of device."""

    device: Device
    processes: int
    levels: tuple[LevelPlan, ...]

    def hours(self, seconds: Callable[[LevelPlan], float]) -> float:
        """Return the sum over all levels of something given in seconds for 1,000 pictures, in hours."""
        return math.fsum(level.images / 1000 * seconds(level) for level in self.levels) / 3600

    @property
    def crowded(self) -> tuple[LevelPlan, ...]:
        """The levels whose steps do not fit the device's memory in one piece; a trainer splits them."""
        return tuple(level for level in self.levels if level.memory_bytes > self.device.memory_bytes)


def plan(config: GanConfig, device: Device, *, processes: int = 1) -> Plan:
    """Return what each level of a training takes; this itself takes about a second a level.

    Args:
        config: of the training.
        device: of which each process has one; see `gan.devices.find_device`.
        processes: that train together.

    Raises:
        ConfigError: when a minibatch cannot be dealt to the processes.
    """
    config.check_minibatches(processes)
    levels = tuple(_level_plan(config, device, processes, phase) for phase in _first_phases(config))
    return Plan(device=device, processes=processes, levels=levels)


def plan_lines(config: GanConfig, device: Device, *, processes: int = 1) -> list[str]:
    """Return `plan` as a table to print, with totals and with what the columns mean."""
    made = plan(config, device, processes=processes)
    shown = sum(level.images for level in made.levels) / 1000
    hours = [f"{made.hours(seconds):.2f} h" for seconds in map(_seconds, SECONDS)]
    total = ("all", "", f"{shown:g}", *[""] * 7, *hours)
    return [
        f"{device.name}: {device.flops_per_s / 1e12:.3g} TFLOP/s in {device.precision},"
        f" {device.bytes_per_s / 1e12:.3g} TB/s, {device.memory_bytes / GIB:.4g} GiB; processes: {processes}",
        *_aligned([*HEADS, *map(_cells, made.levels), total]),
        "Times are lower bounds. floor: arithmetic, or the convolutions' memory traffic where that is more, and the",
        "optimisers. eager: the traffic of all operations or their launches, where that is more. Fades add up to 2 %.",
        *(f"{level.resolution} px: a step needs more memory than there is and will be split" for level in made.crowded),
    ]


def _first_phases(config: GanConfig) -> list[Phase]:
    """Return what holds when each level begins, in order."""
    firsts: dict[int, Phase] = {}
    for _, phase in config.course.phases(config.networks.last_level):
        firsts.setdefault(phase.level, phase)
    return list(firsts.values())


def _level_plan(config: GanConfig, device: Device, processes: int, phase: Phase) -> LevelPlan:
    costs = step_costs(config, level=phase.level, minibatch=phase.minibatch // processes)
    generator, discriminator = _parameters(config.networks, phase.level)
    repeats = config.training.critic_steps
    shown = phase.minibatch * repeats  # real pictures for each of the generator's steps

    def each(number: Callable[[Costs], float]) -> float:
        return (repeats * number(costs.discriminator) + number(costs.generator)) / shown

    slowness = 1000 * device.bytes_per_number / 4 / device.bytes_per_s  # seconds for a byte in float32, times 1,000
    updates = ADAM_BYTES * (repeats * discriminator + generator) + AVERAGE_BYTES * repeats * generator
    begins, images, fade_images = _span(config, phase.level)
    return LevelPlan(
        resolution=phase.resolution,
        begins_images=begins,
        images=images,
        fade_images=fade_images,
        minibatch=phase.minibatch,
        rate=config.phase(begins + images - 1).generator_rate,
        generator_parameters=generator,
        discriminator_parameters=discriminator,
        forward_flops=_forward_flops(config.networks, phase.level),
        flops=processes * each(lambda one: one.flops),
        memory_bytes=_memory_bytes(config.networks, costs, device),
        compute_s=1000 * each(lambda one: one.flops) / device.flops_per_s,
        traffic_s=slowness * each(lambda one: one.bytes_moved),
        convolution_traffic_s=slowness * each(lambda one: one.convolution_bytes_moved),
        update_s=1000 * updates / shown / device.bytes_per_s,
        launch_s=1000 * each(lambda one: one.operations) * device.launch_s,
    )


def _span(config: GanConfig, level: int) -> tuple[int, int, int]:
    """Return after how many images a level begins, how many it is shown, and for how many of them it fades in."""
    schedule, last = config.course, config.networks.last_level
    growths = level - (schedule.first_resolution.bit_length() - 1)
    both, total = schedule.stable_images + schedule.fade_images, schedule.total_images
    begins = max(0, growths * both - schedule.fade_images)
    ends = min(total, growths * both + schedule.stable_images) if level < last else total
    return begins, ends - begins, min(schedule.fade_images, total - begins) if growths else 0


def _parameters(shape: Shape, level: int) -> tuple[int, int]:
    """Return how many numbers both networks would learn if they ended at this level."""
    with torch.device("meta"):
        ending = _ending_at(shape, level)
        pair = (
            build_generator(shape.architecture, shape=ending),
            build_discriminator(shape.architecture, shape=ending),
        )
    return _count(pair[0]), _count(pair[1])


def _ending_at(shape: Shape, level: int) -> Shape:
    return dataclasses.replace(shape, resolution=1 << level)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _forward_flops(shape: Shape, level: int) -> float:
    with torch.device("meta"):
        generator = build_generator(shape.architecture, shape=shape).eval()  # as pictures are drawn later
        latents, labels = torch.empty(1, shape.latent), torch.empty(1, shape.labels)
    return count_costs(lambda: generator(latents, labels if shape.labels else None, level)).flops


def _memory_bytes(shape: Shape, costs: StepCosts, device: Device) -> float:
    step_bytes = max(costs.discriminator.peak_bytes, costs.generator.peak_bytes)
    generator, discriminator = _parameters(shape, shape.last_level)
    held = STATE_BYTES * (generator + discriminator) + 4 * generator
    return held + step_bytes * device.bytes_per_number / 4


def _seconds(name: str) -> Callable[[LevelPlan], float]:
    return operator.attrgetter(f"{name}_s")


def _cells(level: LevelPlan) -> tuple[str, ...]:
    return (
        str(level.resolution),
        f"{level.begins_images / 1000:g}",
        f"{level.images / 1000:g}",
        f"{level.fade_images / 1000:g}",
        str(level.minibatch),
        f"{level.rate:g}",
        f"{level.generator_parameters / 1e6:.2f} + {level.discriminator_parameters / 1e6:.2f}",
        f"{level.forward_flops / 1e9:.4g}",
        f"{level.flops / 1e9:.4g}",
        f"{level.memory_bytes / GIB:.2f}",
        *(f"{_seconds(name)(level):.3g}" for name in SECONDS),
    )


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
