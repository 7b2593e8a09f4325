"""Four times enlargement of pictures of any size."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float32
from torch import Tensor

from hqdata.tiling import TiledPicture
from hqdata.upscale.model import UpscaleGenerator
from hqdata.weights import Builder, Network, load_network

__all__ = ["DEFAULT", "apply", "load"]

DEFAULT = "sr4-small"
ARCHITECTURES: dict[str, Builder] = {UpscaleGenerator.architecture: UpscaleGenerator}


def load(name_or_path: str | Path = DEFAULT, device: str = "cpu") -> Network:
    """Return a trained generator in eval mode; its `sha256` belongs into the run's identity.

    Args:
        name_or_path: name of shipped weights, or a `.safetensors` file.
        device: as torch names it.

    Raises:
        ValueError: when the weights are unknown, damaged or of another kind.
    """
    return load_network(name_or_path, builders=ARCHITECTURES, device=device)


def apply(
    image: Float32[Tensor, "1 3 h w"],
    network: Network,
    box: tuple[int, int, int, int] | None = None,
    *,
    anchor: tuple[int, int] = (0, 0),
) -> Float32[Tensor, "1 3 k l"]:
    """Return the four times larger picture, or a region of it without computing the rest.

    Args:
        image: float32 in [-1, 1], of any size from 1 x 1.
        network: from `load`.
        box: region (left, top, right, bottom) in the small picture's pixels; all of it when None.
        anchor: (left, top) in the small picture's pixels where a tile begins. A region equals the same part of the
            whole picture bit for bit when both have the same anchor, and to about 1e-5 otherwise.

    Returns:
        Float32, not clipped: enlarged pixels may leave [-1, 1] by a little.

    Raises:
        ValueError: when the picture's shape or type, the box or the anchor is wrong.
        hqdata.record.Refused: when the network gave NaN or infinity.
    """
    picture = TiledPicture(image, network, anchor=anchor)
    return picture.whole() if box is None else picture.region(box)
