"""Samplers behind the one-pass crops: enlarge by a power of two, sample a square, with the reference's low-pass.

The reference enlarges with Lanczos, samples bilinearly at four times the output's size and reduces with Lanczos. The
samplers here give the same response from one or four samples per output pixel instead of sixteen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

__all__ = ["Affine", "Pixels", "denser", "enlarge", "equalise", "lanczos", "sample", "sample_reduced"]

Affine = Float64[np.ndarray, "2 3"]
"""Maps an output pixel's index (x, y, 1) to an index in the sampled picture; integers are pixel centres."""
Pixels = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w 3"]

LOBES = 3
REFERENCE_SAMPLES = 4
"""The reference's samples per output pixel and axis."""
EQUALISER_REACH = 5
SMOOTHING_REACH = 3
ONE = np.ones(1, np.float32)


def lanczos(x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Return the three-lobed Lanczos window at distances `x`."""
    return np.where(np.abs(x) < LOBES, np.sinc(x) * np.sinc(x / LOBES), 0.0)


def enlarge(picture: Pixels, factor: int) -> Pixels:
    """Return `picture` enlarged `factor` times with Lanczos; each axis is rounded and clipped as Pillow does it.

    Every phase of the enlarged picture is one small filter of the original, which takes half of Pillow's time. The
    kernel is cut off and normalised at the frame. Floats are not rounded, only clipped to 0..255.
    """
    if factor == 1:
        return picture
    height, width = picture.shape[:2]
    wide = np.empty((height, width, factor, 3), picture.dtype)
    for phase, taps in enumerate(_enlarging_taps(factor)):
        wide[:, :, phase] = cv2.sepFilter2D(picture, -1, taps, ONE, borderType=cv2.BORDER_REPLICATE)
    wide = wide.reshape(height, width * factor, 3)
    _mend_frame(wide, picture, factor)
    tall = np.empty((height, factor, width * factor, 3), picture.dtype)
    for phase, taps in enumerate(_enlarging_taps(factor)):
        tall[:, phase] = cv2.sepFilter2D(wide, -1, ONE, taps, borderType=cv2.BORDER_REPLICATE)
    tall = tall.reshape(height * factor, width * factor, 3)
    _mend_frame(tall.swapaxes(0, 1), wide.swapaxes(0, 1), factor)
    return tall


def sample(picture: Pixels, grid: Affine, size: int, cubic: bool = False) -> Pixels:
    """Return (size, size, 3) samples of `picture`, mirrored about its outermost pixels where the grid leaves it."""
    interpolation = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, grid, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def equalise(crop: Float32[np.ndarray, "n n 3"]) -> Float32[np.ndarray, "n n 3"]:
    """Return a crop of one sample per pixel with the response of the reference's last reduction up to Nyquist."""
    taps = _equaliser()
    return cv2.sepFilter2D(crop, -1, taps, taps, borderType=cv2.BORDER_REPLICATE)


def sample_reduced(picture: Pixels, grid: Affine, size: int, sharp: bool = False) -> Float32[np.ndarray, "n n 3"]:
    """Return the square sampled twice per output pixel and axis and reduced with Lanczos.

    The doubled grid is split into its four phases, so that the reduction is a sum of four small filters. Above two
    pixels per output pixel the picture is smoothed first, against aliasing, and the reduction undoes that; a `sharp`
    picture, one that was itself reduced before, is sampled four times per axis instead.
    """
    step = float(np.hypot(grid[0, 0], grid[1, 0]))
    smoothing = 0.0 if sharp else _smoothing(step)
    if smoothing:
        taps = np.array([smoothing, 1 - 2 * smoothing, smoothing], np.float32)
        picture = cv2.sepFilter2D(picture, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101)
    samples = sample(picture, denser(grid, 4 if sharp else 2), (4 if sharp else 2) * size)
    if sharp:
        samples = cv2.resize(samples, (2 * size, 2 * size), interpolation=cv2.INTER_AREA)
    first, second = _reducing_taps(smoothing, round(step, 3), sharp)
    total = np.zeros((size, size, 3), np.float32)
    for rows, y_taps in ((samples[0::2], first), (samples[1::2], second)):
        for columns, x_taps in zip(_split_columns(rows), (first, second), strict=True):
            reduced = cv2.sepFilter2D(columns, cv2.CV_32F, x_taps, y_taps, borderType=cv2.BORDER_CONSTANT)
            cv2.add(total, reduced, dst=total)
    return _normalise_edges(total, _edge_weights(first + second, size))


def shifted(grid: Affine, x: float, y: float) -> Affine:
    """Return the grid whose pixel (0, 0) is `grid`'s (x, y)."""
    moved = grid.copy()
    moved[:, 2] += grid[:, :2] @ [x, y]
    return moved


def denser(grid: Affine, factor: int) -> Affine:
    """Return the grid that puts `factor` samples per axis where `grid` has one."""
    dense = shifted(grid, 0.5 / factor - 0.5, 0.5 / factor - 0.5)
    dense[:, :2] /= factor
    return dense


def _split_columns(rows: Pixels) -> tuple[Pixels, Pixels]:
    """The even and the odd columns; OpenCV's channel copy takes a third of the time of a strided one."""
    height, width = rows.shape[0], rows.shape[1] // 2
    even, odd = np.empty((height, width, 3), rows.dtype), np.empty((height, width, 3), rows.dtype)
    pairs = rows.reshape(height, width, 6)
    cv2.mixChannels(
        [pairs], [even, odd], [channel for pair in zip(range(6), range(6), strict=True) for channel in pair]
    )
    return even, odd


def _mend_frame(wide: Pixels, picture: Pixels, factor: int) -> None:
    """Clip, and redo the first and last columns, where the kernel reaches over the frame."""
    reach = min(2 * LOBES, picture.shape[1])
    weights = _frame_weights(factor, reach)
    changed = weights.shape[0] // 2
    near = (picture[:, :reach], picture[:, picture.shape[1] - reach :])
    first, last = weights[:changed] @ near[0].astype(np.float32), weights[changed:] @ near[1].astype(np.float32)
    if picture.dtype == np.uint8:
        first, last = np.clip(np.rint(first), 0, 255), np.clip(np.rint(last), 0, 255)
    wide[:, :changed] = first
    wide[:, wide.shape[1] - (weights.shape[0] - changed) :] = last
    if wide.dtype != np.uint8:
        np.clip(wide, 0, 255, out=wide)


def _normalise_edges(crop: Float32[np.ndarray, "n n 3"], weights: Float32[np.ndarray, " n"]) -> np.ndarray:
    edge = np.flatnonzero(weights != 1)
    crop[edge] /= weights[edge, None, None]
    crop[:, edge] /= weights[edge, None]
    return crop


@lru_cache(maxsize=16)
def _enlarging_taps(factor: int) -> list[Float32[np.ndarray, " 7"]]:
    distances = np.arange(-LOBES, LOBES + 1.0)
    centres = (np.arange(factor) + 0.5) / factor - 0.5
    rows = [lanczos(distances - centre) for centre in centres]
    return [(row / row.sum()).astype(np.float32) for row in rows]


@lru_cache(maxsize=32)
def _frame_weights(factor: int, length: int) -> Float32[np.ndarray, "n length"]:
    """The kernel at each of the enlarged samples of `length` samples, normalised over those."""
    centres = (np.arange(factor * length) + 0.5) / factor - 0.5
    weights = lanczos(np.arange(length) - centres[:, None])
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=1)
def _equaliser() -> Float32[np.ndarray, " 11"]:
    def response(frequency: np.ndarray) -> np.ndarray:
        """Of the reference's reduction, in cycles per output pixel."""
        distances = (np.arange(2 * LOBES * REFERENCE_SAMPLES) + 0.5) / REFERENCE_SAMPLES - LOBES
        weights = lanczos(distances)
        return np.cos(2 * np.pi * frequency[:, None] * distances) @ (weights / weights.sum())

    return _fitted(response, highest=0.5, reach=EQUALISER_REACH).astype(np.float32)


