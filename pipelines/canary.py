"""One small picture made by code goes the way of a photo; what comes out tells whether two machines agree."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from hqdata import restore, upscale
from hqdata.align import render_crop
from hqdata.landmarks import open_provider
from hqdata.pixels import decode_photo
from hqdata.png import encode_png, pixel_sha256
from hqdata.quality import spectral_parts
from hqdata.record import Photo, PhotoRef
from hqdata.render import face_pixels, plan_face
from hqdata.weights import Network
from pipelines.needs import Needs

__all__ = ["Canary", "canary_of"]

SIDE = 64
"""Of the picture in pixels: one tile of each network, and small enough to be enlarged even for a crop of 128."""
LANDMARKS = ((25.5, 24.5), (39.0, 27.0), (31.5, 33.0), (25.7, 39.0), (35.4, 40.6))
"""Where a tilted face would have its eyes, nose and corners of the mouth, so that the crop is resampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """What one machine makes of the picture."""

    pixels: str
    """The sha256 of the crop's pixels."""
    png: str
    """The sha256 of the crop as PNG, which shards hold: another build of zlib gives other bytes for equal pixels."""
    score: float
    """The crop's spectral score; differences in the last bits can change who is chosen."""


@functools.lru_cache(maxsize=1)
def canary_of(needs: Needs) -> Canary:
    """Return what this process makes of the picture; half a second with the shipped networks, once a process.

    Raises:
        ValueError: if weights cannot be used.
        OSError: if they cannot be read.
        RuntimeError: if the device fails.
    """
    image = decode_photo(_jpeg())
    with _one_thread():
        open_provider(needs.provider, device=needs.device).find([_as_photo(image)])
        crop = _crop(image, needs)
        score = spectral_parts(crop).score
    return Canary(pixels=pixel_sha256(crop), png=hashlib.sha256(encode_png(crop)).hexdigest(), score=float(score))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute as the tasks do, and leave a driver's settings as they were."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _crop(image: UInt8[np.ndarray, "h w 3"], needs: Needs) -> UInt8[np.ndarray, "s s 3"]:
    plan = plan_face(
        np.array(LANDMARKS),
        (SIDE, SIDE),
        size=needs.size,
        mode=needs.mode,
        restore_when=needs.restore.when,
        upscale_when=needs.upscale.when,
    )
    restorer, upscaler = _networks(needs)
    with torch.inference_mode():
        pixels = face_pixels(image, plan, restorer=restorer, upscaler=upscaler)
    return render_crop(pixels, plan.crop)


def _networks(needs: Needs) -> tuple[Network | None, Network | None]:
    mend, enlarge = needs.restore, needs.upscale
    return (
        None if mend.when == "never" else restore.load(mend.weights, needs.device, precision=mend.precision),
        None if enlarge.when == "never" else upscale.load(enlarge.weights, needs.device, precision=enlarge.precision),
    )


def _jpeg() -> bytes:
    """Return gradients and noise in whole numbers, equal on every machine, as a JPEG file with its artefacts."""
    y, x = np.mgrid[:SIDE, :SIDE]
    noise = np.random.Generator(np.random.PCG64(7)).integers(0, 24, (SIDE, SIDE, 3))
    gradients = np.stack([(3 * x + y) % 200, (x * y // 16) % 180, (5 * y + 2 * x) % 220], axis=-1)
    data = io.BytesIO()
    Image.fromarray((gradients + noise).astype(np.uint8)).save(data, "JPEG", quality=60)
    return data.getvalue()


def _as_photo(image: UInt8[np.ndarray, "h w 3"]) -> Photo:
    ref = PhotoRef(id="canary", path="canary.jpg", size_bytes=0, version="", landmarks=LANDMARKS)
    return Photo(ref=ref, image=image)
