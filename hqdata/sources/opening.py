"""Telling one kind of source from another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hqdata.sources.celeba import LANDMARKS_FILE, PICTURE_FOLDERS, TABLE_FOLDERS, open_celeba, refuse_aligned
from hqdata.sources.files import absolute_root
from hqdata.sources.photos import open_photos
from hqdata.sources.source import Source, SourceError

__all__ = ["open_source"]


def open_source(
    root: str,
    kind: str = "auto",
    *,
    allow_subset: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Source:
    """Return the photos at a folder or fsspec URL; the result's `kind` tells what it was taken for.

    Args:
        root: a folder, or a URL that fsspec knows, such as s3://bucket/photos.
        kind: "celeba" for CelebA in the wild with its annotations (local folders only), "photos" for any other photos,
            "auto" to tell by what the folder holds.
        allow_subset: for CelebA, use only pictures that are both listed and there, instead of refusing.
        storage_options: for fsspec, such as credentials.

    Raises:
        SourceError: if the folder is missing, empty, contradictory, or CelebA's aligned pictures.
    """
    if kind not in ("auto", "celeba", "photos"):
        raise SourceError(f'kind must be "auto", "celeba" or "photos", got "{kind}"')
    root = absolute_root(str(root))
    if kind == "photos":
        return open_photos(root, storage_options=storage_options)
    if kind == "celeba" or _looks_like_celeba(Path(root)):
        return open_celeba(root, allow_subset=allow_subset)
    refuse_aligned(Path(root))
    return open_photos(root, storage_options=storage_options)


def _looks_like_celeba(root: Path) -> bool:
    if any((root / folder).is_dir() for folder in PICTURE_FOLDERS):
        return True
    return any((root / folder / LANDMARKS_FILE).is_file() for folder in TABLE_FOLDERS)
