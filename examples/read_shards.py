"""Read a finished run in batches, as a training loop would.

    python examples/read_shards.py RUN [--resolution 64] [--batch 32] [--workers 2] [--batches 10]

Prints the shape of each batch and the mean colour of all pictures read. The rest of a face's row (score, landmarks,
attributes) is in the Parquet files, found by its id.
"""

import argparse
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader

from hqdata.shards import ShardDataset, open_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=10)
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.run, arguments.resolution)
    print(f"{len(dataset)} pictures of {arguments.resolution} px")
    print_batches(dataset, arguments.batch, arguments.workers, arguments.batches)
    print_row(arguments.run, dataset.ids[0])


def print_batches(dataset: ShardDataset, batch_size: int, workers: int, count: int) -> None:
    order = torch.Generator().manual_seed(0)
    loader = DataLoader(dataset, batch_size, shuffle=True, num_workers=workers, generator=order)
    total, seen = torch.zeros(3, dtype=torch.float64), 0
    for batch in islice(loader, count):  # uint8 (b, 3, r, r), red green blue
        network_input = batch.float() / 127.5 - 1  # what a network wants: float32 in [-1, 1]
        print(f"batch {tuple(batch.shape)}, from {network_input.min():.2f} to {network_input.max():.2f}")
        total += batch.double().mean(dim=(2, 3)).sum(dim=0)
        seen += len(batch)
    red, green, blue = (total / seen).tolist()
    print(f"mean colour of {seen} pictures: {red:.1f} {green:.1f} {blue:.1f}")


def print_row(run: Path, face_id: str) -> None:
    columns = ["rank", "score", "source"]
    (row,) = pq.read_table(run / "data", columns=columns, filters=[("id", "==", face_id)]).to_pylist()
    print(f"picture 0 is {face_id}: rank {row['rank']}, score {row['score']:.4f}, from {row['source']}")


if __name__ == "__main__":
    main()
