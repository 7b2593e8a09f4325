"""Reads the tensors out of ncnn's model files: `.param`, text that lists the layers, and `.bin`, their values in order.

A convolution's values in `.bin`: a tag of four bytes (0x01306B47: the kernel is float16; 0: float32), the kernel padded
to four bytes, then the bias as float32. A PReLU's: its slopes as float32. Other layers that we accept have none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["Layer", "read_layers", "read_values"]

Values = Float[np.ndarray, "..."]
MAGIC = "7767517"
HALF, SINGLE = 0x01306B47, 0
WITHOUT_VALUES = {"Input", "Split", "Concat", "Eltwise", "BinaryOp", "Interp", "PixelShuffle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One line of a `.param` file."""

    kind: str
    """ncnn's name, such as "Convolution"."""
    name: str
    parameters: dict[int, str]
    """By ncnn's number: 0 outputs, 1 kernel's side, 5 has a bias, 6 kernel's values."""

    def size(self, key: int) -> int:
        """Return a parameter that counts something.

        Raises:
            ValueError: when it is missing or no positive number.
        """
        text = self.parameters.get(key, "")
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
            raise ValueError(f"layer {self.name} lacks parameter {key} as a positive number, it is {text!r}")
        return int(text)


def read_layers(text: str) -> list[Layer]:
    """Return the layers of a `.param` file in order.

    Raises:
        ValueError: when the text is not such a file.
    """
    lines = text.split("\n")
    if lines[0].strip() != MAGIC:
        raise ValueError(f"not ncnn's .param: its first line is {lines[0][:20]!r}, not {MAGIC}")
    try:
        layers = [_layer(line.split()) for line in lines[2:] if line.strip()]
        wanted = int(lines[1].split()[0])
    except (IndexError, ValueError) as error:
        raise ValueError(f"a line of ncnn's .param cannot be read: {error}") from error
    if len(layers) != wanted:
        raise ValueError(f"ncnn's .param names {wanted} layers but lists {len(layers)}; it is cut")
    return layers


def read_values(layers: list[Layer], data: bytes) -> list[Values]:
    """Return kernels (made, given, side, side), biases and slopes in the order of the layers, as the file has them.

    Raises:
        ValueError: when `data` is longer or shorter than the layers say, or a layer is of another kind.
    """
    offset, values = 0, []
    for layer in layers:
        if layer.kind == "Convolution":
            found, offset = _convolution(layer, data, offset)
            values += found
        elif layer.kind == "PReLU":
            slopes, offset = _take(data, offset, layer.size(0), np.dtype("<f4"), layer)
            values.append(slopes)
        elif layer.kind not in WITHOUT_VALUES:
            raise ValueError(f"layer {layer.name} is a {layer.kind}, which is not known here")
    if offset != len(data):
        raise ValueError(f"{len(data) - offset} of {len(data)} bytes are left over after the last layer")
    return values


def _layer(words: list[str]) -> Layer:
    """Parse `kind name inputs outputs <blobs> key=value ...`."""
    blobs = int(words[2]) + int(words[3])
    pairs = (word.split("=", 1) for word in words[4 + blobs :])
    return Layer(kind=words[0], name=words[1], parameters={int(key): value for key, value in pairs})


def _convolution(layer: Layer, data: bytes, offset: int) -> tuple[list[Values], int]:
    made, side, size = (layer.size(key) for key in (0, 1, 6))
    tag, offset = _take(data, offset, 1, np.dtype("<u4"), layer)
    kinds = {HALF: np.dtype("<f2"), SINGLE: np.dtype("<f4")}
    if int(tag[0]) not in kinds:
        raise ValueError(f"layer {layer.name} has tag {int(tag[0]):#x}; float16 and float32 are known")
    flat, offset = _take(data, offset, size, kinds[int(tag[0])], layer)
    offset += -offset % 4
    if size % (made * side**2):
        raise ValueError(f"layer {layer.name} has {size} values for {made} kernels of {side} x {side}")
    found = [flat.reshape(made, -1, side, side)]
    if layer.parameters.get(5) == "1":
        bias, offset = _take(data, offset, made, np.dtype("<f4"), layer)
        found.append(bias)
    return found, offset


def _take(data: bytes, offset: int, number: int, kind: np.dtype, layer: Layer) -> tuple[np.ndarray, int]:
    end = offset + number * kind.itemsize
    if end > len(data):
        raise ValueError(f"the values end within layer {layer.name}; the file is cut")
    return np.frombuffer(data, kind, number, offset), end
