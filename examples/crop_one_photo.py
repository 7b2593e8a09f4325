"""Do with one photo what a build does with many: find its faces, restore, enlarge, crop and score the largest.

python examples/crop_one_photo.py PHOTO CROP.png [--size 512]
"""

import argparse
import dataclasses
from pathlib import Path

import torch

from hqdata import restore, upscale
from hqdata.align import render_crop
from hqdata.landmarks import open_provider
from hqdata.pixels import decode_photo
from hqdata.png import encode_png
from hqdata.quality import spectral_parts
from hqdata.record import Face, Photo, PhotoRef, Refused
from hqdata.render import face_pixels, plan_face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("crop", type=Path)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    try:
        photo = read_photo(arguments.photo)
        crop_largest_face(photo, arguments.crop, arguments.size)
    except Refused as refused:
        raise SystemExit(f"{arguments.photo}: {refused.reason}") from refused


def read_photo(path: Path) -> Photo:
    data = path.read_bytes()
    ref = PhotoRef(id=path.name, path=str(path), size_bytes=len(data), version="")
    return Photo(ref=ref, image=decode_photo(data))


def find_largest_face(photo: Photo) -> Face:
    (faces,) = open_provider("mtcnn").find([photo])
    if isinstance(faces, Refused):
        raise faces
    if not faces:
        raise Refused("landmarks", "no face found")
    print(f"{len(faces)} face(s), the largest at {faces[0].landmarks.mean(axis=0).round(1)}")
    return faces[0]


def crop_largest_face(photo: Photo, path: Path, size: int) -> None:
    face = find_largest_face(photo)
    height, width = photo.image.shape[:2]
    plan = plan_face(face.landmarks, (height, width), size=size)
    print(f"{plan.zoom:.2f} output pixels a photo pixel: restored {plan.restored}, enlarged {plan.scale} times")
    with torch.inference_mode():
        pixels = face_pixels(photo.image, plan, restorer=restore.load(), upscaler=upscale.load())
    crop = render_crop(pixels, plan.crop)
    path.write_bytes(encode_png(crop))
    for part, value in dataclasses.asdict(spectral_parts(crop)).items():
        print(f"{part} {value:.4f}")


if __name__ == "__main__":
    main()
