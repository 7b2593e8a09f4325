"""SRVGGNetCompact (Real-ESRGAN's small networks, Wang et al. 2021): plain convolutions, then one pixel shuffle."""

from __future__ import annotations

import math
from functools import partial

from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from hqdata.weights.community.plan import Plan, Shapes, count, kernel

__all__ = ["SRVGGNetCompact", "recognise"]


class SRVGGNetCompact(nn.Module):
    """Enlarge a picture: its pixels repeated, plus detail.

    Args:
        channels: width of every hidden layer.
        convolutions: between the first and the last one.
        scale: output pixels per input pixel along each axis.
    """

    colours = 3
    stride = 1

    def __init__(self, channels: int = 64, convolutions: int = 16, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(self.colours, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, self.colours * scale**2, 3, padding=1))

    @property
    def reach(self) -> int:
        """How many input pixels away an input pixel can be and still change the output pixels of this one."""
        return len(self.body) // 2 + 1

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 k*h k*w"]:
        """Return the enlarged pictures, both in [0, 1]."""
        detail = functional.pixel_shuffle(self.body(picture), self.scale)
        return detail + functional.interpolate(picture, scale_factor=self.scale, mode="nearest")


def recognise(shapes: Shapes) -> Plan | None:
    """Return how to build an SRVGGNetCompact from such tensors, or None when they are something else.

    Raises:
        ValueError: when it is one, but of a kind that cannot be built.
    """
    if len(shapes.get("body.0.weight", ())) != 4 or any(len(name.split(".")) != 3 for name in shapes):
        return None
    if "body.1.weight" not in shapes:
        raise ValueError("SRVGGNetCompact without PReLU: whether it has ReLU or leaky ReLU cannot be told from a file")
    channels, given, _ = kernel(shapes, "body.0.weight")
    layers = count(shapes, r"body\.(\d+)\.")
    made, _, _ = kernel(shapes, f"body.{layers - 1}.weight")
    scale = math.isqrt(made // 3)
    if given != 3 or made != 3 * scale**2 or not scale:
        raise ValueError(f"SRVGGNetCompact makes {made} channels from {given}; 3 and 3 times a square are known")
    convolutions = (layers - 3) // 2
    return Plan(
        title=f"SRVGGNetCompact x{scale} with {convolutions} inner convolutions of {channels} channels",
        make=partial(SRVGGNetCompact, channels, convolutions, scale),
        names={name: name for name in shapes},
    )
