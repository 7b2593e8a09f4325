"""Where the package `spandrel` is installed, the architectures that it knows and we do not.

It says no receptive field, so that is found by changing pixels of a picture. An architecture that looks further than
the picture's edge, as transformers do, cannot be computed tile by tile and is refused.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["build_with_spandrel", "measured_reach"]

PROBE_SIDE = 192
"""Side of the picture whose pixels are changed; the reach must be less than half."""


def build_with_spandrel(path: Path, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, str] | None:
    """Return the module in [0, 1] and what it is; None where spandrel is missing or does not know the tensors.

    Raises:
        ValueError: when the architecture cannot be computed tile by tile, or spandrel stumbles over the tensors.
    """
    try:
        spandrel = importlib.import_module("spandrel")
    except (ImportError, RuntimeError, OSError):  # it needs a torchvision that fits the torch
        return None
    try:
        model = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(tensors))
    except spandrel.UnsupportedModelError:
        return None
    except Exception as error:  # its recognisers trust names and shapes, which a file may make up
        raise ValueError(f"{path}: spandrel cannot build it ({type(error).__name__}: {error!s:.200})") from error
    title = f"{model.architecture.name} x{model.scale} (by spandrel)"
    if model.input_channels not in (1, 3) or model.input_channels != model.output_channels:
        raise ValueError(f"{path}: {title} has {model.input_channels} channels; 1 or 3 are needed")
    if model.input_channels == 1 and model.scale != 1:
        raise ValueError(f"{path}: {title} enlarges luma alone; one that enlarges colour pictures is needed")
    try:
        return _Described(model), title
    except ValueError as error:
        raise ValueError(f"{path}: {title} {error}") from error


def measured_reach(module: nn.Module, *, scale: int, stride: int, colours: int) -> int:
    """Return how far a changed pixel changes the result of a noise picture, rounded up to the stride.

    Raises:
        ValueError: when it changes the result up to the picture's edge.
    """
    side = PROBE_SIDE // stride * stride
    picture = torch.rand((1, colours, side, side), generator=torch.Generator().manual_seed(0))
    changed = picture.clone()
    centre = side // 2
    changed[:, :, centre : centre + stride, centre : centre + stride] = 1.0 - picture[:, :, centre, centre, None, None]
    with torch.inference_mode():
        difference = (module(changed) - module(picture)).abs().amax(dim=(0, 1))
    rows, columns = torch.nonzero(difference, as_tuple=True)
    if not len(rows):
        return 0
    places = torch.cat([rows, columns]) // scale
    reach = max(centre - int(places.min()), int(places.max()) - (centre + stride - 1), 0)
    if reach + stride >= side // 2:
        raise ValueError(f"reaches {reach} pixels or more, too far to be computed tile by tile")
    return -(-reach // stride) * stride + stride


class _Described(nn.Module):
    """A network that spandrel built, with what the engine needs to know of it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: nn.Module = model.model.eval()
        self.scale, self.colours = int(model.scale), int(model.input_channels)
        needs = model.size_requirements
        self.stride = max(1, int(needs.multiple_of or 1))
        self.smallest = -(-int(needs.minimum or 0) // self.stride) * self.stride
        self.square = bool(needs.square)
        self.reach = measured_reach(self.model, scale=self.scale, stride=self.stride, colours=self.colours)

    def forward(self, picture: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c k*h k*w"]:
        """Return the result; a picture smaller than the network takes, or not square, is continued by its edge."""
        height, width = picture.shape[2:]
        rows, columns = max(height, self.smallest), max(width, self.smallest)
        if self.square:
            rows = columns = max(rows, columns)
        continued = functional.pad(picture, (0, columns - width, 0, rows - height), mode="replicate")
        return self.model(continued)[:, :, : height * self.scale, : width * self.scale]
