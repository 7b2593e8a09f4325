"""One tensor shard: a safetensors file with one uint8 tensor `images` of shape (n, 3, r, r).

The header is ours, byte for byte, so that equal images give equal files: the official library writes its metadata in
random order as soon as there are two keys, and needs the whole tensor in memory. Any safetensors reader reads it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8

from hqdata.shards.format import TENSOR_FORMAT, VERSION
from hqdata.shards.hashing import HashedFile

__all__ = ["DATA_ALIGNMENT", "TensorHeader", "TensorShard", "map_images", "parse_header", "read_header"]

DATA_ALIGNMENT = 4096
"""Pixels begin on a page boundary, so that a 64x64 or larger picture never shares a page with another one's start."""
LENGTH_BYTES = 8
CHANNELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorHeader:
    """What a tensor shard says of itself."""

    num_images: int
    resolution: int
    data_start: int
    """Offset of the first pixel in the file."""

    @property
    def image_bytes(self) -> int:
        """Bytes of one picture."""
        return CHANNELS * self.resolution**2

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole file."""
        return self.data_start + self.num_images * self.image_bytes


class TensorShard:
    """Writes one level's file, picture by picture, so that memory does not grow with the shard.

    Args:
        file: receives the header at once.
        num_images: pictures that will follow; it stands in the header, so it must be known.
        resolution: pixels of a picture's side.
    """

    def __init__(self, file: HashedFile, num_images: int, resolution: int) -> None:
        self._file = file
        self._resolution = resolution
        file.write(_header_bytes(num_images, resolution))

    def add(self, image: UInt8[np.ndarray, "3 r r"]) -> None:
        """Append one RGB picture of the shard's resolution.

        Raises:
            ValueError: if its shape or type differs.
        """
        expected = (CHANNELS, self._resolution, self._resolution)
        if image.shape != expected or image.dtype != np.uint8:
            raise ValueError(f"image must be uint8 {expected}, got {image.dtype} {image.shape}")
        self._file.write(np.ascontiguousarray(image).data)


def read_header(path: Path) -> TensorHeader:
    """Do as `parse_header` with a file of the disk."""
    with path.open("rb") as file:
        return parse_header(file, path.stat().st_size, path)


def parse_header(file: BinaryIO, file_bytes: int, path: Path | str) -> TensorHeader:
    """Read and check the header of a tensor shard and the file's length.

    Args:
        file: the shard, at its start.
        file_bytes: its length.
        path: its name, for messages.

    Raises:
        ValueError: if the file is cut, is no tensor shard, or has a version that this reader does not know; it names
            the file.
    """
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if LENGTH_BYTES + length > file_bytes:
        raise ValueError(f"{path}: cut off within the header; run `hqdata verify` and build this shard again")
    header = _parse(path, file.read(length))
    if header.file_bytes != file_bytes:
        raise ValueError(
            f"{path}: {file_bytes} bytes where {header.num_images} images need {header.file_bytes}; "
            "run `hqdata verify` and build this shard again"
        )
    return header


def map_images(path: Path, header: TensorHeader) -> UInt8[np.ndarray, "n 3 r r"]:
    """Return the pictures as a read-only view of the file; pages are read when they are first touched."""
    shape = (header.num_images, CHANNELS, header.resolution, header.resolution)
    return np.memmap(path, np.uint8, "r", header.data_start, shape).view(np.ndarray)


def _header_bytes(num_images: int, resolution: int) -> bytes:
    """Length, then JSON, then spaces up to the alignment, as the safetensors format allows."""
    meta = _dump({"format": TENSOR_FORMAT, "version": VERSION})
    shape = [num_images, CHANNELS, resolution, resolution]
    images = {"dtype": "U8", "shape": shape, "data_offsets": [0, num_images * CHANNELS * resolution**2]}
    header = _dump({"__metadata__": {"meta": meta}, "images": images}).encode()
    padded = header.ljust(-(-(LENGTH_BYTES + len(header)) // DATA_ALIGNMENT) * DATA_ALIGNMENT - LENGTH_BYTES)
    return len(padded).to_bytes(LENGTH_BYTES, "little") + padded


def _parse(path: Path | str, header: bytes) -> TensorHeader:
    try:
        fields = json.loads(header)
        meta = json.loads(fields["__metadata__"]["meta"])
        num_images, channels, height, width = fields["images"]["shape"]
        known = (meta["format"], meta["version"], fields["images"]["dtype"], channels, height)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no tensor shard of this project ({error!r})") from error
    expected = (TENSOR_FORMAT, VERSION, "U8", CHANNELS, width)
    if known != expected:
        raise ValueError(f"{path}: format, version, dtype, channels and height must be {expected}, got {known}")
    return TensorHeader(num_images=num_images, resolution=width, data_start=LENGTH_BYTES + len(header))


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
