"""Everything once, in small: build a data set, train a generator on it, kill the training, resume it, and use it.

    python examples/train_small.py FOLDER [--photos 200] [--images 60000] [--maps 64]

FOLDER gets the photos, the data set of 64 px, the training, sheets, films and an exported generator. With the defaults
it takes about an hour of one processor core; fewer --images and --maps show the same with worse pictures.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from gan.checkpoint import latest_checkpoint
from pipelines.cli import cli

SETTINGS = """
[networks]
resolution = 64
latent = {maps}
most_maps = {maps}
map_budget = {budget}

[schedule]  # five levels and four fades; the last level gets what is left
total_images = {images}
stable_images = {part}
fade_images = {part}
minibatch = 16
rate = 0.002
tick_images = {part}

[training]
mirror = true
average_half_life_images = {half_life}
checkpoint_images = {part}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--maps", type=int, default=64)
    arguments = parser.parse_args()
    folder, faces = arguments.folder, arguments.photos // 2
    data, training = folder / "faces-64", folder / "training"

    hqdata("demo-source", folder / "photos", "--photos", arguments.photos)
    hqdata("build", "--source", folder / "photos", "--out", data, "--size", 64, "--count", faces, "--workers", 1)
    settings = write_settings(folder / "small.toml", images=arguments.images, maps=arguments.maps)
    train = ["train", data, "--out", training, "--config", settings, "--threads", 1]
    kill_in_the_middle(train, training)
    hqdata(*train)  # the same command goes on
    hqdata("sample", training, "--seeds", "0-31", "--columns", 8, "--out", folder / "samples.png")
    hqdata("sample", training, "--seeds", f"0-{faces - 1}", "--out", folder / "samples")
    hqdata("interpolate", training, "--seconds", 4, "--fps", 15, "--out", folder / "interpolation.mp4")
    hqdata("timelapse", training, "--seconds", 4, "--fps", 15, "--out", folder / "timelapse.mp4")
    hqdata("score", data, folder / "samples", "--metrics", "swd", "--cache", "none", "--quiet")
    hqdata("export", training, "--to", "torch-export", "--out", folder / "generator.pt2")


def hqdata(*words: object) -> None:
    """Run a command as `hqdata` would, but in this process."""
    print("$ hqdata", *words, flush=True)
    cli.main([str(word) for word in words], prog_name="hqdata", standalone_mode=False)


def kill_in_the_middle(train: list[object], training: Path) -> None:
    """Begin to train in a process of its own, and kill it outright once it has shown some pictures."""
    print("$ hqdata", *train, "& kill -9 $!", flush=True)
    process = subprocess.Popen([sys.executable, "-m", "pipelines.cli", *map(str, train)])
    while process.poll() is None and not shown_images(training):
        time.sleep(0.05)
    process.kill()
    process.wait()
    print(f"killed; the newest checkpoint is of {shown_images(training)} images", flush=True)


def shown_images(training: Path) -> int:
    """Return how far the newest checkpoint of a training is."""
    newest = latest_checkpoint(training)
    return int(newest.name) if newest else 0


def write_settings(file: Path, *, images: int, maps: int) -> Path:
    part = images // 12
    file.write_text(SETTINGS.format(images=images, maps=maps, budget=maps * 8, part=part, half_life=images // 20))
    return file


if __name__ == "__main__":
    main()
