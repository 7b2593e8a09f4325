"""SqueezeNet 1.1 (Iandola et al. 2016; the revision of its authors), for inference.

Attribute names follow the shipped weights' keys, with a dot where those have a slash.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FEATURES", "LOGITS", "STAGES", "SqueezeNet"]

FEATURES = 512
LOGITS = 1000
FIRST = 64
FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
"""Channels of each fire module: squeezed, and of either expansion."""
STAGES = ((), (2, 3), (4, 5), (6,), (7,), (8,), (9,))
"""Fire modules of each stage that Zhang et al. 2018 compare; the first stage is the first convolution alone."""
HALVED_BEFORE = (2, 4, 6)
SMALLEST = 31
"""Pixels a side of which the last map has one."""


class SqueezeNet(nn.Module):
    """Classify pictures into ImageNet's 1000 classes; `stages` gives the maps on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, FIRST, 3, stride=2)
        given = FIRST
        for number, (squeezed, expanded) in FIRES.items():
            self.add_module(f"fire{number}", Fire(given, squeezed, expanded))
            given = 2 * expanded
        self.conv10 = nn.Conv2d(given, LOGITS, 1)

    def stages(self, pictures: Float32[Tensor, "n 3 h w"]) -> list[Float32[Tensor, "n c i j"]]:
        """Return the maps after each of `STAGES`, of 64, 128, 256, 384, 384, 512 and 512 channels.

        They are 2, 4, 8 and from the fourth on 16 times smaller than the picture.

        Raises:
            ValueError: when a side is shorter than `SMALLEST`.
        """
        if min(pictures.shape[2:]) < SMALLEST:
            raise ValueError(
                f"squeezenet1.1 needs pictures of at least {SMALLEST} pixels a side, got {tuple(pictures.shape[2:])};"
                " give larger ones, or enlarge both pictures alike"
            )
        maps = functional.relu(self.conv1(pictures))
        kept = []
        for fires in STAGES:
            for number in fires:
                if number in HALVED_BEFORE:
                    maps = functional.max_pool2d(maps, 3, 2)
                maps = self.get_submodule(f"fire{number}")(maps)
            kept.append(maps)
        return kept

    def forward(self, pictures: Float32[Tensor, "n 3 h w"]) -> tuple[Float32[Tensor, "n 512"], Float32[Tensor, "n c"]]:
        """Return the last maps' means, and the logits."""
        maps = self.stages(pictures)[-1]
        return maps.mean(dim=(2, 3)), functional.relu(self.conv10(maps)).mean(dim=(2, 3))


class Fire(nn.Module):
    """Few channels, then many: of single places and of 3 x 3 ones, side by side."""

    def __init__(self, given: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(given, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, maps: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n d h w"]:
        """Return maps of twice `expanded` channels."""
        few = functional.relu(self.squeeze1x1(maps))
        return functional.relu(torch.cat([self.expand1x1(few), self.expand3x3(few)], dim=1))
