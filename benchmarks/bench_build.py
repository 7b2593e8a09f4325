"""Photos a second and core, the share of each step, and what it saves to run the networks on the crop's region.

    python benchmarks/bench_build.py [--source DIR] [--photos 24] [--size 1024] [--whole 8]

Without --source, a demo source is written to a temporary folder and its photos up to 1200 px a side are used, which is
what CelebA in the wild looks like. One process, one thread. The steps are those of a worker's task, by CPU time. Then
both networks run on the crop's region and on the whole photo, in turn; the ratio is of CPU seconds, photo by photo.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import torch

from hqdata import restore, upscale
from hqdata.landmarks import open_provider
from hqdata.pixels import decode_photo, to_tensor
from hqdata.record import Photo, PhotoRef
from hqdata.render import face_pixels, plan_face
from hqdata.sources import open_source, read_bytes
from hqdata.sources.demo import write_demo_source
from hqdata.tiling import TiledPicture
from pipelines.config import load_config
from pipelines.job import make_job
from pipelines.rows import PhotoTask
from pipelines.stages import score_chunk

LARGEST_SIDE_PX = 1200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of photos; demo photos where none is given")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--whole", type=int, default=8, help="photos on which the networks run both ways")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.source or Path(scratch, "demo")
        if arguments.source is None:
            write_demo_source(root, num_photos=2 * arguments.photos)
        refs = chosen(str(root), arguments.photos)
        measure_build(str(root), refs, arguments.size, Path(scratch, "run"))
        measure_region(str(root), refs[: arguments.whole], arguments.size)


def chosen(root: str, count: int) -> list[PhotoRef]:
    """The first photos that are no larger than CelebA's usual ones."""
    sides = ((ref, max(decode_photo(read_bytes(root, ref)).shape[:2])) for ref in open_source(root).refs())
    return [ref for ref, side in sides if side <= LARGEST_SIDE_PX][:count]


def measure_build(root: str, refs: list[PhotoRef], size: int, run: Path) -> None:
    config = load_config(assignments=[f'source.root="{root}"', f"align.size={size}", 'landmarks.provider="mtcnn"'])
    job = make_job(config, open_source(root), run, "cpu")
    score_chunk([PhotoTask(ref=refs[0])], job, float("-inf"))  # loads the weights
    start = time.process_time()
    result = score_chunk([PhotoTask(ref=ref) for ref in refs], job, float("-inf"))
    total = time.process_time() - start
    upscaled = sum(face.upscaled for face in result.scored)
    print(f"{len(refs)} photos, {len(result.scored)} faces, {upscaled} of them enlarged, crops of {size} px")
    print(f"{len(refs) / total:.2f} photos/s and core ({1000 * total / len(refs):.0f} CPU ms a photo)")
    for name, seconds in sorted(result.seconds.items(), key=lambda item: -item[1]):
        print(f"  {name:<10}{1000 * seconds / len(refs):8.1f} ms a photo {100 * seconds / total:5.1f} %")


def measure_region(root: str, refs: list[PhotoRef], size: int) -> None:
    provider, networks = open_provider("mtcnn"), (restore.load(), upscale.load())
    ratios = []
    for ref in refs:
        photo = Photo(ref=ref, image=decode_photo(read_bytes(root, ref)))
        faces = provider.find([photo])[0]
        if isinstance(faces, list) and faces:
            ratios.append(one_ratio(photo, faces[0].landmarks, networks, size))
    shown = ", ".join(f"{ratio:.1f}" for ratio in sorted(ratios))
    print(f"both networks, whole photo / crop's region: median {statistics.median(ratios):.1f}x ({shown})")


def one_ratio(photo: Photo, landmarks, networks, size: int) -> float:
    restorer, upscaler = networks
    height, width = photo.image.shape[:2]
    plan = plan_face(landmarks, (height, width), size=size, restore_when="always", upscale_when="always")
    with torch.inference_mode():
        start = time.process_time()
        face_pixels(photo.image, plan, restorer=restorer, upscaler=upscaler)
        middle = time.process_time()
        TiledPicture(TiledPicture(to_tensor(photo.image), restorer), upscaler).whole()
        end = time.process_time()
    return (end - middle) / (middle - start)


if __name__ == "__main__":
    main()
