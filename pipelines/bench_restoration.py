"""How much restoration and enlargement help, each beside its baseline: clean picture -> damage -> network -> scores.

Restoration is measured on pictures compressed once at several qualities, twice with the grid moved in between, and not
at all; enlargement on pictures made four times smaller (Pillow's bicubic filter), compressed or not, with and without
restoration before it. Scores are PSNR and SSIM on MATLAB's luma as published (on the plane itself for grey pictures),
PSNR over RGB, and the perceptual distance.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hqdata import restore, upscale
from hqdata.pixels import to_image, to_tensor
from hqdata.restore.degrade import jpeg, shrink
from hqdata.weights import Network
from metrics import matlab_luma, perceptual_distance, psnr, ssim
from metrics.perceptual import StageExtractor
from pipelines.judge_pictures import CleanPicture

__all__ = ["CEILING_DB", "FACTOR", "Case", "Contestants", "Scores", "enlarged_cases", "judge", "restored_cases"]

Image8 = UInt8[np.ndarray, "h w 3"]
Batch8 = UInt8[np.ndarray, "1 c h w"]

QUALITIES = (10, 20, 30, 40, 60, 80, 95)
SMALL_QUALITIES = (30, 50, 75)
TWICE = (10, 50)
SHIFT = 4
"""Pixels, right and down, by which the grid moves between the two compressions: half a JPEG block, the worst case."""
FACTOR = 4
BORDER = 4
"""Edge pixels that published enlargement figures leave out."""
CEILING_DB = 60.0
"""PSNR is counted up to here, an error of a quarter level: what is better cannot be seen or stored in 8 bits, and equal
pictures would otherwise be infinitely good."""
INPUT, BICUBIC = "input", "bicubic"

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestants:
    """The networks to be judged."""

    restorer: Network
    restorer_label: str
    generators: Mapping[str, Network]
    """By label; the first one counts for the worst results."""
    extractor: StageExtractor | None
    """For the perceptual distance; None leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One picture against its original."""

    psnr_y: float
    """dB on luma, or on the plane of a grey picture; at most `CEILING_DB`."""
    ssim_y: float
    psnr_rgb: float | None
    """dB over red, green and blue; None for grey pictures."""
    perceptual: float | None
    """0 is equal; None where no extractor was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One damage of one picture, and what everybody made of it."""

    task: str
    """"restoration" or "enlargement"."""
    picture: str
    damage: str
    grey: bool
    jpeg_original: bool
    """Whether the original was a JPEG before."""
    original: Image8
    results: Mapping[str, Image8]
    """By method; the first is the baseline."""
    scores: Mapping[str, Scores]
    """By method, as `results`."""
    judged: str
    """The method whose gain over the baseline counts."""

    @property
    def baseline(self) -> str:
        """The method that needs no network."""
        return next(iter(self.results))

    @property
    def gain(self) -> float:
        """Luma PSNR of the judged method above the baseline's, in dB."""
        return self.scores[self.judged].psnr_y - self.scores[self.baseline].psnr_y


def restored_cases(picture: CleanPicture, contestants: Contestants) -> Iterator[Case]:
    """Yield the picture in every compression, before and after the restorer.

    Raises:
        Refused: when the network gave NaN or infinity.
    """
    label = contestants.restorer_label
    for damage, damaged, original in _compressions(picture.image):
        restored = to_image(restore.apply(to_tensor(damaged), contestants.restorer))
        results = {INPUT: damaged, label: restored}
        yield _case(picture, contestants, "restoration", damage, original, results, judged=label)


