"""The 4x generator (an SRResNet after Ledig et al. 2017, without batch normalisation) and its discriminator.

The generator adds detail to a bicubic enlargement, and starts as that enlargement. The discriminator judges
overlapping patches and has spectral normalisation in every layer (Miyato et al. 2018).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float32, Float64
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from hqdata.layers import ResidualPair, flatness_gate, local_mean

__all__ = ["PatchDiscriminator", "UpscaleGenerator"]

START_SCALE = 0.1
"""Factor on the initial second convolution of each pair, so that a deep stack starts close to the identity."""
SLOPE = 0.2
NEIGHBOURS = 5
"""Side of the square over which a picture is judged flat."""


class UpscaleGenerator(nn.Module):
    """Enlarge a picture four times: `bicubic enlargement + detail`.

    Args:
        channels: width of every hidden layer.
        pairs: residual pairs.
    """

    architecture = "upscale-generator"
    """The name that weights files give."""
    scale = 4
    stride = 1
    """Tiles may start on any pixel."""

    def __init__(self, channels: int = 48, pairs: int = 8) -> None:
        super().__init__()
        self.channels, self.pairs = channels, pairs
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.head_activation = nn.PReLU(channels)
        self.body = nn.Sequential(*(ResidualPair(channels, start_scale=START_SCALE) for _ in range(pairs)))
        self.merge = nn.Conv2d(channels, channels, 3, padding=1)
        self.merge_activation = nn.PReLU(channels)
        self.tail = nn.Conv2d(channels, 3 * self.scale**2, 3, padding=1, bias=False)
        nn.init.zeros_(self.tail.weight)
        self.plain = _Bicubic(self.scale)

    @property
    def reach(self) -> int:
        """How many input pixels away an input pixel can be and still change the output pixels of this one."""
        return 3 + 2 * len(self.body)

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 4*h 4*w"]:
        """Return the enlarged pictures, in [-1, 1] as far as the input is."""
        shallow = self.head_activation(self.head(picture))
        deep = self.merge_activation(shallow + self.merge(self.body(shallow)))
        gate = flatness_gate(picture - local_mean(picture, NEIGHBOURS), NEIGHBOURS)
        return self.plain(picture) + functional.pixel_shuffle(gate * self.tail(deep), self.scale)


class PatchDiscriminator(nn.Module):
    """Score overlapping patches of a picture: one number per 8 x 8 pixels, higher for photos than for generated ones.

    Args:
        channels: width of the first layer; doubled at each halving.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        widths = [3, channels, 2 * channels, 4 * channels]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [spectral_norm(nn.Conv2d(narrow, wide, 4, stride=2, padding=1)), nn.LeakyReLU(SLOPE)]
        layers.append(spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 1 h/8 w/8"]:
        """Return a score for each patch, unbounded."""
        return self.layers(picture)


class _Bicubic(nn.Module):
    """Bicubic enlargement (Keys 1981, a = -1/2) as one convolution.

    A convolution, because torch's own interpolation gives other bits for another number of threads.
    """

    kernels: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        centres = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
        taps = _keys_cubic(torch.arange(-2, 3) - centres[:, None])
        kernels = torch.einsum("ay,bx->abyx", taps, taps).reshape(scale**2, 1, 5, 5)
        self.register_buffer("kernels", kernels.repeat(3, 1, 1, 1).float(), persistent=False)

    def forward(self, picture: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n 3 4*h 4*w"]:
        continued = functional.pad(picture, (2, 2, 2, 2), mode="replicate")
        with torch.autocast(picture.device.type, enabled=False):  # bfloat16 would round to half a grey level
            return functional.pixel_shuffle(functional.conv2d(continued, self.kernels, groups=3), self.scale)


def _keys_cubic(distance: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """Return the kernel's weight at a distance in pixels: Keys 1981, equation 15."""
    away = distance.abs()
    near = (1.5 * away - 2.5) * away**2 + 1.0
    far = ((-0.5 * away + 2.5) * away - 4.0) * away + 2.0
    return torch.where(away <= 1, near, torch.where(away < 2, far, torch.zeros_like(away)))
