"""FBCNN (Jiang, Zhang and Timofte 2021): removes JPEG artefacts, blind, guided by the quality that it reads off itself.

The paper averages the evidence for the quality over the whole picture, so that its answer for a region depends on all
the rest. We average over the surroundings of each place, about as large as the patches that FBCNN is trained on. So a
region can be restored alone, and a picture pasted from parts of different quality is right everywhere.
"""

from __future__ import annotations

from functools import partial

from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from hqdata.layers import local_mean
from hqdata.weights.community.plan import Plan, Shapes, count, kernel

__all__ = ["FBCNN", "recognise"]

EMBEDDING = 512
"""Width of the quality's fully connected layers."""
NEIGHBOURS = 13
"""Side, in 8 x 8 pixels, of the square over which the evidence for the quality is averaged; training patches had 12."""
LEVELS = 3
"""Halvings of the size."""


class FBCNN(nn.Module):
    """Restore a picture at its own size: a U-Net of residual blocks whose decoder a quality estimate steers.

    Large (72 million parameters in colour) and of a reach of 297 pixels, so that tiles are mostly margin; slow
    without a GPU.

    Args:
        widths: of the four levels, from the finest.
        blocks: residual blocks of each level and side.
        colours: channels of the picture; 1 is luma.
    """

    scale = 1
    stride = 2**LEVELS

    def __init__(
        self, widths: tuple[int, int, int, int] = (64, 128, 256, 512), blocks: int = 4, colours: int = 3
    ) -> None:
        super().__init__()
        self.colours, self.blocks = colours, blocks
        fine, middle, coarse, deepest = widths
        self.m_head = nn.Conv2d(colours, fine, 3, padding=1)
        self.m_down1, self.m_down2 = _down(fine, middle, blocks), _down(middle, coarse, blocks)
        self.m_down3 = _down(coarse, deepest, blocks)
        self.m_body_encoder = nn.Sequential(*(_Block(deepest) for _ in range(blocks)))
        self.m_body_decoder = nn.Sequential(*(_Block(deepest) for _ in range(blocks)))
        self.m_up3, self.m_up2 = _up(deepest, coarse, blocks), _up(coarse, middle, blocks)
        self.m_up1 = _up(middle, fine, blocks)
        self.m_tail = nn.Conv2d(fine, colours, 3, padding=1)
        # the two layers without parameters stand where the paper's global mean and flattening are numbered
        self.qf_pred = nn.Sequential(
            *(_Block(deepest) for _ in range(blocks)),
            _LocalMean(),
            _ChannelsLast(),
            *_connected(deepest, EMBEDDING, EMBEDDING)[:-1],
            nn.ReLU(),
            nn.Linear(EMBEDDING, 1),
            nn.Sigmoid(),
        )
        self.qf_embed = nn.Sequential(*_connected(1, EMBEDDING, EMBEDDING, EMBEDDING))
        for level, width in ((3, coarse), (2, middle), (1, fine)):
            self.add_module(f"to_gamma_{level}", nn.Sequential(nn.Linear(EMBEDDING, width), nn.Sigmoid()))
            self.add_module(f"to_beta_{level}", nn.Sequential(nn.Linear(EMBEDDING, width), nn.Tanh()))

    @property
    def reach(self) -> int:
        """How many pixels away an input pixel can be and still change an output pixel."""
        at_each_level = 2 * 2 * self.blocks
        deepest = 2 * 2 * self.blocks + NEIGHBOURS // 2
        finer = sum(2**level for level in range(LEVELS))
        return 2 + at_each_level * finer + deepest * self.stride + self.stride - 1

    def forward(self, picture: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        """Return the restored pictures, both in [0, 1]; h and w must be multiples of 8."""
        levels = [self.m_head(picture)]
        for down in (self.m_down1, self.m_down2, self.m_down3):
            levels.append(down(levels[-1]))
        encoded = self.m_body_encoder(levels[-1])
        quality = self.qf_embed(self.qf_pred(encoded))
        feature = self.m_body_decoder(encoded)
        for level, up in ((3, self.m_up3), (2, self.m_up2), (1, self.m_up1)):
            feature = up[0](feature + levels.pop())
            side = 2 ** (LEVELS + 1 - level)
            gamma = _spread(self.get_submodule(f"to_gamma_{level}")(quality), side)
            beta = _spread(self.get_submodule(f"to_beta_{level}")(quality), side)
            for block in up[1:]:
                feature = feature + gamma * block.get_submodule("res")(feature) + beta
        return self.m_tail(feature + levels.pop())

    def quality(self, picture: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n h/8 w/8"]:
        """Return the estimated quality of each 8 x 8 pixels, 0 to 1 for JPEG's 100 to 0."""
        encoded = self.m_body_encoder(self.m_down3(self.m_down2(self.m_down1(self.m_head(picture)))))
        return self.qf_pred(encoded)[..., 0]


class _Block(nn.Module):
    """`feature + convolution(relu(convolution(feature)))`, its layers numbered as in the files."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        return feature + self.res(feature)


class _LocalMean(nn.Module):
    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n c h w"]:
        return local_mean(feature, NEIGHBOURS)


class _ChannelsLast(nn.Module):
    def forward(self, feature: Float32[Tensor, "n c h w"]) -> Float32[Tensor, "n h w c"]:
        return feature.movedim(1, -1)


def recognise(shapes: Shapes) -> Plan | None:
    """Return how to build an FBCNN from such tensors, or None when they are something else.

    Raises:
        ValueError: when it is one, but of a kind that cannot be built.
    """
    if not {"m_head.weight", "qf_embed.0.weight", "m_up3.0.weight"} <= shapes.keys():
        return None
    fine, colours, _ = kernel(shapes, "m_head.weight")
    if colours not in (1, 3):
        raise ValueError(f"FBCNN takes {colours} channels; 1 and 3 are known")
    blocks = count(shapes, r"m_body_encoder\.(\d+)\.")
    middle, coarse, deepest = (kernel(shapes, f"m_down{level}.{blocks}.weight")[0] for level in (1, 2, 3))
    return Plan(
        title=f"FBCNN with {blocks} blocks a level, {colours} channel(s)",
        make=partial(FBCNN, (fine, middle, coarse, deepest), blocks, colours),
        names={name: name for name in shapes},
    )


def _down(given: int, made: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(given) for _ in range(blocks)), nn.Conv2d(given, made, 2, stride=2))


def _up(given: int, made: int, blocks: int) -> nn.ModuleList:
    return nn.ModuleList([nn.ConvTranspose2d(given, made, 2, stride=2), *(_Block(made) for _ in range(blocks))])


def _connected(given: int, *made: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in made:
        layers += [nn.Linear(given, width), nn.ReLU()]
        given = width
    return layers


def _spread(values: Float32[Tensor, "n h w c"], side: int) -> Float32[Tensor, "n c k*h k*w"]:
    """Return each cell's values for every position of the finer level."""
    return functional.interpolate(values.movedim(-1, 1), scale_factor=side, mode="nearest")
