"""CPU time and fidelity of the crop modes, side by side in one run on one thread.

Run as `python benchmarks/bench_align.py [--repeats N] [--size 1024] [--demo FOLDER]`. With a folder that
`hqdata demo-source` wrote, only the fidelity on all its faces is measured. Otherwise photos come from scikit-image's
astronaut; a large photo with detail at every scale is the astronaut enlarged, with its mirrored tiles laid over it as
fine texture.
"""

import argparse
import platform
import time

import cv2
import numpy as np
import PIL
from skimage import data

from hqdata.align import crop_face, plan_crop
from hqdata.pixels import decode_photo
from hqdata.sources import open_source, read_bytes
from hqdata.sources.demo import PORTRAIT_LANDMARKS

FACE = np.array(PORTRAIT_LANDMARKS)
FACE_CENTRE = (224.0, 108.0)
FACE_SIDE = 174.2


def astronaut_photo(width, height, face_side, centre, degrees=0.0):
    """A photo of given size with the astronaut's crop square `face_side` px wide at `centre`, and its landmarks."""
    scale, angle = face_side / FACE_SIDE, np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, np.array(centre) - turn @ FACE_CENTRE])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    photo = cv2.warpAffine(data.astronaut(), matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    if scale > 2:
        tile = cv2.copyMakeBorder(data.astronaut(), 0, 512, 0, 512, cv2.BORDER_REFLECT)
        texture = np.tile(tile, (height // 1024 + 1, width // 1024 + 1, 1))[:height, :width]
        photo = cv2.addWeighted(photo, 0.8, texture, 0.2, 0)
    return photo, FACE @ turn.T + matrix[:, 2]


CASES = {
    "CelebA-like 500x375, face 244 px": astronaut_photo(500, 375, 244, (250, 190)),
    "the same, tilted 8 degrees": astronaut_photo(500, 375, 244, (250, 190), 8),
    "astronaut 512x512, 174 px": (data.astronaut(), FACE),
    "FFHQ-like 4352x2903, 1638 px": astronaut_photo(4352, 2903, 1638, (2200, 1400), 5),
    "large 4352x2903, 2200 px": astronaut_photo(4352, 2903, 2200, (2200, 1450), 5),
    "padded 346x230, face 244 px": astronaut_photo(346, 230, 244, (180, 100)),
    "padded 346x230, tilted": astronaut_photo(346, 230, 244, (180, 100), 12),
    "padded, astronaut cut on all sides": (
        np.ascontiguousarray(data.astronaut()[60:170, 165:270]),
        FACE - np.array([165, 60]),
    ),
    "padded 1638x2048, 1500 px": astronaut_photo(1638, 2048, 1500, (1000, 700), 5),
}


def cpu_median_ms(function, repeats):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times)), result


def compare(name, image, landmarks, *, size, repeats):
    exact_ms, exact = cpu_median_ms(lambda: crop_face(image, landmarks, size, "exact"), max(repeats // 3, 1))
    padded = plan_crop(landmarks, image.shape[:2], size).padded
    line = f"{name:36s} {'yes' if padded else 'no':>6s} {exact_ms:9.1f}"
    for mode in ("accurate", "fast"):
        crop_face(image, landmarks, size, mode)
        mode_ms, crop = cpu_median_ms(lambda mode=mode: crop_face(image, landmarks, size, mode), repeats)
        difference, psnr = difference_and_psnr(crop, exact)
        line += f" | {mode_ms:7.1f} {exact_ms / mode_ms:6.1f}x {psnr:5.1f} dB {int(np.abs(difference).max()):3d}"
    print(line, flush=True)


def difference_and_psnr(crop, exact):
    difference = crop.astype(float) - exact
    return difference, 10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9))


def measure_demo(folder, size):
    """PSNR of both quick modes against exact over all annotated faces of a CelebA-layout folder."""
    psnr = {(mode, padded): [] for mode in ("accurate", "fast") for padded in (False, True)}
    source = open_source(str(folder), "celeba")
    for ref in source.refs():
        image, landmarks = decode_photo(read_bytes(source.root, ref)), np.array(ref.landmarks)
        padded = plan_crop(landmarks, image.shape[:2], size).padded
        exact = crop_face(image, landmarks, size, "exact")
        for mode in ("accurate", "fast"):
            psnr[mode, padded].append(difference_and_psnr(crop_face(image, landmarks, size, mode), exact)[1])
    for (mode, padded), values in psnr.items():
        where = "padded" if padded else "not padded"
        least, below = min(values), sum(value < 48 for value in values)
        print(f"{mode:9s} {where:11s} {len(values):4d} faces, PSNR least {least:.1f} dB, {below} below 48")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--demo", metavar="FOLDER", help="measure the fidelity on a demo source's faces instead")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.demo:
        measure_demo(options.demo, options.size)
        return
    print(
        f"{platform.machine()}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}, NumPy {np.__version__}, one thread"
    )
    print("median CPU ms; how many times faster than exact; PSNR and largest difference from exact")
    print(f"{'photo':36s} {'padded':>6s} {'exact':>9s} | {'accurate':^29s} | {'fast':^29s}")
    for name, (image, landmarks) in CASES.items():
        compare(name, image, landmarks, size=options.size, repeats=options.repeats)


if __name__ == "__main__":
    main()