def enlarged_cases(picture: CleanPicture, contestants: Contestants) -> Iterator[Case]:
    """Yield the picture four times smaller, enlarged by Pillow, by each generator, and by each after the restorer.

    Raises:
        Refused: when a network gave NaN or infinity.
    """
    height, width = (side - side % FACTOR for side in picture.image.shape[:2])
    original = picture.image[:height, :width]
    small = shrink(np.ascontiguousarray(original), FACTOR)
    for damage, damaged in (("clean", small), *((f"jpeg{q}", jpeg(small, q)) for q in SMALL_QUALITIES)):
        results = _enlargements(damaged, contestants)
        first = next(iter(contestants.generators))
        judged = f"{contestants.restorer_label} + {first}"
        yield _case(picture, contestants, "enlargement", damage, original, results, judged=judged)


def judge(
    image: Image8, original: Image8, *, grey: bool, border: int = 0, extractor: StageExtractor | None = None
) -> Scores:
    """Return the scores of one picture against its original.

    Args:
        image: the picture to judge.
        original: the truth, of the same shape.
        grey: whether the truth is grey; then all its planes are compared as they are, without luma's narrower range.
        border: edge pixels to leave out.
        extractor: network of the perceptual distance.
    """
    given, wanted = _batch(image, border), _batch(original, border)
    luma = _planes(given, wanted) if grey else (matlab_luma(given), matlab_luma(wanted))
    return Scores(
        psnr_y=_decibels(*luma),
        ssim_y=float(ssim(*luma, data_range=255)[0]),
        psnr_rgb=None if grey else _decibels(given, wanted),
        perceptual=None if extractor is None else float(perceptual_distance(given, wanted, extractor=extractor)[0]),
    )


def _compressions(image: Image8) -> Iterator[tuple[str, Image8, Image8]]:
    """Yield (name, damaged, original); grey pictures come back grey, as if only their plane had been compressed."""
    for quality in QUALITIES:
        yield f"jpeg{quality}", jpeg(image, quality), image
    yield "clean", image, image
    first, second = TWICE
    moved = np.ascontiguousarray(jpeg(image, first)[SHIFT:, SHIFT:])
    yield f"jpeg{first}+{second}", jpeg(moved, second), np.ascontiguousarray(image[SHIFT:, SHIFT:])


def _enlargements(small: Image8, contestants: Contestants) -> dict[str, Image8]:
    height, width = small.shape[:2]
    size = (width * FACTOR, height * FACTOR)
    results = {BICUBIC: np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))}
    given = to_tensor(small)
    restored = restore.apply(given, contestants.restorer)
    for label, generator in contestants.generators.items():
        results[label] = to_image(upscale.apply(given, generator))
        results[f"{contestants.restorer_label} + {label}"] = to_image(upscale.apply(restored, generator))
    return results


def _case(
    picture: CleanPicture,
    contestants: Contestants,
    task: str,
    damage: str,
    original: Image8,
    results: Mapping[str, Image8],
    *,
    judged: str,
) -> Case:
    border = BORDER if task == "enlargement" else 0
    scores = {
        method: judge(image, original, grey=picture.grey, border=border, extractor=contestants.extractor)
        for method, image in results.items()
    }
    case = Case(
        task=task,
        picture=picture.name,
        damage=damage,
        grey=picture.grey,
        jpeg_original=picture.jpeg_original,
        original=original,
        results=results,
        scores=scores,
        judged=judged,
    )
    _LOGGER.info("%s %s: %s %+.2f dB", picture.name, damage, judged, case.gain)
    return case


def _batch(image: Image8, border: int) -> Batch8:
    inner = slice(border, -border or None)
    return np.ascontiguousarray(image[inner, inner].transpose(2, 0, 1)[None])


def _planes(given: Batch8, wanted: Batch8) -> tuple[Batch8, Batch8]:
    """Return one plane of each where all three are equal, so that nothing is computed three times."""
    if (given == given[:, :1]).all() and (wanted == wanted[:, :1]).all():
        return given[:, :1], wanted[:, :1]
    return given, wanted


def _decibels(given: np.ndarray, wanted: np.ndarray) -> float:
    return min(CEILING_DB, float(psnr(given, wanted, data_range=255)[0]))
