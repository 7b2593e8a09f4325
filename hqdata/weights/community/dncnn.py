"""DnCNN (Zhang et al. 2017): a chain of convolutions that predicts what is wrong with a picture.

DnCNN-3, which removes JPEG artefacts, has 20 convolutions and one channel. Batch normalisation comes with files of
other trainings; its epsilon is not in a file, so it is told from names and biases, in which the implementations differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float32
from torch import Tensor, nn

from hqdata.weights.community.plan import Plan, Shapes, kernel, prefixed

__all__ = ["DnCNN", "recognise"]

IRCNN_LAYERS = 7
"""KAIR's IRCNN has as many, equally named and shaped, but dilated."""


class DnCNN(nn.Module):
    """Restore a picture at its own size: `picture - noise`.

    Args:
        layers: for each convolution, whether it has a bias and whether batch normalisation follows it.
        channels: width of every hidden layer.
        colours: channels of the picture; 1 is luma.
        epsilon: of the batch normalisation.
    """

    scale = 1
    stride = 1

    def __init__(
        self, layers: tuple[tuple[bool, bool], ...], channels: int = 64, colours: int = 1, epsilon: float = 1e-4
    ) -> None:
        super().__init__()
        self.colours, self.reach = colours, len(layers)
        widths = [colours] + [channels] * (len(layers) - 1) + [colours]
        modules: list[nn.Module] = []
        for index, (has_bias, has_norm) in enumerate(layers):
            modules.append(nn.Conv2d(widths[index], widths[index + 1], 3, padding=1, bias=has_bias))
            if has_norm:
                modules.append(nn.BatchNorm2d(widths[index + 1], eps=epsilon))
            modules.append(nn.ReLU())
        self.model = nn.Sequential(*modules[:-1])

    def forward(self, picture: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        """Return the restored pictures, both in [0, 1]."""
        return picture - self.model(picture)


def recognise(shapes: Shapes) -> Plan | None:
    """Return how to build a DnCNN from such tensors, or None when they are something else.

    Raises:
        ValueError: when it is one, but of a kind that cannot be built.
    """
    root = next((root for root in ("model", "dncnn") if f"{root}.0.weight" in shapes), None)
    if root is None or any(not name.startswith(f"{root}.") or name.count(".") != 2 for name in shapes):
        return None
    numbers = sorted({int(name.split(".")[1]) for name in shapes if name.split(".")[1].isdecimal()})
    layers = _layers(shapes, root, numbers)
    channels, given, _ = kernel(shapes, f"{root}.0.weight")
    made, _, _ = kernel(shapes, f"{root}.{numbers[-1]}.weight")
    if given != made or given not in (1, 3):
        raise ValueError(f"a chain of convolutions from {given} to {made} channels; DnCNN's are 1 to 1 or 3 to 3")
    if len(layers) == IRCNN_LAYERS:
        raise ValueError("a chain of 7 convolutions may be IRCNN, whose dilations are not in a file; use DnCNN")
    norms = " and batch normalisation" if any(norm for _, norm in layers) else ""
    epsilon = 1e-5 if root == "dncnn" and not layers[0][0] else 1e-4
    return Plan(
        title=f"DnCNN with {len(layers)} convolutions{norms}, {given} channel(s)",
        make=partial(DnCNN, layers, channels, given, epsilon),
        names=prefixed(shapes, {r"dncnn\.": "model."}),
    )


def _layers(shapes: Shapes, root: str, numbers: Sequence[int]) -> tuple[tuple[bool, bool], ...]:
    """Return (has a bias, has normalisation) of each convolution, in order."""
    convolutions = [number for number in numbers if len(shapes.get(f"{root}.{number}.weight", ())) == 4]
    return tuple(
        (f"{root}.{number}.bias" in shapes, f"{root}.{number + 1}.running_mean" in shapes) for number in convolutions
    )
