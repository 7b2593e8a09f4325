"""Every figure of `metrics.evaluate`, with its interval, on crops of real photos and on the same kind of crops damaged.

    python benchmarks/bench_evaluate.py [--count 2000] [--only NAME ...] [--folder DIR] [--json FILE] [--plot FILE]

The photos come with scikit-image and scikit-learn (`pip install scikit-learn` adds two; without it there are fewer),
nothing is downloaded. Reference and "same" are two disjoint draws of 96-pixel crops; the others damage the crops of
"same". The network is efficientnet-lite0. All runs but the first take the reference from a cache in the folder.
A sensible measure puts "same" first, and the rest by damage; "collapse" is 8 pictures repeated. A few crops of black
corners are exact copies of each other, which the reports say.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from metrics import evaluate
from metrics.plots import plot_reports
from metrics.report import Report

SIDE, STRIDE = 96, 8
KEPT_BY_COLLAPSE = 8
SKIMAGE_PHOTOS = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina", "rocket")


def photos() -> Iterator[np.ndarray]:
    from skimage import data

    for name in SKIMAGE_PHOTOS:
        yield getattr(data, name)()
    yield data.stereo_motorcycle()[0]
    try:
        from sklearn.datasets import load_sample_images
    except ModuleNotFoundError:
        return
    yield from load_sample_images().images


def crops(count: int) -> Iterator[Image.Image]:
    """Yield 96-pixel crops, equally many of each photo in turn, no place twice; neighbours overlap."""
    random = np.random.default_rng(0)
    pictures = list(photos())
    places = []
    for picture in pictures:
        rows, columns = ((length - SIDE) // STRIDE for length in picture.shape[:2])
        places.append(random.permutation(rows * columns))
    most = len(pictures) * min(map(len, places))
    if count > most:
        raise SystemExit(f"{count} crops are more than the {most} different ones; ask for at most --count {most // 2}")
    for turn in range(-(-count // len(pictures))):
        for picture, mine in zip(pictures, places, strict=True):
            columns = (picture.shape[1] - SIDE) // STRIDE
            top, left = (int(part) * STRIDE for part in divmod(int(mine[turn]), columns))
            yield Image.fromarray(picture[top : top + SIDE, left : left + SIDE])


def noisy(crop: Image.Image, number: int) -> Image.Image:
    noise = np.random.default_rng(number).normal(0, 20, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(np.rint(np.asarray(crop) + noise), 0, 255).astype(np.uint8))


DAMAGES: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "same": lambda crop, number: crop,
    "jpeg75": lambda crop, number: crop,
    "blur": lambda crop, number: crop.filter(ImageFilter.GaussianBlur(0.8)),
    "noise": noisy,
}


def write_sets(folder: Path, count: int) -> None:
    """Write the folders that are not there yet; a set stands under its final name only when it is whole."""
    drawn = list(crops(2 * count))
    order = np.random.default_rng(1).permutation(len(drawn))
    reference, same = ([drawn[place] for place in part] for part in (order[:count], order[count : 2 * count]))
    write_set(folder / "reference", reference)
    for name, damage in DAMAGES.items():
        write_set(folder / name, [damage(crop, number) for number, crop in enumerate(same)])
    write_set(folder / "collapse", [same[number % KEPT_BY_COLLAPSE] for number in range(count)])


def write_set(folder: Path, pictures: list[Image.Image]) -> None:
    if folder.exists():
        return
    growing = folder.with_name(f".{folder.name}")
    growing.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        if folder.name == "jpeg75":
            picture.save(growing / f"{number:05d}.jpg", quality=75)
        else:
            picture.save(growing / f"{number:05d}.png", compress_level=1)
    growing.rename(folder)


def print_table(reports: dict[str, Report]) -> None:
    """Print a block for each figure, a line for each set."""
    for figure in next(iter(reports.values())).figures:
        print(f"\n{figure.name}" + ("" if figure.better == "neither" else f"  ({figure.better} is better)"))
        for name, report in reports.items():
            found = report[figure.name]
            interval = f"[{found.interval.low:.5g}, {found.interval.high:.5g}]" if found.interval else "no interval"
            print(f"  {name:<10}{found.value:>12.5g}  {interval}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="pictures a set")
    parser.add_argument("--only", nargs="+", default=[*DAMAGES, "collapse"], metavar="NAME")
    parser.add_argument("--metrics", nargs="+", default=["fid", "kid", "is", "prdc", "swd", "ms_ssim"])
    parser.add_argument("--folder", type=Path, help="keep the pictures and the cache here")
    parser.add_argument("--json", type=Path, help="folder for a report of each set")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="bench-evaluate-"))
    write_sets(folder, arguments.count)
    reports = {name: measured(folder, name, arguments) for name in arguments.only}
    print_table(reports)
    if arguments.plot:
        plot_reports(reports, arguments.plot)


def measured(folder: Path, name: str, arguments: argparse.Namespace) -> Report:
    start, cpu = time.perf_counter(), time.process_time()
    report = evaluate(
        reference=folder / "reference",
        generated=folder / name,
        metrics=tuple(arguments.metrics),
        extractor="efficientnet-lite0",
        ci=0.95,
        cache=folder / "cache",
    )
    print(
        f"\n== {name}: {time.perf_counter() - start:.0f} s, {time.process_time() - cpu:.0f} CPU s\n{report}", flush=True
    )
    if arguments.json:
        arguments.json.mkdir(parents=True, exist_ok=True)
        (arguments.json / f"{name}.json").write_text(report.to_json())
    return report


if __name__ == "__main__":
    main()
