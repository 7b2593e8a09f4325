"""Resampling written from its definitions: one target pixel at a time, from the source pixels around it."""

import numpy as np
from PIL import Image


def tf1_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """TensorFlow 1's resize_bilinear without align_corners, (h, w, c): source = target * in / out in float32."""
    rows = _interpolated(image.astype(np.float64), _tf1_places(image.shape[0], height))
    return _interpolated(rows.swapaxes(0, 1), _tf1_places(image.shape[1], width)).swapaxes(0, 1)


def centred_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Between pixel centres, (h, w, c): source = (target + 1/2) * in / out - 1/2, not before the first pixel."""
    rows = _interpolated(image.astype(np.float64), _centred_places(image.shape[0], height))
    return _interpolated(rows.swapaxes(0, 1), _centred_places(image.shape[1], width)).swapaxes(0, 1)


def pillow_floats(image: np.ndarray, height: int, width: int, kernel: Image.Resampling) -> np.ndarray:
    """Pillow on each channel in floats, (h, w, c), clipped to 0..255 and not rounded: clean-fid's way."""
    planes = [Image.fromarray(image[..., channel].astype(np.float32)) for channel in range(image.shape[2])]
    return np.stack([np.asarray(plane.resize((width, height), kernel)) for plane in planes], -1).clip(0, 255)


def _tf1_places(before: int, after: int) -> np.ndarray:
    return np.arange(after, dtype=np.float32) * (np.float32(before) / np.float32(after))


def _centred_places(before: int, after: int) -> np.ndarray:
    return np.maximum((np.arange(after) + 0.5) * before / after - 0.5, 0)


def _interpolated(lines: np.ndarray, places: np.ndarray) -> np.ndarray:
    made = []
    for place in places:
        low = int(np.floor(place))
        high = min(low + 1, len(lines) - 1)
        part = float(place) - low
        made.append((1 - part) * lines[low] + part * lines[high])
    return np.stack(made)
