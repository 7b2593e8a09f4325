"""A comparison of two sets in one process and on a local cluster: seconds of each part, and that the reports agree.

    python benchmarks/bench_score_cluster.py [--pictures 512] [--side 128] [--workers 2] [--part 64]
        [--metrics fid,swd] [--extractor efficientnet-lite0]

Workers are single-threaded, as the one process is. The cluster's start is not in its seconds.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hqdata.storage import open_folder
from metrics.evaluation import evaluate
from metrics.report import Report
from pipelines.clusters import ClusterChoice
from pipelines.score_generator import ClusterPasses
from pipelines.score_parts import NetworkWords


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--part", type=int, default=64)
    parser.add_argument("--metrics", default="fid,swd")
    parser.add_argument("--extractor", default="efficientnet-lite0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sets = [write_set(Path(folder) / f"{seed}.npy", options, seed) for seed in (0, 1)]
        alone = measured(options, sets[0], sets[1])
        network = NetworkWords(extractor=options.extractor, weights=None, precision="float32", protocol="tf1")
        choice, work = ClusterChoice(local=str(options.workers)), open_folder(Path(folder) / "work")
        with ClusterPasses(choice, work, network=network, part_pictures=options.part) as passes:
            print(f"{options.workers} workers that compute on {passes.device}")
            sources = [passes.open_stored(str(path), size=None, limit=None, seed=0) for path in sets]
            together = measured(options, sources[0], sources[1], passes)
    agree = replace(alone, seconds={}, images_per_s=0.0) == replace(together, seconds={}, images_per_s=0.0)
    print(f"the reports {'agree to the bit' if agree else 'DIFFER'}")


def write_set(path: Path, options: argparse.Namespace, seed: int) -> Path:
    shape = (options.pictures, 3, options.side, options.side)
    np.save(path, np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
    return path


def measured(
    options: argparse.Namespace, reference: object, generated: object, passes: ClusterPasses | None = None
) -> Report:
    """Measure, and print where the seconds went."""
    start, cpu = time.perf_counter(), time.process_time()
    report = evaluate(
        reference=reference,
        generated=generated,
        metrics=options.metrics.split(","),
        extractor=options.extractor,
        cache=None,
        device="cpu",
        passes=passes,
    )
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    parts = ", ".join(f"{part} {value:.2f}" for part, value in report.seconds.items() if value >= 0.005)
    what = "one process" if passes is None else "cluster"
    print(f"{what:<12}{seconds:7.1f} s, this process's CPU {cpu:.1f} s, {report.images_per_s:.1f} pictures/s ({parts})")
    return report


if __name__ == "__main__":
    main()
