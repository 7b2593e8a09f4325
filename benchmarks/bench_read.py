"""Images per second from a warm page cache on one core: tensors one by one and in batches, beside PNG from Parquet.

    python benchmarks/bench_read.py [--pictures 2048] [--resolution 256] [--folder FOLDER] [--target 30000]

Writes a run of smooth random pictures (once, where FOLDER is given), then measures every way of reading in turn,
several rounds, and prints the median per wall second and per CPU second. Exit code 1 if single pictures fall short of
the target per CPU second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader

from hqdata.png import decode_png, encode_png
from hqdata.shards import (
    ShardDataset,
    ShardLayout,
    ShardRow,
    open_dataset,
    write_index,
    write_manifest,
    write_shard,
)

ROWS_PER_SHARD = 256
BATCH = 64
ROUNDS = 5


def smooth_row(rank: int, size: int) -> ShardRow:
    coarse = np.random.default_rng(rank).integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
    fine = np.random.default_rng(rank).integers(0, 12, (size, size, 3), dtype=np.uint8)
    image = cv2.add(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), fine)
    return ShardRow(
        id=f"{rank:06d}",
        rank=rank,
        score=-float(rank),
        source=f"{rank:06d}.jpg",
        face_index=0,
        landmarks=np.zeros((5, 2)),
        landmark_source="none",
        quad=np.zeros((4, 2)),
        source_size=(size, size),
        png=encode_png(image),
    )


def write_run(run: Path, num_pictures: int, size: int) -> None:
    layout = ShardLayout(size=size, num_shards=num_pictures // ROWS_PER_SHARD)
    shards = [
        write_shard(
            run,
            shard,
            (smooth_row(shard * ROWS_PER_SHARD + row, size) for row in range(ROWS_PER_SHARD)),
            num_rows=ROWS_PER_SHARD,
            layout=layout,
        )
        for shard in range(layout.num_shards)
    ]
    write_manifest(run, [write_index(run, shards), *(file for files in shards for file in files.files)])


def one_by_one(dataset: ShardDataset, order: np.ndarray) -> int:
    for index in order:
        dataset[index]
    return len(order)


def in_batches(dataset: ShardDataset, order: np.ndarray) -> int:
    for start in range(0, len(order), BATCH):
        dataset.batch(order[start : start + BATCH])
    return len(order)


def through_a_loader(dataset: ShardDataset, order: np.ndarray) -> int:
    return sum(len(batch) for batch in DataLoader(dataset, batch_size=BATCH, sampler=order.tolist()))


def png_in_sequence(run: Path, size: int) -> int:
    count = 0
    for path in sorted((run / "data").iterdir()):
        for batch in pq.ParquetFile(path).iter_batches(BATCH, columns=["image"]):
            for row in batch.column(0).to_pylist():
                torch.from_numpy(decode_png(row["bytes"], size).transpose(2, 0, 1).copy())
                count += 1
    return count


def measured(read: Callable[[], int]) -> tuple[float, float]:
    """Return images per wall second and per CPU second."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = read()
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


def measure_all(run: Path, resolution: int) -> dict[str, tuple[float, float]]:
    """Return the medians of each way of reading; the ways take turns, so that other load hits all alike."""
    dataset = open_dataset(run, resolution)
    shuffled = np.random.default_rng(0).permutation(len(dataset))
    ways: dict[str, Callable[[], int]] = {
        "tensors, [i], in order": lambda: one_by_one(dataset, np.arange(len(dataset))),
        "tensors, [i], shuffled": lambda: one_by_one(dataset, shuffled),
        f"tensors, batch({BATCH}), shuffled": lambda: in_batches(dataset, shuffled),
        f"tensors, DataLoader({BATCH}), shuffled": lambda: through_a_loader(dataset, shuffled),
        "PNG from Parquet, in order": lambda: png_in_sequence(run, resolution),
    }
    for index in range(len(dataset)):
        dataset[index]  # warms the page cache
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, read in ways.items():
            figures[name].append(measured(read))
    return {name: medians(values) for name, values in figures.items()}


def medians(values: Iterable[tuple[float, float]]) -> tuple[float, float]:
    wall, cpu = zip(*values, strict=True)
    return statistics.median(wall), statistics.median(cpu)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=2048, help=f"a multiple of {ROWS_PER_SHARD}")
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="where the run is kept; a temporary folder by default")
    parser.add_argument("--target", type=float, default=30_000, help="images per CPU second for tensors, [i], shuffled")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        run = options.folder or Path(temporary)
        if not (run / "manifest.json").exists():
            write_run(run, options.pictures, options.resolution)
        results = measure_all(run, options.resolution)
    print(f"{'way':40} {'images/s':>10} {'per CPU s':>10}")
    for name, (wall, cpu) in results.items():
        print(f"{name:40} {wall:10,.0f} {cpu:10,.0f}")
    return 0 if results["tensors, [i], shuffled"][1] >= options.target else 1


if __name__ == "__main__":
    sys.exit(main())