def _smoothing(step: float) -> float:
    """Weight a of the smoothing filter [a, 1 - 2a, a]; least loss against the reference on sharp photos."""
    return float(np.clip(0.35 * (step - 1.9), 0.0, 0.25)) if step > 2 else 0.0


@lru_cache(maxsize=64)
def _reducing_taps(smoothing: float, step: float, averaged: bool) -> tuple[np.ndarray, np.ndarray]:
    """Taps that reduce two to one, for the even and the odd samples, centred on the output's pixel.

    They also undo what came before: smoothing of a picture with `step` pixels per output pixel, or averaging of pairs.
    """

    def loss(frequency: np.ndarray) -> np.ndarray:
        """Response of what came before, in cycles per sample, of which there are two per output pixel."""
        if averaged:
            return np.cos(np.pi * frequency / 2)
        return 1 - 2 * smoothing * (1 - np.cos(2 * np.pi * frequency * 2 / step))

    half = LOBES * 2
    kernel = lanczos((np.arange(2 * half) + 0.5 - half) / 2)
    if smoothing or averaged:
        kernel = np.convolve(kernel, _fitted(lambda f: 1 / loss(f), highest=0.3, reach=SMOOTHING_REACH))
    kernel /= kernel.sum()
    offsets = np.arange(kernel.size) - (kernel.size // 2 - 1)
    reach = kernel.size // 4
    taps = np.zeros((2, 2 * reach + 1))
    taps[offsets % 2, offsets // 2 + reach] = kernel
    return taps[0].astype(np.float32), taps[1].astype(np.float32)


def _edge_weights(taps: Float32[np.ndarray, " n"], size: int) -> Float32[np.ndarray, " size"]:
    """The part of the kernel that lies within the crop, for each of its rows."""
    reach = taps.size // 2
    weights = np.convolve(np.ones(size), taps[::-1].astype(np.float64), mode="full")[reach : reach + size]
    weights[reach : max(size - reach, reach)] = 1
    return weights.astype(np.float32)


def _fitted(response: Callable[[np.ndarray], np.ndarray], *, highest: float, reach: int) -> Float64[np.ndarray, " n"]:
    """Symmetric taps whose frequency response is nearest to `response` from 0 to `highest`, low ones counting most."""
    frequency = np.linspace(0, highest, 200)
    waves = 2 * np.cos(2 * np.pi * frequency[:, None] * np.arange(reach + 1))
    waves[:, 0] = 1
    weight = 1 / (frequency + 0.05)
    half = np.linalg.lstsq(waves * weight[:, None], response(frequency) * weight, rcond=None)[0]
    taps = np.concatenate([half[:0:-1], half])
    return taps / taps.sum()
