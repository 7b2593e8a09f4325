"""Seconds for 1,000 real pictures at each level of a GAN training: precisions, eager and compiled, against the floors.

    python benchmarks/bench_gan.py [--preset NAME] [--set KEY=VALUE ...] [--levels 2 3 ...] [--seconds 10] [--compile]
        [--json FILE]

Whole steps of the trainer on random pictures at the preset's own minibatch: reading, both networks, penalty, Adam and
average. Each figure is the median step after two that do not count; the variants of a level are measured one after the
other. `floor` and `eager` are what `gan.plan` says of this machine as measured just before: no execution, and no eager
one, is faster. Times are by the clock; where other programs run too, `--cpu-time` counts processor time for both.
"""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gan.config import GanConfig, load_gan_config
from gan.devices import measure_this_machine
from gan.pictures import ArrayPictures
from gan.plan import plan
from gan.trainer import Trainer
from hqdata.precision import Precision, has_bfloat16
from hqdata.training.machine import Machine

WARM_UP = 2
LEAST_STEPS = 3


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="celebahq-1024-v2-1gpu" if cuda else "mnist-cpu", help="or a TOML file")
    parser.add_argument("--set", dest="assignments", action="append", default=[], help="section.key=value")
    parser.add_argument("--levels", nargs="+", type=int, help="log2 of the resolutions; all by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each figure")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile; minutes for each level")
    parser.add_argument("--cpu-time", action="store_true", help="count processor time, not the clock")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    rows = []
    for row in measured(arguments, "cuda" if cuda else "cpu"):
        rows.append(row)
        print(told(row) if len(rows) > 1 else f"{machine()}\n{told(row)}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def measured(arguments: argparse.Namespace, device: Any) -> Iterator[dict[str, Any]]:
    config = load_gan_config([arguments.preset], arguments.assignments)
    pictures = random_pictures(config)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    precisions: list[Precision] = ["float32", *(["bfloat16"] if has_bfloat16(device) else [])]
    plans = {precision: plan(config, measure_this_machine(precision, clock=clock)) for precision in precisions}
    for place, level in enumerate(plans["float32"].levels):
        number = level.resolution.bit_length() - 1
        if arguments.levels and number not in arguments.levels:
            continue
        for precision in precisions:
            for compiled in [False, True] if arguments.compile else [False]:
                limits = plans[precision].levels[place]
                variant = f"{precision}{' compiled' if compiled else ''}"
                step_s = median_step_s(
                    with_compile(config, compiled),
                    pictures,
                    Machine(device=device, precision=precision),
                    images=level.begins_images + level.fade_images,
                    budget_s=arguments.seconds,
                    clock=clock,
                )
                kimg_s = 1000 * step_s / (level.minibatch * config.training.critic_steps)
                yield {
                    "resolution": level.resolution,
                    "minibatch": level.minibatch,
                    "variant": variant,
                    "seconds_per_kimg": kimg_s,
                    "floor_seconds_per_kimg": limits.floor_s,
                    "eager_seconds_per_kimg": limits.eager_s,
                    "tera_flops": level.flops * 1000 / kimg_s / 1e12,
                }


def median_step_s(
    config: GanConfig,
    pictures: ArrayPictures,
    machine: Machine,
    *,
    images: int,
    budget_s: float,
    clock: Callable[[], float],
) -> float:
    """Return the median time of a whole training step from `images` on."""
    trainer = Trainer(config, pictures, machine=machine)
    trainer.images = images
    times: list[float] = []
    while len(times) < WARM_UP + LEAST_STEPS or sum(times[WARM_UP:]) < budget_s:
        begun_s = clock()
        trainer.step()
        if machine.device == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - begun_s)
    trainer.close()
    return statistics.median(times[WARM_UP:])


def random_pictures(config: GanConfig) -> ArrayPictures:
    """Return as many pictures as the largest minibatch has, or 32."""
    shape = config.networks
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, shape.channels, *shape.size(shape.last_level)), dtype=np.uint8)
    labels = torch.eye(shape.labels)[torch.arange(32) % shape.labels] if shape.labels else None
    return ArrayPictures(images, labels=labels, base=shape.base)


def with_compile(config: GanConfig, compiled: bool) -> GanConfig:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, compile=compiled))


def machine() -> str:
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else processor_name()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def processor_name() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(errors="replace").splitlines() if facts.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def told(row: dict[str, Any]) -> str:
    return (
        f"{row['resolution']:5d} px x {row['minibatch']:<4d} {row['variant']:18s} {row['seconds_per_kimg']:9.3f} s/kimg"
        f"  (floor {row['floor_seconds_per_kimg']:.3f}, eager {row['eager_seconds_per_kimg']:.3f})"
        f"  {row['tera_flops']:.4f} TFLOP/s, {row['seconds_per_kimg'] / row['floor_seconds_per_kimg']:.1f}x the floor"
    )


if __name__ == "__main__":
    main()
