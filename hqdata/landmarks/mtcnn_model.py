"""The three networks of MTCNN (Zhang et al. 2016, "Joint face detection and alignment using multitask cascaded CNNs").

Modules only. All take float32 (n, 3, height, width) RGB in about [-1, 1] and give face probabilities and offsets; what
the offsets mean in pixels is worked out in `mtcnn_detect` and `mtcnn_refine`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn

__all__ = ["PNET_STRIDE", "PNET_WINDOW", "OutputNet", "ProposalNet", "RefineNet"]

PNET_WINDOW = 12
"""Side in pixels of the square that one output cell of `ProposalNet` sees."""
PNET_STRIDE = 2
"""Distance in pixels between the squares of neighbouring cells."""


class ProposalNet(nn.Module):
    """P-Net: a fully convolutional face / no face decision for every 12 pixel square."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True)),
            *(nn.Conv2d(10, 16, 3), nn.PReLU(16)),
            *(nn.Conv2d(16, 32, 3), nn.PReLU(32)),
        )
        # 1 x 1 convolutions; as such their last bits would depend on the number of threads
        self.box = nn.Linear(32, 4)
        self.face = nn.Linear(32, 2)

    def forward(
        self, images: Float32[Tensor, "n 3 h w"]
    ) -> tuple[Float32[Tensor, "n rows columns"], Float32[Tensor, "n rows columns 4"]]:
        """Return the face probability and the box offsets (left, top, right, bottom, as shares of the square)."""
        features = self.features(images).permute(0, 2, 3, 1)
        return torch.softmax(self.face(features), dim=-1)[..., 1], self.box(features)


class RefineNet(nn.Module):
    """R-Net: the same decision for one 24 x 24 crop."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 28, 3), nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True)),
            *(nn.Conv2d(28, 48, 3), nn.PReLU(48), nn.MaxPool2d(3, 2, ceil_mode=True)),
            *(nn.Conv2d(48, 64, 2), nn.PReLU(64)),
            *(nn.Flatten(), nn.Linear(576, 128), nn.PReLU(128)),
        )
        self.box = nn.Linear(128, 4)
        self.face = nn.Linear(128, 2)

    def forward(self, crops: Float32[Tensor, "n 3 24 24"]) -> tuple[Float32[Tensor, " n"], Float32[Tensor, "n 4"]]:
        """Return the face probability and the box offsets (left, top, right, bottom, as shares of the crop)."""
        features = self.features(crops)
        return torch.softmax(self.face(features), dim=1)[:, 1], self.box(features)


class OutputNet(nn.Module):
    """O-Net: the decision, the box and five points for one 48 x 48 crop."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True)),
            *(nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2, ceil_mode=True)),
            *(nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True)),
            *(nn.Conv2d(64, 128, 2), nn.PReLU(128)),
            *(nn.Flatten(), nn.Linear(1152, 256), nn.PReLU(256)),
        )
        self.box = nn.Linear(256, 4)
        self.points = nn.Linear(256, 10)
        self.face = nn.Linear(256, 2)

    def forward(
        self, crops: Float32[Tensor, "n 3 48 48"]
    ) -> tuple[Float32[Tensor, " n"], Float32[Tensor, "n 4"], Float32[Tensor, "n 5 2"]]:
        """Return the face probability, the box offsets and five (x, y) points, as shares of the crop's side."""
        features = self.features(crops)
        points_xxxxxyyyyy = self.points(features)
        points = torch.stack((points_xxxxxyyyyy[:, :5], points_xxxxxyyyyy[:, 5:]), dim=2)
        return torch.softmax(self.face(features), dim=1)[:, 1], self.box(features), points
