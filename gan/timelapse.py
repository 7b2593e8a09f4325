"""A training made visible: its sheets of samples one after another, each with what the schedule was doing then.

What is written under a sheet comes from the training's own configuration and from the images in the sheet's name, so a
training that was killed, resumed or rolled back is shown as it went; its log only adds the hours.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from gan.config import GanConfig, gan_config_from_dict
from gan.schedule import Phase
from hqdata.png import decode_png
from hqdata.training.identity import RUN_FILE
from hqdata.training.runlog import read_log

__all__ = ["Sample", "find_samples", "time_lapse"]

LEAST_WIDTH, MOST_WIDTH, MOST_HEIGHT = 480, 1920, 1080
"""Of a frame's pictures in pixels; sheets are enlarged or reduced until they fit."""
STRIP_SHARE = 14
"""The strip below is this part of the width high, at least `LEAST_STRIP`."""
LEAST_STRIP = 36
INK, DIM, PAPER = (235, 235, 235), (90, 90, 90), (20, 20, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sheet of a training."""

    path: Path
    images: int
    """Real pictures that had been shown."""
    phase: Phase
    """What held then."""
    seconds: float | None
    """Of training until then; None where the log does not say."""

    @property
    def caption(self) -> str:
        """What stands below the sheet."""
        growth = f"fade {self.phase.fade:.2f}" if self.phase.fade < 1 else "stable"
        hours = "" if self.seconds is None else f"   {self.seconds / 3600:.2f} h"
        return f"{self.images / 1000:.1f} kimg   {self.phase.resolution} px   {growth}{hours}"


def find_samples(run: Path) -> list[Sample]:
    """Return a training's sheets in their order.

    Raises:
        ValueError: when the folder is no training's, holds no sheet yet, or its log is damaged; the message names it.
    """
    config = _config(run)
    log = {line["images"]: line.get("seconds") for line in read_log(run / "runlog.jsonl")}
    shown = sorted((int(path.stem), path) for path in (run / "samples").glob("*.png") if path.stem.isdecimal())
    if not shown:
        raise ValueError(f"{run}: has no sheets in samples/ yet; the first comes at the training's first tick")
    return [
        Sample(path=path, images=images, phase=config.phase(images), seconds=log.get(images)) for images, path in shown
    ]


def time_lapse(
    run: Path, *, seconds: float = 20.0, frames_a_second: float = 30.0, warp: float = 1.5
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames of a training's film, all of one size.

    Args:
        run: the training's folder.
        seconds: length of the film; every frame is a sheet as it was saved, held until the next one's time.
        frames_a_second: of the film.
        warp: the film reaches the share t^warp of the images at the share t of its time, so above 1 it lingers on the
            beginning, where pictures change most.

    Raises:
        ValueError: when the folder is no training's, holds no sheet, or one is damaged or of another size.
    """
    if not (seconds > 0 and frames_a_second > 0 and warp > 0):
        raise ValueError(
            f"seconds, frames_a_second and warp must be positive, got {seconds}, {frames_a_second}, {warp}"
        )
    samples = find_samples(run)
    count = max(2, round(seconds * frames_a_second))
    first, last = samples[0].images, samples[-1].images
    times = [first + (last - first) * (frame / (count - 1)) ** warp for frame in range(count)]
    places = [bisect.bisect_right([sample.images for sample in samples], time) - 1 for time in times]
    places[-1] = len(samples) - 1  # where rounding fell short of it
    return _frames(samples, places)


def _frames(samples: list[Sample], places: list[int]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    shape, shown, frame = None, -1, np.empty(0)
    for place in places:
        if place != shown:
            sheet = _read_sheet(samples[place].path)
            if shape is not None and sheet.shape != shape:
                raise ValueError(
                    f"{samples[place].path}: has {sheet.shape[1]} x {sheet.shape[0]} pixels, the sheets before it"
                    f" {shape[1]} x {shape[0]}; move it out of the folder"
                )
            shape, shown = sheet.shape, place
            frame = _with_strip(_fitted(sheet), samples[place], samples[place].images / samples[-1].images)
        yield frame


def _read_sheet(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return decode_png(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}; remove it to leave it out of the film") from error


def _fitted(sheet: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "i j 3"]:
    height, width = sheet.shape[:2]
    shrunk = min(1.0, MOST_WIDTH / width, MOST_HEIGHT / height)
    if shrunk < 1:
        size = (max(1, round(width * shrunk)), max(1, round(height * shrunk)))
        return np.asarray(cv2.resize(sheet, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    times = max(1, min(-(-LEAST_WIDTH // width), MOST_HEIGHT // height))
    return sheet.repeat(times, axis=0).repeat(times, axis=1)


def _with_strip(sheet: UInt8[np.ndarray, "h w 3"], sample: Sample, share: float) -> UInt8[np.ndarray, "i w 3"]:
    """Return the sheet with its caption and a bar of the training's progress below; both sides even."""
    width = sheet.shape[1]
    height = max(LEAST_STRIP, width // STRIP_SHARE)
    height += (sheet.shape[0] + height) % 2
    strip = np.full((height, width, 3), PAPER, dtype=np.uint8)
    bar = max(2, height // 12)
    strip[:bar] = DIM
    strip[:bar, : round(share * width)] = INK
    (across, _), _ = cv2.getTextSize(sample.caption, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 1)
    scale = min(height / 48, (width - height) / across)
    place = (height // 2, height // 2 + bar + round(scale * 6))
    cv2.putText(strip, sample.caption, place, cv2.FONT_HERSHEY_SIMPLEX, scale, INK, max(1, round(scale)), cv2.LINE_AA)
    return np.vstack([sheet, strip])


def _config(run: Path) -> GanConfig:
    file = run / RUN_FILE
    try:
        return gan_config_from_dict(json.loads(file.read_text(encoding="utf-8"))["identity"]["config"])
    except OSError as error:
        raise ValueError(
            f"{run}: has no {RUN_FILE}, so it is no training; give the folder of `hqdata train`"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: is not that of a GAN's training ({error})") from error
