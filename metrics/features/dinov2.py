"""DINOv2's vision transformers without registers (Oquab et al. 2023), the network of FD-DINOv2 (Stein et al. 2023).

Weights: Meta's `dinov2_vitl14_pretrain.pth`, and its smaller sisters for looking quickly. Hugging Face's naming is
accepted with sha256="any".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from metrics.features.key_names import joined_attention, substituted
from metrics.features.network_extractor import NetworkExtractor, Running
from metrics.features.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation
from metrics.features.transformer import Block, LayerScale
from metrics.features.weight_files import PUBLISHED, WeightSource, read_weights, with_weights

__all__ = ["NAMES", "DinoVisionTransformer", "load", "renamed"]

PATCH = 14
TRAINED_GRID = 37
"""Patches along the side of the 518 pixels that the position embedding was last trained at."""
GRID_OFFSET = 0.1
"""Added to the number of patches when the position embedding is resampled, as in the authors' code."""
EPSILON = 1e-6
PREPARATION = Preparation(side=224, resize="pillow", mean=IMAGENET_MEAN, std=IMAGENET_STD)
"""As Stein et al. do: Pillow's bicubic filter on uint8, seen whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    width: int
    heads: int
    depth: int
    file: str
    sha256: str
    distance_name: str


_SIZES = {
    "dinov2-vitl14": _Size(
        width=1024,
        heads=16,
        depth=24,
        file="dinov2_vitl14_pretrain.pth",
        sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        distance_name="FD-DINOv2",
    ),
    "dinov2-vitb14": _Size(
        width=768,
        heads=12,
        depth=12,
        file="dinov2_vitb14_pretrain.pth",
        sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        distance_name="FD-DINOv2-vitb14",
    ),
    "dinov2-vits14": _Size(
        width=384,
        heads=6,
        depth=12,
        file="dinov2_vits14_pretrain.pth",
        sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
        distance_name="FD-DINOv2-vits14",
    ),
}
NAMES = tuple(_SIZES)
"""Of the extractors; the first is the one that FD-DINOv2 means."""
HUGGING_FACE_NAMES = (
    (r"^(embeddings|encoder|dinov2\.)\.?", ""),
    (r"^layer\.", "blocks."),
    (r"\.attention\.attention\.query\.", ".attn.q."),
    (r"\.attention\.attention\.key\.", ".attn.k."),
    (r"\.attention\.attention\.value\.", ".attn.v."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"^patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^position_embeddings$", "pos_embed"),
    (r"^layernorm\.", "norm."),
)


class DinoVisionTransformer(nn.Module):
    """Pictures to the class token; attribute names are those of Meta's files."""

    def __init__(self, *, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, TRAINED_GRID**2 + 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, stride=PATCH)})
        self.blocks = nn.Sequential(*(_block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, pictures: Float32[Tensor, "n 3 side side"]) -> Float32[Tensor, "n d"]:
        """Return the normalised class tokens of pictures whose side is a multiple of 14."""
        patches = self.patch_embed["proj"](pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = tokens + self.positions(pictures.shape[-1] // PATCH)
        return self.norm(self.blocks(tokens))[:, 0].float()

    def positions(self, grid: int) -> Float32[Tensor, "1 t d"]:
        """Return the position embedding for grid x grid patches and the class token."""
        if grid == TRAINED_GRID:
            return self.pos_embed
        first, trained = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        square = trained.float().unflatten(1, (TRAINED_GRID, TRAINED_GRID)).permute(0, 3, 1, 2)
        factor = (grid + GRID_OFFSET) / TRAINED_GRID
        resampled = functional.interpolate(square, scale_factor=(factor, factor), mode="bicubic", align_corners=False)
        return torch.cat([first, resampled.flatten(2).transpose(1, 2).to(first.dtype)], dim=1)


def load(
    name: str, weights: str | Path | None = None, *, running: Running, sha256: str = PUBLISHED
) -> NetworkExtractor:
    """Return the extractor: the class token of each picture squeezed to 224 x 224 pixels, no logits.

    Args:
        name: one of `NAMES`.
        weights: the file, or its folder; None looks into $HQ_WEIGHTS.
        running: where and how.
        sha256: see `metrics.features.weight_files.read_weights`.

    Raises:
        MissingWeights: when there is no file; the message says which to put where.
        WeightsError: when the file is not the known one, or does not fit.
    """
    size = _SIZES[name]
    source = WeightSource(
        network=name, files=(size.file,), sha256=(size.sha256,), origin="Meta's DINOv2 repository (its README links it)"
    )
    read = read_weights(source, weights, sha256=sha256)
    module = with_weights(
        lambda: DinoVisionTransformer(width=size.width, heads=size.heads, depth=size.depth),
        dataclasses.replace(read, tensors=renamed(read.tensors)),
    )
    return NetworkExtractor.of_weights(
        module,
        read,
        preparation=PREPARATION,
        running=running,
        name=name,
        width=size.width,
        layer="class token",
        distance_name=size.distance_name,
        other_name=f"FD-{name}",
    )


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under Meta's names, of Meta's or of Hugging Face's file."""
    if not any("layer_scale1" in key for key in tensors):
        return dict(tensors)
    return joined_attention(substituted(tensors, HUGGING_FACE_NAMES))


def _block(width: int, heads: int) -> Block:
    return Block(width, heads, epsilon=EPSILON, activation=functional.gelu, scale=LayerScale)
