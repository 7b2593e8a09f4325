"""MS-SSIM beside pytorch-msssim, and both beside the definition in float64."""

from collections.abc import Iterator

import numpy as np
import torch
from metric_sections.measure import Row, compare
from oracles import multiscale as oracle
from PIL import Image
from pytorch_msssim import ms_ssim as theirs_ms_ssim
from skimage import data

from metrics.multiscale import ms_ssim, ms_ssim_progan

PEER = "pytorch-msssim"


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield 16 pairs of every size where others go wrong, and ProGAN's variant at 128 px."""
    for side in (256, 161) if quick else (256, 161, 182, 193, 255):
        yield _size(side, turns=1 if quick else 5)
    images = np.repeat(photos(128), 64, axis=0)
    spoilt = noisy(images)
    yield compare(
        f"MS-SSIM of ProGAN, {len(images)} pairs of 128 px",
        ours=lambda: ms_ssim_progan(images, spoilt),
        theirs=None,
        turns=1 if quick else 5,
    )


def _size(side: int, *, turns: int) -> Row:
    images = np.repeat(photos(side), 4, axis=0)
    spoilt = noisy(images)
    pair = torch.from_numpy(images).float(), torch.from_numpy(spoilt).float()

    def theirs() -> torch.Tensor:
        with torch.no_grad():
            return theirs_ms_ssim(*pair, data_range=255, size_average=False)

    known = np.array([oracle.wang(*both) for both in zip(images[::4], spoilt[::4], strict=True)])
    mine, other = np.abs(ms_ssim(images, spoilt)[::4].numpy() - known), np.abs(theirs()[::4].numpy() - known)
    return compare(
        f"MS-SSIM, {len(images)} pairs of {side} px",
        ours=lambda: ms_ssim(images, spoilt),
        theirs=theirs,
        whose=PEER,
        turns=turns,
        note=f"error {mine.max():.0e}, theirs {other.max():.0e}",
    )


def photos(side: int) -> np.ndarray:
    """Return uint8 (4, 3, side, side)."""
    four = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    small = [np.asarray(Image.fromarray(photo).resize((side, side), Image.Resampling.LANCZOS)) for photo in four]
    return np.stack(small).transpose(0, 3, 1, 2).copy()


def noisy(images: np.ndarray) -> np.ndarray:
    """Return the pictures with normal noise of 25 grey levels."""
    levels = images + np.random.RandomState(0).randn(*images.shape) * 25
    return np.clip(np.round(levels), 0, 255).astype(np.uint8)
