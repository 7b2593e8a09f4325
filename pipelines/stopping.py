"""The error of a run that cannot go on, though no photo is at fault."""

from __future__ import annotations

__all__ = ["BuildStopped"]


class BuildStopped(RuntimeError):
    """The environment, not a photo, is at fault; finished work is kept."""
