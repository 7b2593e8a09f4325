"""Pictures one after another as a file: MP4 through OpenCV, GIF and animated PNG through Pillow, by the suffix."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hqdata.atomic import atomic_path_with_suffix

__all__ = ["SUFFIXES", "VideoError", "check_video_path", "write_video"]

SUFFIXES = (".mp4", ".gif", ".apng")
"""What can be written: small and smooth; for everywhere, in 256 colours; lossless."""
CODEC = "mp4v"
"""MPEG-4 part 2, which every build of OpenCV with FFmpeg has; its H.264 needs a library that pip's has not."""
MOST_FRAMES_A_SECOND = {".mp4": 240.0, ".gif": 50.0, ".apng": 240.0}
"""A GIF counts in hundredths of a second, and players slow down what is shown for less than two."""

LONGEST_MS = 60_000.0
"""For which one frame of a GIF or animated PNG is shown; their files count no further than some 65 seconds."""
LIMIT_BYTES = 4 * 2**30
"""Of the different frames of a GIF or animated PNG, which must all be in memory; an MP4 has no limit."""


class VideoError(RuntimeError):
    """No video can be written here; the message says what to write instead."""


def check_video_path(path: Path) -> None:
    """Refuse a file that could not be written, before hours are spent on its pictures.

    Raises:
        ValueError: when the suffix is none of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path}: a video's name must end in {', '.join(SUFFIXES)}, got {path.suffix or 'no suffix'!r}"
        )


def write_video(path: Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], *, frames_a_second: float) -> None:
    """Write frames as a video that appears whole or not at all; GIFs and animated PNGs repeat for ever.

    Args:
        path: its suffix chooses the format.
        frames: RGB, all of one size; for MP4 an odd side is lengthened by one pixel, which repeats the last.
        frames_a_second: a GIF shows each frame for a whole number of hundredths of a second, the nearest.

    Raises:
        ValueError: for another suffix, no frame, frames of several sizes, a speed that the format has not, or too
            many pixels for a GIF or animated PNG.
        VideoError: when this machine's OpenCV has no MP4 encoder.
    """
    check_video_path(path)
    kind = path.suffix.lower()
    if not 0 < frames_a_second <= MOST_FRAMES_A_SECOND[kind]:
        most = MOST_FRAMES_A_SECOND[kind]
        raise ValueError(f"frames_a_second must be above 0 and at most {most:g} for {kind}, got {frames_a_second}")
    checked = _checked(path, frames)
    write = _write_mp4 if kind == ".mp4" else _write_pillow
    with atomic_path_with_suffix(path) as temporary:
        write(temporary, checked, frames_a_second)


def _checked(path: Path, frames: Iterable[np.ndarray]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    several = iter(frames)
    first = next(several, None)
    if first is None:
        raise ValueError(f"{path}: a video needs at least one frame")
    return _alike(path, itertools.chain([first], several), first.shape)


def _alike(path: Path, frames: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    for number, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
            raise ValueError(
                f"{path}: frame {number} must be uint8 of shape (h, w, 3) as the first, got {frame.dtype} of shape"
                f" {frame.shape} after {shape}"
            )
        yield frame


def _write_mp4(path: Path, frames: Iterator[np.ndarray], frames_a_second: float) -> None:
    writer = None
    try:
        for frame in frames:
            even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            writer = writer or _open_mp4(path, even.shape[1], even.shape[0], frames_a_second)
            writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
    finally:
        if writer is not None:
            writer.release()


def _open_mp4(path: Path, width: int, height: int, frames_a_second: float) -> cv2.VideoWriter:
    code = cv2.VideoWriter.fourcc(*CODEC)
    writer = cv2.VideoWriter(str(path), code, frames_a_second, (width, height))
    if not writer.isOpened():
        raise VideoError(
            f"OpenCV {cv2.__version__} here cannot write MP4 of {width} x {height} pixels with its codec {CODEC};"
            " write .gif or .apng, or install opencv-python with FFmpeg"
        )
    return writer


def _write_pillow(path: Path, frames: Iterator[np.ndarray], frames_a_second: float) -> None:
    if path.suffix.lower() == ".gif":
        kind, frame_ms, options = "GIF", round(100 / frames_a_second) * 10, {"optimize": False}
    else:
        kind, frame_ms, options = "PNG", 1000 / frames_a_second, {}
    durations: list[float] = []
    first, *rest = _held(path, _told_apart(frames, frame_ms, durations))  # Pillow keeps all until the last is written
    first.save(path, kind, save_all=True, append_images=rest, loop=0, duration=durations, **options)


def _told_apart(frames: Iterator[np.ndarray], frame_ms: float, durations: list[float]) -> Iterator[np.ndarray]:
    """Yield frames without those that equal the one before, and note how long each is shown: Pillow encodes slowly."""
    shown = None
    for frame in frames:
        if shown is not None and durations[-1] < LONGEST_MS and np.array_equal(frame, shown):
            durations[-1] += frame_ms
            continue
        durations.append(frame_ms)
        shown = frame
        yield frame


def _held(path: Path, frames: Iterator[np.ndarray]) -> Iterator[Image.Image]:
    held = 0
    for frame in frames:
        held += frame.nbytes
        if held > LIMIT_BYTES:
            raise ValueError(
                f"frames of more than {LIMIT_BYTES // 2**30} GiB in all must lie in memory to be written as"
                f" {path.suffix}; write .mp4, or fewer or smaller ones"
            )
        yield Image.fromarray(frame)
