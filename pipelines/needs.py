"""What decides a crop's pixels beside the photo: the settings that every machine of a build must work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hqdata.crop_plan import Mode
from pipelines.config import RestoreConfig, UpscaleConfig

if TYPE_CHECKING:
    from pipelines.job import Job

__all__ = ["Needs", "needs_of", "needs_without_networks"]

LEAST_SIDE = 64
"""Of a test picture's crop in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """A build's settings as far as a machine's fitness goes; small and hashable."""

    provider: str
    """How faces are found."""
    restore: RestoreConfig
    upscale: UpscaleConfig
    size: int
    """Side of a crop in pixels."""
    mode: Mode
    device: str
    """"cpu" or "cuda"."""


def needs_of(job: Job) -> Needs:
    """Return what a build's job asks of a machine."""
    return Needs(
        provider=job.provider,
        restore=job.restore,
        upscale=job.upscale,
        size=job.size,
        mode=job.mode,
        device=job.device,
    )


def needs_without_networks(device: str) -> Needs:
    """Return what a command asks of a machine that runs none of a build's networks: its code and its libraries."""
    return Needs(
        provider="annotations",
        restore=RestoreConfig(when="never"),
        upscale=UpscaleConfig(when="never"),
        size=LEAST_SIDE,
        mode="accurate",
        device=device,
    )
