"""How far the embedded detector's points lie from annotated ones, what it misses, and what it costs.

    python benchmarks/bench_landmarks.py FOLDER [--photos N]

FOLDER has CelebA's layout (img_celeba, Anno); `hqdata demo-source FOLDER` writes one. Errors are the mean over the five
points as a share of the annotated distance between the eyes; a photo is missed when no face found lies within half
that distance. Where FOLDER holds the demo's truth file, the figures are also split by degradation.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch

from hqdata.landmarks import open_provider
from hqdata.record import Photo, PhotoRef
from hqdata.sources.celeba import open_celeba

MISSED_BEYOND = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=None, help="only the first N")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    refs = open_celeba(str(given.folder), allow_subset=True).photos[: given.photos]
    degradation_of = read_degradations(given.folder)
    provider = open_provider("mtcnn")
    errors: dict[str, list[float]] = defaultdict(list)
    times_ms, num_extra = [], 0
    for ref in refs:
        image = cv2.imread(str(given.folder / ref.path), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        start = time.process_time()
        (faces,) = provider.find([Photo(ref=ref, image=image)])
        times_ms.append(1e3 * (time.process_time() - start))
        found = [share_of_eye_distance(face.landmarks, ref) for face in faces]
        best = min(found, default=np.inf)
        num_extra += len(found) - (best <= MISSED_BEYOND)
        errors[degradation_of.get(Path(ref.path).stem, "all")].append(best)
    for name, some in sorted(errors.items()):
        print(f"{name:16}", summary(np.array(some)))
    print(f"{'together':16}", summary(np.concatenate(list(errors.values()))))
    print(
        f"faces found elsewhere: {num_extra}; CPU ms a photo: {np.median(times_ms):.0f} median, {max(times_ms):.0f} max"
    )


def share_of_eye_distance(landmarks: np.ndarray, ref: PhotoRef) -> float:
    truth = np.array(ref.landmarks)
    return float(np.linalg.norm(landmarks - truth, axis=1).mean() / np.linalg.norm(truth[1] - truth[0]))


def summary(errors: np.ndarray) -> str:
    found = errors[errors <= MISSED_BEYOND]
    spread = "none found"
    if found.size:
        spread = f"error {100 * np.median(found):.1f} % median, {100 * np.quantile(found, 0.9):.1f} % p90"
    return f"{len(errors):5} photos, {len(errors) - found.size:4} missed, {spread}"


def read_degradations(folder: Path) -> dict[str, str]:
    truth = folder / "truth.json"
    if not truth.is_file():
        return {}
    return {photo["id"]: photo["degradation"] for photo in json.loads(truth.read_text())["photos"]}


if __name__ == "__main__":
    main()
