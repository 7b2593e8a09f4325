"""Reading pictures: our sources beside a plain loop of Pillow and numpy, in CPU seconds of all threads."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from measure import Row, compare
from PIL import Image
from scipy import ndimage

from metrics.sources import open_source

BATCH = 32


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield decoding of PNG and JPEG folders, resizing, and fingerprints."""
    count, side = (48, 128) if quick else (400, 256)
    with tempfile.TemporaryDirectory() as place:
        for kind in ("png", "jpg"):
            folder = _written(Path(place) / kind, kind, count, side)
            yield _decoding(folder, kind, count, side)
        yield _resizing(folder, count, side)
        yield _fingerprint(folder, count)


def _decoding(folder: Path, kind: str, count: int, side: int) -> Row:
    assert np.array_equal(_ours(folder), _plain(folder))
    start = time.perf_counter()
    _ours(folder)
    speed = count / (time.perf_counter() - start)
    return compare(
        f"decode {count} {kind} of {side} px",
        ours=lambda: _ours(folder),
        theirs=lambda: _plain(folder),
        whose="Pillow loop",
        note=f"equal pixels; hashes, facts and order included; {speed:.0f} img/s by the wall",
    )


def _resizing(folder: Path, count: int, side: int) -> Row:
    images = torch.from_numpy(_plain(folder))
    wanted = side * 3 // 4
    theirs = np.stack([_pillow_bicubic(image, wanted) for image in images.numpy()[:8]])
    ours = next(open_source(images, size=wanted).batches(8)).images.numpy()
    return compare(
        f"resize {count} pictures from {side} to {wanted} px",
        ours=lambda: [batch.first_index for batch in open_source(images, size=wanted).batches(BATCH)],
        theirs=lambda: [_pillow_bicubic(image, wanted) for image in images.numpy()],
        whose="Pillow, float32 channels",
        note=f"greatest difference {np.abs(ours - theirs.clip(0, 255)).max():.3f} of 255, of which 0.5 is rounding",
    )


def _fingerprint(folder: Path, count: int) -> Row:
    size = sum(path.stat().st_size for path in folder.iterdir())
    row = compare(
        f"fingerprint and facts of {count} files", ours=lambda: open_source(folder).fingerprint(), theirs=None
    )
    note = f"{size / 2**20 / row.ours_s:.0f} MiB/s, {count / row.ours_s:.0f} files/s"
    return Row(what=row.what, ours_s=row.ours_s, theirs="", theirs_s=None, ratio=None, note=note)


def _written(folder: Path, kind: str, count: int, side: int) -> Path:
    """Write smooth noise, which compresses like photos do."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        noise = rng.standard_normal((side, side, 3))
        smooth = 0.7 * ndimage.gaussian_filter(noise, (8, 8, 0)) * 20 + 0.3 * ndimage.gaussian_filter(noise, (1, 1, 0))
        image = np.clip(128 + 60 * smooth, 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:05d}.{kind}", **({"quality": 95} if kind == "jpg" else {}))
    return folder


def _ours(folder: Path) -> np.ndarray:
    return np.concatenate([batch.images.numpy() for batch in open_source(folder).batches(BATCH)])


def _plain(folder: Path) -> np.ndarray:
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())]
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def _pillow_bicubic(image: np.ndarray, side: int) -> np.ndarray:
    channels = [Image.fromarray(channel.astype(np.float32)) for channel in image]
    return np.stack([np.asarray(channel.resize((side, side), Image.Resampling.BICUBIC)) for channel in channels])
