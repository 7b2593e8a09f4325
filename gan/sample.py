"""Pictures out of a generator: latents by seed, uint8 pictures, and sheets to look at."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from gan.zoo.networks import Fade, Generator

__all__ = ["generate", "grid_for", "latents_of", "picture_png", "sheet"]

BATCH_PIXELS = 16 * 1024 * 1024
"""Pictures are made in batches of about this many pixels."""


def latents_of(seeds: Sequence[int], width: int) -> Float32[Tensor, "n d"]:
    """Return one latent for each seed, from the normal distribution; a seed always gives the same one."""
    rows = [torch.randn(width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows) if rows else torch.empty(0, width)


@torch.inference_mode()
def generate(
    generator: Generator,
    latents: Float32[Tensor, "n d"],
    labels: Float32[Tensor, "n k"] | None = None,
    *,
    level: int | None = None,
    fade: Fade = 1.0,
    truncation: float = 1.0,
) -> UInt8[Tensor, "n c h w"]:
    """Return stored pictures of the level's own size, on the CPU: x 127.5 + 127.5, rounded and saturated.

    Args:
        generator: on any device, where the work is done in batches.
        latents: (n, latent).
        labels: one-hot rows where the network has labels.
        level: log2 of the resolution; the last by default.
        fade: share of the level's own block.
        truncation: factor on the styles' distance from their mean, of a generator that `truncates`.

    Raises:
        ValueError: when a truncation is asked of a generator that has no styles.
    """
    if truncation != 1.0 and not generator.truncates:
        raise ValueError(f"{generator.shape.architecture} has no styles to truncate; leave truncation at 1")
    styled = {"truncation": truncation} if generator.truncates else {}
    device = next(generator.parameters()).device
    level = generator.shape.checked_level(level)
    batch = max(1, min(64, BATCH_PIXELS // math.prod(generator.shape.size(level))))
    parts = []
    for start in range(0, len(latents), batch):
        rows = slice(start, start + batch)
        named = None if labels is None else labels[rows].to(device)
        images = generator(latents[rows].to(device), named, level, fade, **styled)
        parts.append((images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8).cpu())
    if not parts:
        return torch.empty(0, generator.shape.channels, *generator.shape.size(level), dtype=torch.uint8)
    return torch.cat(parts)


def sheet(
    images: UInt8[Tensor, "n c h w"], *, columns: int | None = None, height: int | None = None
) -> UInt8[np.ndarray, "i j 3"]:
    """Return pictures side by side in rows; grey ones as RGB, alpha left out.

    Args:
        images: of one size, at least one.
        columns: pictures in a row; about a square by default.
        height: pixels that each picture is enlarged to by repeating pixels, a multiple of its own.

    Raises:
        ValueError: when there is no picture, or `height` is no multiple.
    """
    count, _, own, _ = images.shape
    if count == 0:
        raise ValueError("a sheet needs at least one picture")
    times, rest = divmod(height or own, own)
    if rest or times < 1:
        raise ValueError(f"height must be a multiple of the pictures' {own}, got {height}")
    across = columns or math.ceil(math.sqrt(count))
    rgb = images[:, :3].expand(-1, 3, -1, -1) if images.shape[1] < 3 else images[:, :3]
    large = rgb.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    down = math.ceil(count / across)
    blank = torch.zeros(down * across - count, *large.shape[1:], dtype=torch.uint8)
    cells = torch.cat([large, blank]).reshape(down, across, *large.shape[1:])
    return cells.permute(0, 3, 1, 4, 2).reshape(down * large.shape[2], across * large.shape[3], 3).numpy()


def grid_for(height: int, width: int) -> tuple[int, int]:
    """Return columns and rows of a sheet that fits a screen: 8 x 4 pictures, fewer of large ones, at least 3 x 2.

    >>> grid_for(32, 32), grid_for(256, 256), grid_for(1024, 1024)
    ((8, 4), (7, 4), (3, 2))
    """
    return min(max(1920 // width, 3), 8), min(max(1080 // height, 2), 4)


def picture_png(image: UInt8[Tensor, "c h w"]) -> bytes:
    """Return one picture as a PNG with its own channels: grey, RGB or RGB with alpha."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()).save(buffer, "PNG")
    return buffer.getvalue()
