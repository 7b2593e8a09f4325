"""What poison photos cost: seconds until each stands alone, with workers that really die of them.

    python benchmarks/bench_bisection.py [--items 400] [--poison 2] [--workers 2] [--chunk 32] [--import torch]

A clean run and two poisoned ones, by a process exit and by a segmentation fault, on a fresh local cluster each; the
difference is the price. With --import, every fresh process imports that module first, as a real task would.
"""

import argparse
import ctypes
import importlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipelines.clusters import ClusterChoice, open_cluster
from pipelines.dask_map import Failed, map_bounded

PAYLOAD_MS = 5


def work(items: list[int], poison: frozenset[int], die: Callable[[], None], module: str) -> int:
    """Some milliseconds an item, and a process's end for a poisonous one."""
    if module:
        importlib.import_module(module)
    for item in items:
        if item in poison:
            die()
        time.sleep(PAYLOAD_MS / 1000)
    return len(items)


exit_at_once = partial(os._exit, 11)
segfault = partial(ctypes.string_at, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--poison", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--import", dest="module", default="")
    arguments = parser.parse_args()
    poison = frozenset(37 + number * arguments.items // arguments.poison for number in range(arguments.poison))
    clean = measure(arguments, frozenset(), exit_at_once)
    print(f"clean     {clean:6.1f} s for {arguments.items} items on {arguments.workers} workers")
    for name, die in (("exit", exit_at_once), ("segfault", segfault)):
        seconds = measure(arguments, poison, die)
        price = f"{seconds - clean:.1f} s for {len(poison)} poison items"
        print(f"{name:<10}{seconds:6.1f} s, {price}")


def measure(arguments: argparse.Namespace, poison: frozenset[int], die: Callable[[], None]) -> float:
    """Seconds for all items; the poison ones must be the only ones to fail."""
    chunks = (
        list(range(start, min(start + arguments.chunk, arguments.items)))
        for start in range(0, arguments.items, arguments.chunk)
    )
    choice = ClusterChoice(local=str(arguments.workers))
    with tempfile.TemporaryDirectory() as scratch, open_cluster(choice, scratch=Path(scratch)) as client:
        start = time.perf_counter()
        outcomes = list(map_bounded(client, work, chunks, arguments=lambda: (poison, die, arguments.module)))
        seconds = time.perf_counter() - start
    convicted = {outcome.item for outcome in outcomes if isinstance(outcome, Failed)}
    if convicted != poison:
        raise SystemExit(f"the poison items are {sorted(poison)}, and {sorted(convicted)} were given up")
    return seconds


if __name__ == "__main__":
    main()
