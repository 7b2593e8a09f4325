"""Megapixels a second of each network: float32 and bfloat16, one and two threads, and the GPU where there is one.

    python benchmarks/bench_networks.py [--networks NAME ...] [--threads 1 2] [--sides 192] [--runs 5] [--json FILE]

Restorers count input pixels, enlargers output pixels. Each figure is the median of several runs of one tile with its
margin, through the engine that a build uses. A process measures each number of threads; in it all networks and
precisions take turns, so that a busy machine slows them alike. `wall` is by the clock; `CPU` is by the processor time
of all threads, which other programs disturb less: on an idle machine, wall is CPU times the threads. The last column
compares with float32, by CPU time (on a GPU by the clock). red30 and rrdb23 have random weights, which cost the same.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from hqdata import restore, upscale
from hqdata.precision import has_bfloat16
from hqdata.restore.red import RedNet
from hqdata.run_tile import TileRunner
from hqdata.tiling import TILE
from hqdata.weights import Network, describe, shipped
from hqdata.weights.community.rrdb import RRDBNet

RANDOM = {"red30": partial(RedNet, 64, 15), "rrdb23": RRDBNet}
SLOW_SIDE = 64
"""Of the tile on which the networks of random weights run on a CPU: they take seconds to minutes."""
RRDB_MARGIN = 16
"""Of its reach of 349 pixels; its full margin would be nearly all of the work."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[*shipped(), *RANDOM], choices=[*shipped(), *RANDOM])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--sides", nargs="+", type=int, default=[TILE], help="of the shipped networks' tiles")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.device:
        print(json.dumps(measured(arguments)))
        return
    rows = [row for threads in arguments.threads for row in in_process("cpu", threads)]
    if torch.cuda.is_available():
        rows += in_process("cuda", 1)
    print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")


def in_process(device: str, threads: int) -> list[dict]:
    """Measure in a process of its own, since the number of threads is read when torch starts."""
    command = [sys.executable, *sys.argv, "--device", device, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(answer.stdout)


def measured(arguments: argparse.Namespace) -> list[dict]:
    torch.set_num_threads(arguments.threads[0])
    cases = [case for name in arguments.networks for case in cases_of(name, arguments)]
    times: list[list[tuple[float, float]]] = [[] for _ in cases]
    for turn in range(arguments.runs + 1):
        for case, taken in zip(cases, times, strict=True):
            seconds = one_run(*case)
            if turn > 0:  # the first run chooses algorithms and fills caches
                taken.append(seconds)
    return [row_of(*case, taken, arguments) for case, taken in zip(cases, times, strict=True)]


def cases_of(name: str, arguments: argparse.Namespace) -> list[tuple[Network, int]]:
    """Return the network in each precision that the device has, with each side of its tiles."""
    network = network_of(name, arguments.device)
    precisions = ["float32", "bfloat16"] if has_bfloat16(arguments.device) else ["float32"]
    slow = name in RANDOM and arguments.device == "cpu"
    sides = [SLOW_SIDE] if slow else arguments.sides
    return [(replace(network, precision=precision), side) for side in sides for precision in precisions]


def network_of(name: str, device: str) -> Network:
    if name not in RANDOM:
        load = upscale.load if describe(name)["architecture"] == "upscale-generator" else restore.load
        return load(name, device)
    torch.manual_seed(0)
    module = RANDOM[name]().eval().to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        for value in module.parameters():
            value.mul_(0.5)  # keeps what random layers make of a picture finite
    return Network(
        name=name,
        module=module,
        scale=module.scale,
        stride=module.stride,
        reach=module.reach,
        margin=RRDB_MARGIN if name == "rrdb23" else None,
        sha256="",
        device=device,
    )


def one_run(network: Network, side: int) -> tuple[float, float]:
    """Return the wall and CPU seconds of one tile, its way to the device and back included."""
    runner = TileRunner(network, side)
    window = side + 2 * runner.margin
    picture = torch.rand((1, 3, window, window), generator=torch.Generator().manual_seed(0)) * 2 - 1
    wall, cpu = time.perf_counter(), time.process_time()
    core = (runner.margin, runner.margin + side)
    runner.core(picture, core, core, grey=False)
    return time.perf_counter() - wall, time.process_time() - cpu


def row_of(network: Network, side: int, taken: list[tuple[float, float]], arguments: argparse.Namespace) -> dict:
    megapixels = (side * network.scale) ** 2 / 1e6
    wall, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
    return {
        "network": network.name,
        "parameters": sum(value.numel() for value in network.module.parameters()),
        "precision": network.precision,
        "device": arguments.device,
        "threads": arguments.threads[0],
        "side": side,
        "margin": TileRunner(network, side).margin,
        "megapixels_per_s": megapixels / wall,
        "megapixels_per_cpu_s": megapixels / cpu,
    }


def print_table(rows: list[dict]) -> None:
    print(machine())
    print(f"{'network':<14}{'Mparam':>7}  {'precision':<10}{'device':<7}{'threads':>7}{'tile':>6}{'margin':>7}", end="")
    print(f"{'Mpx/s wall':>12}{'Mpx/s CPU':>12}{'x float32':>11}")
    for row in rows:
        alike = [
            other for other in rows if all(other[key] == row[key] for key in ("network", "device", "threads", "side"))
        ]
        key = "megapixels_per_s" if row["device"] == "cuda" else "megapixels_per_cpu_s"
        gain = row[key] / alike[0][key]
        print(
            f"{row['network']:<14}{row['parameters'] / 1e6:>7.2f}  {row['precision']:<10}{row['device']:<7}"
            f"{row['threads']:>7}{row['side']:>6}{row['margin']:>7}{row['megapixels_per_s']:>12.3f}"
            f"{row['megapixels_per_cpu_s']:>12.3f}{gain:>11.2f}"
        )


def machine() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} cores of {model}{gpu}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
