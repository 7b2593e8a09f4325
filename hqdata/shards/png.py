"""The lossless picture inside a Parquet row: an 8-bit RGB PNG."""

from __future__ import annotations

import hashlib
from io import BytesIO

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["decode_png", "encode_png", "pixel_sha256"]

# Level 1 with the run-length strategy: 58 ms and 42 % of the raw size for a smooth 1024x1024 picture, where Pillow's
# level 1 takes 85 ms and 53 %.
ENCODING = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def encode_png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return the RGB picture as a PNG; equal pixels give equal bytes with one version of OpenCV."""
    return cv2.imencode(".png", image[:, :, ::-1], ENCODING)[1].tobytes()


def decode_png(png: bytes, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Return the pixels, RGB.

    Raises:
        ValueError: if `png` is damaged, is no PNG, or has other than `size` x `size` pixels of 8-bit RGB.
    """
    try:
        with Image.open(BytesIO(png), formats=["PNG"]) as picture:
            if (picture.mode, picture.size) != ("RGB", (size, size)):
                raise ValueError(f"must be {size}x{size} RGB, got {picture.width}x{picture.height} {picture.mode}")
            return np.asarray(picture)
    except (OSError, SyntaxError) as error:  # Pillow reports a broken chunk as a SyntaxError
        raise ValueError(f"is no readable PNG: {error}") from error


def pixel_sha256(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """Return the hash of the pixels' bytes, row by row, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
