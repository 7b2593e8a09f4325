"""Closed walks through a generator's latents, all of them on the sphere where most of its training's latents lay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from gan.sample import generate, sheet
from gan.zoo.networks import Generator

__all__ = ["draw_walk", "smoothed_walk", "walk_between"]

NARROWEST = 0.125
"""Gaussians below this reach no neighbouring frame: SciPy cuts them at four standard deviations."""

_Walk: TypeAlias = Float32[Tensor, "t n d"]


def smoothed_walk(frames: int, walkers: int, width: int, *, smoothing_frames: float, seed: int) -> _Walk:
    """Return random latents smoothed in time by a Gaussian, as a loop, each frame put back on the sphere.

    The loop is closed because the Gaussian wraps around. The authors' own videos scale the whole walk by one number
    instead, so that their latents' lengths vary by some percent, which a generator without pixel norm would show.

    Args:
        frames: length of the loop.
        walkers: independent latents in every frame.
        width: of a latent.
        smoothing_frames: standard deviation of the Gaussian; twice as many make the walk half as fast.
        seed: of the walk.

    Returns:
        float32 of length sqrt(width) along the last axis.

    Raises:
        ValueError: when there is no frame or walker, or the smoothing is negative.
    """
    if min(frames, walkers, width) < 1 or not 0 <= smoothing_frames < math.inf:
        raise ValueError(
            f"a walk needs at least one frame and walker and a smoothing from 0, got {frames} frames, {walkers} walkers"
            f" and {smoothing_frames}"
        )
    noise = torch.randn(frames, walkers, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if smoothing_frames >= NARROWEST:
        noise = torch.from_numpy(gaussian_filter1d(noise.numpy(), smoothing_frames, axis=0, mode="wrap"))
    return _on_the_sphere(noise)


def walk_between(latents: Float32[Tensor, "k d"], frames_each: int) -> _Walk:
    """Return a loop from each latent to the next and from the last to the first, along great circles at even speed.

    Args:
        latents: at least one; their directions count, not their lengths.
        frames_each: frames from one latent up to the next; frame i * frames_each is latent i.

    Returns:
        float32 (k * frames_each, 1, d) of length sqrt(d) along the last axis.

    Raises:
        ValueError: when there is no latent or frame, or one latent is the opposite of the next.
    """
    if len(latents) < 1 or frames_each < 1:
        raise ValueError(f"a walk needs latents and frames, got {len(latents)} latents and {frames_each} frames each")
    here = torch.nn.functional.normalize(latents.double(), dim=1)
    there = here.roll(-1, dims=0)
    angles = torch.arccos((here * there).sum(dim=1).clamp(-1, 1))
    if bool((angles > math.pi - 1e-4).any()):
        raise ValueError(
            "a latent is the opposite of the next one, so no way between them is the shortest; reorder them"
        )
    shares = torch.arange(frames_each, dtype=torch.float64) / frames_each
    way = angles[:, None] * torch.stack([1 - shares, shares])[:, None]  # (2, k, frames)
    safe = torch.where(angles > 1e-6, torch.sin(angles), 1.0)[:, None]
    ends = torch.where(angles[:, None] > 1e-6, torch.sin(way) / safe, torch.stack([1 - shares, shares])[:, None])
    steps = ends[0][:, :, None] * here[:, None] + ends[1][:, :, None] * there[:, None]
    return _on_the_sphere(steps.reshape(-1, 1, latents.shape[1]))


def draw_walk(
    generator: Generator,
    walk: _Walk,
    labels: Float32[Tensor, "n k"] | None = None,
    *,
    level: int | None = None,
    fade: float = 1.0,
    truncation: float = 1.0,
    columns: int | None = None,
    height: int | None = None,
) -> Iterator[UInt8[np.ndarray, "i j 3"]]:
    """Yield a sheet of pictures for each frame of a walk, one picture for each walker.

    Args:
        generator: on any device.
        walk: latents.
        labels: one-hot rows, one for each walker, where the network has labels.
        level: log2 of the resolution; the last by default.
        fade: share of the level's own block.
        truncation: see `gan.sample.generate`.
        columns: pictures in a row; about a square by default.
        height: pixels that each picture is enlarged to; see `gan.sample.sheet`.
    """
    for latents in walk:
        images = generate(generator, latents, labels, level=level, fade=fade, truncation=truncation)
        yield sheet(images, columns=columns, height=height)


def _on_the_sphere(latents: Tensor) -> _Walk:
    return (torch.nn.functional.normalize(latents, dim=-1, eps=1e-30) * math.sqrt(latents.shape[-1])).float()
