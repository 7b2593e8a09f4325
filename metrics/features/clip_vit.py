"""CLIP's image tower ViT-L/14 at 336 pixels (Radford et al. 2021), the network of CMMD (Jayasumana et al. 2024).

Weights: OpenAI's `ViT-L-14-336px.pt`, a TorchScript archive that is read without running it. Other people's files of
the same network, in OpenAI's or Hugging Face's naming, are accepted with sha256="any"; the text tower is left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from metrics.features.key_names import joined_attention, substituted
from metrics.features.network_extractor import NetworkExtractor, Running
from metrics.features.preparation import Preparation
from metrics.features.transformer import Block, quick_gelu
from metrics.features.weight_files import PUBLISHED, WeightSource, read_weights, with_weights

__all__ = ["NAME", "SOURCE", "ClipVisionTransformer", "load", "renamed"]

NAME = "clip-vit-l14-336"
SIDE, PATCH = 336, 14
WIDTH, HEADS, DEPTH = 1024, 16, 24
FEATURES = 768
EPSILON = 1e-5
SOURCE = WeightSource(
    network=NAME,
    files=("ViT-L-14-336px.pt", "clip-vit-l14-336.safetensors"),
    sha256=("3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",),
    origin="OpenAI's CLIP repository (clip/clip.py names the address)",
)
PREPARATION = Preparation(
    side=SIDE,
    resize="pillow",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    square="crop",
)
"""As CMMD's code does: middle square, Pillow's bicubic filter on uint8, CLIP's own mean and spread."""


OPENAI_NAMES = (
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_1\.", ".norm1."),
    (r"\.ln_2\.", ".norm2."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"^conv1\.", "patch_embed."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
)
HUGGING_FACE_NAMES = (
    (r"^encoder\.layers\.", "blocks."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
    (r"^embeddings\.patch_embedding\.", "patch_embed."),
    (r"^embeddings\.class_embedding$", "cls_token"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^pre_layrnorm\.", "norm_pre."),
    (r"^post_layernorm\.", "norm."),
)


class ClipVisionTransformer(nn.Module):
    """Pictures to unit vectors that lie near those of their descriptions."""

    def __init__(
        self, *, side: int = SIDE, width: int = WIDTH, heads: int = HEADS, depth: int = DEPTH, features: int = FEATURES
    ) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, PATCH, stride=PATCH, bias=False)
        self.cls_token = nn.Parameter(torch.zeros(width))
        self.pos_embed = nn.Parameter(torch.zeros((side // PATCH) ** 2 + 1, width))
        self.norm_pre = nn.LayerNorm(width, eps=EPSILON)
        self.blocks = nn.Sequential(*(_block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.proj = nn.Parameter(torch.zeros(width, features))

    def forward(self, pictures: Float32[Tensor, "n 3 h w"]) -> Float32[Tensor, "n d"]:
        """Return rows of length one for pictures prepared with CLIP's mean and spread."""
        patches = self.patch_embed(pictures).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), 1, -1), patches], dim=1) + self.pos_embed
        seen = self.norm(self.blocks(self.norm_pre(tokens))[:, 0])
        return functional.normalize((seen @ self.proj).float(), dim=1)


def load(weights: str | Path | None = None, *, running: Running, sha256: str = PUBLISHED) -> NetworkExtractor:
    """Return the extractor: 768 features of unit length for each picture's middle square, no logits.

    Args:
        weights: the file, or its folder; None looks into $HQ_WEIGHTS.
        running: where and how.
        sha256: see `metrics.features.weight_files.read_weights`.

    Raises:
        MissingWeights: when there is no file; the message says which to put where.
        WeightsError: when the file is not the known one, or does not fit.
    """
    read = read_weights(SOURCE, weights, sha256=sha256)
    module = with_weights(ClipVisionTransformer, dataclasses.replace(read, tensors=renamed(read.tensors)))
    return NetworkExtractor.of_weights(
        module,
        read,
        preparation=PREPARATION,
        running=running,
        name=NAME,
        width=FEATURES,
        layer="projection of length 1",
        distance_name="FD-CLIP",
    )


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the image tower's tensors under our names, of OpenAI's or of Hugging Face's file."""
    if "visual_projection.weight" in tensors:
        return _of_hugging_face(tensors)
    tower = {key.removeprefix("visual."): value for key, value in tensors.items() if key.startswith("visual.")}
    return substituted(tower, OPENAI_NAMES)


def _of_hugging_face(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tower = {
        key.removeprefix("vision_model."): value
        for key, value in tensors.items()
        if key.startswith("vision_model.") and not key.endswith("position_ids")
    }
    ours = joined_attention(substituted(tower, HUGGING_FACE_NAMES))
    return ours | {"proj": tensors["visual_projection.weight"].T}


def _block(width: int, heads: int) -> Block:
    return Block(width, heads, epsilon=EPSILON, activation=quick_gelu, scale=lambda _: nn.Identity())
